/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.MemoryDescriptor;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.uapi.Memfd;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Memory with a descriptor; the system calls behind it are in the contract of files. */
class MemoryFileTest {
    private static final int PAGE = 4096;

    @OnBothKernels
    void mappingsShareTheMemoryAndOutliveTheFile(Kernels on) {
        try (Kernel kernel = on.open()) {
            MemoryFile file = MemoryFile.create(kernel, "ram", 2 * PAGE);
            assertThat(file.length()).isEqualTo(2 * PAGE);
            try (Mapping.Owner first = file.map();
                    Mapping.Owner second = Mapping.of(file.fd(), PAGE, PAGE)) {
                file.close();
                file.close();
                first.mapping().putInt(PAGE + 4, 7);
                assertThat(second.mapping().getInt(4)).isEqualTo(7);
                assertThatThrownBy(file::map).isInstanceOf(ClosedHandleException.class);
            }
            assertThat(kernel.openHandles()).isEmpty();
        }
    }

    /** The number of a lease is what a device in another process gets. */
    @Test
    void anotherProcessHasTheMemoryByItsDescriptor() throws Exception {
        try (Kernel kernel = Kernels.REAL.open();
                MemoryFile file = MemoryFile.create(kernel, "ram", 2 * PAGE);
                Mapping.Owner owner = file.map();
                Fd.Lease lease = file.fd().lease()) {
            owner.mapping().put(PAGE, "shared".getBytes(StandardCharsets.US_ASCII));
            String path = "/proc/" + ProcessHandle.current().pid() + "/fd/" + lease.number();
            Process other = new ProcessBuilder("tail", "-c", "" + PAGE, path).start();
            byte[] read = other.getInputStream().readAllBytes();
            assertThat(other.waitFor()).isZero();
            assertThat(new String(read, 0, 6, StandardCharsets.US_ASCII)).isEqualTo("shared");
        }
    }

    /** None of those who share it takes memory from under the others, which would end a JVM. */
    @Test
    void noOtherProcessChangesItsSize() throws Exception {
        try (Kernel kernel = Kernels.REAL.open();
                MemoryFile file = MemoryFile.create(kernel, "ram", 2 * PAGE);
                Fd.Lease lease = file.fd().lease()) {
            String path = "/proc/" + ProcessHandle.current().pid() + "/fd/" + lease.number();
            for (String size : List.of("0", "" + 4 * PAGE)) {
                assertThat(new ProcessBuilder("truncate", "-s", size, path)
                                .start()
                                .waitFor())
                        .as(size)
                        .isNotZero();
            }
        }
    }

    @Test
    void memoryFileMayBeLargerThanABuffer() {
        long length = 5L << 30;
        try (Kernel kernel = Kernels.REAL.open();
                MemoryFile file = MemoryFile.create(kernel, "large", length);
                Mapping.Owner owner = file.map()) {
            owner.mapping().putByte(length - 1, (byte) 3);
            assertThat(owner.mapping().getByte(length - 1)).isEqualTo((byte) 3);
        }
    }

    /** A memfd that the program made: an access behind its new end would be a SIGBUS, an InternalError without a place. */
    @OnBothKernels
    void mappedFileCannotShrink(Kernels on) {
        try (Kernel kernel = on.open();
                Undo undo = new Undo()) {
            Fd adopted = adopted(kernel, undo, 2 * PAGE);
            try (Mapping.Owner owner = Mapping.of(adopted, PAGE, PAGE)) {
                long cut = kernel.libc().syscall(SystemCall.FTRUNCATE, adopted.number(), 0, 0, 0);
                assertThat(cut).isEqualTo(-Errno.EPERM.number());
                owner.mapping().putInt(4, 7);
                assertThat(owner.mapping().getInt(4)).isEqualTo(7);
            }
            assertThatThrownBy(() -> Mapping.of(adopted, PAGE, 2 * PAGE))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageMatching("memfd \\(fd \\d+\\) ends before byte 12288, and an access beyond its end"
                            + " would raise SIGBUS: set its size first \\(ftruncate\\)");
        }
    }

    @OnBothKernels
    void refusedMappingLeavesTheFileUnsealed(Kernels on) {
        try (Kernel kernel = on.open();
                Undo undo = new Undo()) {
            Fd adopted = adopted(kernel, undo, 2 * PAGE);
            assertThatThrownBy(() -> Mapping.of(adopted, PAGE, 2 * PAGE)).isInstanceOf(IllegalArgumentException.class);
            assertIllegalArgument(
                    () -> Mapping.of(adopted, 1, PAGE),
                    "offset 1 of " + adopted + " is invalid: expected 0 or a multiple of the page size, 4096 or more");
            assertIllegalArgument(
                    () -> Mapping.of(adopted, 0, 0),
                    "a mapping of " + adopted + " with 0 bytes is invalid: expected at least one page");
            assertThatThrownBy(() -> Mapping.of(adopted, -PAGE, PAGE)).hasMessageStartingWith("offset -4096 of ");
            assertThat(mayShrink(adopted)).isTrue();
            assertThat(kernel.openHandles()).hasSize(1);
            Mapping.of(adopted, PAGE).close();
            assertThat(mayShrink(adopted)).isFalse();
        }
    }

