/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class RecorderTest {
    private static final int CALLS = 20_000;
    private static final int PAGE = 4096;
    private static final int PRIVATE = Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS;

    @TempDir
    private Path temporary;

    private Path file() {
        return temporary.resolve("recording");
    }

    private static void assign(Kernel kernel) {
        try (Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.createIrqchip();
            vm.assignIrqfd(event, new Gsi(5)).close();
        }
    }

    private static List<String> withoutProcess(Path file) throws IOException {
        return Files.readAllLines(file).stream()
                .filter(line -> line.contains("\"seq\""))
                .map(line -> line.replaceFirst("\"pid\":\\d+,\"tid\":\\d+,", ""))
                .toList();
    }

    @Test
    void callIsWrittenByNamesAndInBytesWithoutNumbersOfTheProcess() throws IOException {
        Path file = Recordings.of(file(), Recordings.fake(Profile.V6_18), RecorderTest::assign);
        assertThat(Files.readAllLines(file).get(0))
                .matches("\\{\"header\":\\{\"pid\":\\d+,\"program\":\".*\",\"arch\":\"x86_64\","
                        + "\"order\":\"little\",\"kernel\":\"6.18\",\"backend\":\"fake\"}}");
        assertThat(withoutProcess(file))
                .contains(
                        "{\"seq\":1,\"call\":\"open\",\"path\":\"/dev/kvm\",\"value\":0,\"flags\":524290,"
                                + "\"made\":\"kvm#1\",\"result\":0}",
                        "{\"seq\":8,\"call\":\"ioctl\",\"on\":\"vm#1\",\"name\":\"KVM_IRQFD\","
                                + "\"request\":1075883638,\"value\":0,\"in\":\"0000000005000000" + "00".repeat(24)
                                + "\",\"fields\":{\"fd\":\"eventfd#1\",\"gsi\":5,\"flags\":0},"
                                + "\"names\":{\"0\":\"eventfd#1\"},\"result\":0}");
    }

    @ParameterizedTest
    @ValueSource(strings = {"jni", "ffm", "jna", "jnr"})
    @RealKvm(fullIrqchip = true)
    void everyBindingsRecordingIsTheFakes(String name) throws IOException {
        Backends.Probe probe = Backends.ofThisMachine().probeAll().stream()
                .filter(one -> one.name().equals(name))
                .findFirst()
                .orElseThrow();
        assumeTrue(probe.backend().isPresent(), () -> "backend " + name + " cannot be used: " + probe.reason());
        assertThat(recording(probe.backend().orElseThrow())).isEqualTo(recording(Recordings.fake(Profile.V6_18)));
    }

    private List<String> recording(KernelBackend backend) throws IOException {
        return withoutProcess(Recordings.of(file(), backend, RecorderTest::assign));
    }

    @ParameterizedTest
    @EnumSource
    void whatWasWrittenReadsBackToTheSameBytes(Scenario scenario) throws IOException {
        Path file = Recordings.ofSelftest(file(), Recordings.fake(Profile.V6_18), scenario);
        Path again = temporary.resolve("again");
        try (TapeWriter writer = new TapeWriter(Files.newOutputStream(again))) {
            Recordings.lines(file).forEach(writer::write);
        }
        assertThat(again).hasSameTextualContentAs(file);
    }

    /** A wrong address is the kernel's to refuse: recording must not read what is not there. */
    @Test
    @RealKvm
    void addressOfNothingIsRecordedAsUnreadable() throws IOException {
        for (KernelBackend backend :
                List.of(Recordings.fake(Profile.V6_18), Backends.ofThisMachine().open("jni"))) {
            try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(file()))) {
                KernelBackend kernel = recorder.backend();
                int kvm = kernel.kvmOpen(Buffers.cString("/dev/kvm"));
                int vm = kernel.vmCreate(kvm, 0);
                for (long nothing : new long[] {0, 8, 0x7fff_ffff_f000L, -8}) {
                    assertThat(recorder.libc().ioctl(vm, Uapi.KVM_IRQFD, nothing))
                            .isEqualTo(-Errno.EFAULT.number());
                    assertThat(recorder.libc().write(vm, nothing, 8)).isNegative();
                }
                kernel.fdClose(vm);
                kernel.fdClose(kvm);
            }
            assertThat(Recordings.text(file()))
                    .contains("vm#1 KVM_IRQFD (argument unreadable) = EFAULT", "vm#1 close = 0");
        }
    }

    @Test
    @RealKvm
    void fileOfSomebodyElseIsNamedWhenItIsFirstUsed() throws IOException {
        KernelBackend backend = Backends.ofThisMachine().open("jni");
        int event = backend.eventfdCreate();
        try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(file()))) {
            recorder.backend().eventfdSignal(event, 3);
            recorder.backend().fdClose(event);
            recorder.backend().eventfdSignal(event, 3);
        }
        assertThat(Recordings.text(file()).subList(1, 4))
                .containsExactly(
                        "eventfd#1 write 3 = 8", "eventfd#1 close = 0", "closed(fd " + event + ") write 3 = EBADF");
    }

    /** The process may be ended at any time. */
    @Test
    void partsOfALineAreNeverWrittenOnAndTheLastLineSaysThatItIs() throws IOException {
        List<String> written = new ArrayList<>();
        OutputStream out = new OutputStream() {
            @Override
            public void write(int one) {
                throw new AssertionError("one byte");
            }

            @Override
            public void write(byte[] bytes, int at, int length) {
                written.add(new String(bytes, at, length, StandardCharsets.UTF_8));
            }
        };
        String longest = "x".repeat(200_000);
        try (TapeWriter writer = new TapeWriter(out)) {
            for (int i = 0; i < 1000; i++) {
                writer.begin(1, 1, i == 500 ? longest : "close", "");
                writer.arguments(0, "", i, 0);
                writer.end(0, null);
            }
        }
        assertThat(written).hasSizeGreaterThan(2).allMatch(part -> part.isEmpty() || part.endsWith("}\n"));
        assertThat(String.join("", written).lines()).hasSize(1001).last().isEqualTo("{\"end\":true,\"calls\":1000}");
    }

    /** Memory that is unmapped past the recorder must not be touched. A second vCPU makes memory unknown. */
    @Test
    void memoryThatIsGoneOrOfTwoVcpusIsUnknown() {
        Libc libc = Backends.ofThisMachine().open("jni").libc();
        ProcessMemory memory = new ProcessMemory(libc);
        long at = libc.mmap(PAGE, Uapi.PROT_READ | Uapi.PROT_WRITE, PRIVATE, -1, 0);
        memory.mapped(at, PAGE, "memory#1");
        RecordedGuestMemory gone = new RecordedGuestMemory(memory);
        RecordedGuestMemory shared = new RecordedGuestMemory(memory);
        assertThat(gone.add("memory#1") && shared.add("memory#1")).isTrue();
        libc.view(at, PAGE).put(7, (byte) 1);
        List<String> told = new ArrayList<>();
        RecordedGuestMemory.Change tell =
                (mapping, offset, bytes, length) -> told.add(mapping + "+" + offset + " " + length);
        shared.begins("vcpu#1");
        shared.changes(tell);
        shared.begins("vcpu#2");
        shared.changes(tell);
        assertThat(shared.add("memory#1")).isFalse();
        assertThat(libc.munmap(at, PAGE)).isZero();
        gone.ran();
        gone.begins("vcpu#1");
        gone.changes(tell);
        assertThat(told).containsExactly("memory#1+7 1", "memory#1+0 0", "memory#1+0 0");
        memory.close();
    }

    @Test
    void mappingsAreForgottenAllAndOnceTheyAreGone() throws IOException {
        KernelBackend backend = Backends.ofThisMachine().open("jni");
        ProcessMemory memory = new ProcessMemory(backend.libc());
        memory.mapped(0x10000, PAGE, "memory#1");
        memory.mapped(0x10000 + PAGE, PAGE, "memory#2");
        memory.mapped(0x10000 + 2 * PAGE, PAGE, "memory#3");
        assertThat(memory.unmapped(0x10000, 2 * PAGE)).containsExactly("memory#1", "memory#2");
        assertThat(memory.mappingAt(0x10000 + PAGE)).isEmpty();
        assertThat(memory.mappingAt(0x10000 + 2 * PAGE)).isEqualTo("memory#3");
        try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(file()))) {
            long at = recorder.libc().mmap(PAGE, Uapi.PROT_READ, PRIVATE, -1, 0);
            assertThat(recorder.libc().munmap(at + 1, PAGE)).isNegative();
            assertThat(recorder.libc().munmap(at, PAGE)).isZero();
        }
        assertThat(Recordings.text(file())).contains("memory#1 munmap = EINVAL", "memory#1 munmap = 0");
    }

    /** C programs wait for ever with the longest time, which is more nanoseconds than a number holds. */
    @Test
    void longestTimeOfAWaitIsTheLargestNumber() throws IOException {
        ByteBuffer poll = Buffers.allocate(Uapi.Pollfd.SIZE).putShort(Uapi.Pollfd.EVENTS, (short) Uapi.POLLIN);
        ByteBuffer time = Buffers.allocate(Uapi.Timespec.SIZE).putLong(Uapi.Timespec.TV_SEC, Long.MAX_VALUE);
        try (Recorder recorder = Recorder.of(Backends.ofThisMachine().open("jni"), Files.newOutputStream(file()))) {
            Libc libc = recorder.libc();
            int event = libc.eventfd(1, Uapi.O_CLOEXEC);
            poll.putInt(Uapi.Pollfd.FD, event);
            assertThat(libc.ppoll(libc.addressOf(poll), 1, libc.addressOf(time)))
                    .isEqualTo(1);
            libc.close(event);
        } finally {
            Reference.reachabilityFence(poll);
            Reference.reachabilityFence(time);
        }
        assertThat(Files.readString(file())).contains("\"value\":9223372036854775807,");
    }

    /** Whether some thread of ours is in write(2) to that descriptor, as the kernel says. */
    private static boolean isInWriteTo(int fd) throws IOException {
        try (Stream<Path> threads = Files.list(Path.of("/proc/self/task"))) {
            for (Path thread : threads.toList()) {
                if (Files.readString(thread.resolve("syscall")).startsWith("1 0x" + Integer.toHexString(fd) + " ")) {
                    return true;
                }
            }
            return false;
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    @Test
    void writeThatWaitsStopsNobodyElse() throws Exception {
        KernelBackend backend = Backends.ofThisMachine().open("jni");
        try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(file()))) {
            Libc libc = recorder.libc();
            int event = libc.eventfd(0, Uapi.O_CLOEXEC);
            ByteBuffer count = Buffers.allocate(Long.BYTES).putLong(0, -3);
            assertThat(libc.write(event, count)).isEqualTo(8);
            // Ready for a write of 1, not of 2.
            Thread writer = new Thread(
                    () -> libc.write(event, Buffers.allocate(Long.BYTES).putLong(0, 2)));
            writer.setDaemon(true);
            writer.start();
            while (!isInWriteTo(event)) {
                Thread.onSpinWait();
            }
            Thread other = new Thread(() -> libc.close(libc.eventfd(0, Uapi.O_CLOEXEC)));
            other.setDaemon(true);
            other.start();
            other.join();
            boolean stopped = other.isAlive();
            assertThat(backend.libc().read(event, count)).isEqualTo(8);
            writer.join();
            assertThat(stopped).isFalse();
            libc.close(event);
        }
        assertThat(Recordings.text(file()))
                .containsSubsequence(
                        "eventfd#1 write 18446744073709551613 = 8",
                        "eventfd#2 close = 0",
                        "eventfd#1 write 2 = 8",
                        "eventfd#1 close = 0");
    }

    @Test
    void commandsOfFcntlAndOffsetsAreShown() throws IOException {
        KernelBackend backend = Backends.ofThisMachine().open("jni");
        try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(file()))) {
            int event = recorder.libc().eventfd(0, Uapi.O_CLOEXEC);
            recorder.libc().fcntl(event, Uapi.F_GETFL, 0);
            recorder.libc().pread(event, Buffers.allocate(Long.BYTES), 0x40);
            recorder.libc().close(event);
        }
        assertThat(Recordings.text(file())).contains("eventfd#1 F_GETFL = 2", "eventfd#1 pread at 0x40 = ESPIPE");
    }

    /** A full disk, say. */
    @Test
    void programGoesOnWhenItsRecordingDoesNot() {
        OutputStream full = new OutputStream() {
            @Override
            public void write(int one) throws IOException {
                throw new IOException("no space left");
            }
        };
        Recorder recorder = Recorder.of(Recordings.fake(Profile.V6_18), full);
        int event = recorder.backend().eventfdCreate();
        for (int i = 0; i < CALLS; i++) {
            assertThat(recorder.backend().eventfdSignal(event, 1)).isZero();
        }
        assertThatExceptionOfType(IOException.class).isThrownBy(recorder::close).withMessage("no space left");
        assertThat(recorder.backend().eventfdSignal(event, 1)).isZero();
    }

    /** A proxy needs an array of the arguments, and an object for each number above 127: some 56 to 96 bytes. */
    @Test
    void recordingACallAllocatesNoMoreThanAProxyNeeds() throws IOException {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (Recorder recorder = Recorder.of(Recordings.fake(Profile.V6_18), Files.newOutputStream(file()))) {
            KernelBackend kernel = recorder.backend();
            int event = kernel.eventfdCreate();
            long bytes = 0;
            for (int round = 0; round < 3; round++) {
                long before = threads.getCurrentThreadAllocatedBytes();
                for (int i = 0; i < CALLS; i++) {
                    kernel.eventfdSignal(event, 1);
                }
                bytes = threads.getCurrentThreadAllocatedBytes() - before;
            }
            assertThat(bytes / CALLS).as("bytes a call").isLessThanOrEqualTo(96);
        }
    }
}