    /** Another process may cut a file between the look at its length and the seal. */
    @Test
    void fileThatIsCutBeforeTheSealIsRefused() {
        Libc real = Kernels.REAL.open().libc();
        Libc cutting = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("fcntl") && arguments[1].equals(Memfd.F_ADD_SEALS)) {
                        real.syscall(SystemCall.FTRUNCATE, ((Integer) arguments[0]).longValue(), 0, 0, 0);
                    }
                    return method.invoke(real, arguments);
                });
        try (Kernel kernel = Kernel.over(LibcBackend.over(cutting, "cutting", "cuts files"));
                Undo undo = new Undo()) {
            Fd adopted = adopted(kernel, undo, PAGE);
            assertThatThrownBy(() -> Mapping.of(adopted, PAGE)).hasMessageContaining("ends before byte 4096");
        }
    }

    /** As a device in another process gets the guest's memory (vhost-user). */
    @OnBothKernels
    void memfdOfAnotherProgramIsAdopted(Kernels on) {
        try (Kernel kernel = on.open();
                MemoryFile made = MemoryFile.create(kernel, "ram", 2 * PAGE);
                MemoryFile adopted = MemoryFile.adopt(kernel, made.fd().number(), 2 * PAGE, Ownership.BORROWED);
                Mapping.Owner first = made.map();
                Mapping.Owner second = adopted.map();
                EventFd event = EventFd.create(kernel)) {
            first.mapping().putInt(PAGE, 7);
            assertThat(second.mapping().getInt(PAGE)).isEqualTo(7);
            int other = event.fd().number();
            assertIllegalArgument(
                    () -> MemoryFile.adopt(kernel, other, PAGE, Ownership.BORROWED),
                    "fd " + other
                            + " is open on a file that does not support seals: expected a memfd, made by"
                            + " memfd_create(2)");
            assertIllegalArgument(
                    () -> MemoryFile.adopt(kernel, 9999, PAGE, Ownership.BORROWED),
                    "fd 9999 is not open in this process: expected a memfd, made by memfd_create(2)");
        }
    }

    private static boolean mayShrink(Fd file) {
        int seals = file.kernel().libc().fcntl(file.number(), Memfd.F_GET_SEALS, 0);
        return (seals & Memfd.F_SEAL_SHRINK) == 0;
    }

    private static Fd adopted(Kernel kernel, Undo undo, long length) {
        Libc libc = kernel.libc();
        int raw = MemoryDescriptor.create(libc, "made elsewhere");
        assertThat(libc.syscall(SystemCall.FTRUNCATE, raw, length, 0, 0)).isZero();
        Fd adopted = Fd.adopt(kernel, "memfd", raw, Ownership.OWNED);
        undo.add(adopted::close);
        return adopted;
    }

    @OnBothKernels
    void fileThatMayShrinkIsForTheGuestAlone(Kernels on) throws IOException {
        Path path = Files.write(Files.createTempFile("kvmirq", null), new byte[PAGE]);
        ByteBuffer name = Buffers.cString(on == Kernels.REAL ? path.toString() : Kernel.DEVICE.toString());
        try (Kernel kernel = on.open();
                Undo undo = new Undo()) {
            Fd file = Fd.adopt(kernel, "file", kernel.libc().open(name, Uapi.O_RDWR), Ownership.OWNED);
            undo.add(file::close);
            assertThatThrownBy(() -> Mapping.of(file, PAGE))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageMatching(
                            "file \\(fd \\d+\\) may shrink, and an access beyond its end would raise SIGBUS:"
                                    + " expected a memfd with MFD_ALLOW_SEALING; Mapping.forGuest maps a file that"
                                    + " only the guest uses");
            if (on == Kernels.REAL) {
                try (Mapping.Owner owner = Mapping.forGuest(file, 0, PAGE)) {
                    assertThatThrownBy(() -> owner.mapping().getInt(0))
                            .isInstanceOf(UnsupportedOperationException.class)
                            .hasMessageMatching("the mapping of file \\(fd \\d+\\) is for the guest: an access from"
                                    + " here could raise SIGBUS, while a device's memory space is off or after a file"
                                    + " shrank; use read and write of the device's region, or Mapping.of of a memfd");
                }
            }
        } finally {
            Files.delete(path);
        }
    }

    /** Kernels before 6.3 do not know the first choice of flags. */
    @OnBothKernels
    void olderKernelsMakeItWithOtherFlags(Kernels on) {
        Faults faults = new Faults().fail("memfd_create", 1, Errno.EINVAL);
        try (Kernel kernel = Kernel.over(faults.over(on.backend()));
                MemoryFile file = MemoryFile.create(kernel, "ram", PAGE)) {
            assertThat(file.length()).isEqualTo(PAGE);
            assertThat(faults.unused()).isEmpty();
        }
    }

    @OnBothKernels
    void refusalsSayWhatIsWrong(Kernels on) {
        try (Kernel kernel = on.open()) {
            assertThatThrownBy(() -> MemoryFile.create(kernel, "n".repeat(250), PAGE))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("EINVAL (the name has more than 249 bytes");
            for (long length : new long[] {-PAGE, -1, 0, 100, PAGE + 1}) {
                assertThatThrownBy(() -> MemoryFile.create(kernel, "ram", length))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessage("the memory file 'ram' cannot have " + length
                                + " bytes: expected a multiple of 4096 above 0");
            }
            assertThat(kernel.openHandles()).isEmpty();
        }
    }

    @Test
    void setUpThatFailsLeavesNothing() {
        Faults faults = new Faults();
        try (Kernel kernel = Kernel.over(faults.over(new FakeKernel(Machine.profile()).backend()))) {
            for (String call : List.of("ftruncate", "fcntl")) {
                faults.fail(call, 1, Errno.ENOMEM);
                assertThatThrownBy(() -> MemoryFile.create(kernel, "ram", PAGE)).isInstanceOf(KernelException.class);
                assertThat(faults.unused()).isEmpty();
            }
            assertThat(kernel.openHandles()).isEmpty();
        }
    }
}
