/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import com.sun.management.ThreadMXBean;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.recording.replay.Replay;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.ToIntFunction;

/**
 * The cost that recording adds to a call: the same calls through one binding, recorded and not, in batches that take
 * turns; medians. It reports and asserts no time; {@code scripts/bench-recording} runs it.
 */
final class RecorderBench {
    private static final int ROUNDS = 101;
    private static final int BATCH = 2000;
    private static final int WARM_UP = 60;
    private static final int REPLAYED = 100_000;
    private static final int REPLAYS = 11;

    private final KernelBackend plain;
    private final KernelBackend recorded;
    private final int vm;
    private final int event;
    private long answers;
    private final ByteBuffer count = Buffers.allocate(Long.BYTES);

    private RecorderBench(KernelBackend plain, KernelBackend recorded) {
        this.plain = plain;
        this.recorded = recorded;
        this.vm = recorded.vmCreate(recorded.kvmOpen(Buffers.cString("/dev/kvm")), 0);
        recorded.irqchipCreate(vm);
        this.event = recorded.eventfdCreate();
    }

    /** @param arguments a binding's name */
    public static void main(String[] arguments) throws IOException {
        Path file = Files.createTempFile("kvmirq", ".bench");
        KernelBackend backend = Backends.ofThisMachine().open(arguments[0]);
        KernelBackend plain = LibcBackend.over(backend.libc(), backend.name(), "");
        // Not a disk: that it may be slower than the calls is another matter.
        try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(Path.of("/dev/null")))) {
            new RecorderBench(plain, recorder.backend()).report(System.out);
        }
        try {
            replay(System.out, file);
        } finally {
            Files.delete(file);
        }
    }

    /** A tape of 100 000 calls, on the fake. */
    private static void replay(PrintStream out, Path file) throws IOException {
        try (Recorder recorder = Recorder.of(new FakeKernel(Profile.V6_18).backend(), Files.newOutputStream(file))) {
            RecorderBench bench = new RecorderBench(recorder.backend(), recorder.backend());
            for (int i = 0; i < REPLAYED / 5; i++) {
                bench.answers += recorder.backend().eventfdSignal(bench.event, 1)
                        + recorder.backend().eventfdDrain(bench.event, bench.count)
                        + recorder.backend().lineSet(bench.vm, 4, i % 2)
                        + recorder.backend().irqfdAssign(bench.vm, bench.event, 24)
                        + recorder.backend().irqfdDeassign(bench.vm, bench.event, 24);
            }
        }
        double[] millis = new double[REPLAYS];
        String outcome = "";
        for (int i = 0; i < REPLAYS; i++) {
            long start = System.nanoTime();
            try (Replay replay = new Replay(new FakeKernel(Profile.V6_18))) {
                outcome = replay.run(file).toString();
            }
            millis[i] = (System.nanoTime() - start) / 1e6;
        }
        double first = millis[0];
        Arrays.sort(millis);
        out.printf(
                Locale.ROOT,
                "replay on the fake: %s, %d MB: %.0f ms at first, median of %d %.0f ms%n",
                outcome,
                Files.size(file) >> 20,
                first,
                REPLAYS,
                millis[REPLAYS / 2]);
    }

    private void report(PrintStream out) {
        out.printf(
                Locale.ROOT, "%-24s %10s %10s %10s %14s%n", "ns a call", "plain", "recorded", "added", "bytes a call");
        row(out, "eventfd write", backend -> backend.eventfdSignal(event, 1));
        row(out, "eventfd write and read", backend -> {
            backend.eventfdSignal(event, 1);
            return backend.eventfdDrain(event, count);
        });
        row(out, "KVM_IRQ_LINE", backend -> backend.lineSet(vm, 4, 0));
        row(out, "KVM_SIGNAL_MSI", backend -> backend.msiSignal(vm, 0xfee00000L, 0x31, 0, 0));
        row(out, "KVM_CHECK_EXTENSION", backend -> backend.capabilityCheck(vm, 0));
        row(out, "KVM_IRQFD, refused", backend -> backend.irqfdAssign(vm, 1 << 20, 24));
        runRow(out);
        out.println("sum of all answers: " + answers);
    }

    /** A guest of 64 KiB, whose memory is compared at each run. */
    private void runRow(PrintStream out) {
        Libc libc = recorded.libc();
        int kvm = recorded.kvmOpen(Buffers.cString("/dev/kvm"));
        long memory =
                libc.mmap(1 << 16, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        ByteBuffer region = Structs.of("kvm_userspace_memory_region", 0, 0, 0, 1 << 16, memory);
        answers += libc.ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION, region);
        int vcpu = libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        int size = libc.ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        long run = libc.mmap(size, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, vcpu, 0);
        libc.view(run, size).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        row(out, "KVM_RUN, immediate_exit", backend -> backend.libc().ioctl(vcpu, Uapi.KVM_RUN, 0));
    }

    private void row(PrintStream out, String title, ToIntFunction<KernelBackend> call) {
        for (int i = 0; i < WARM_UP; i++) {
            batch(plain, call);
            batch(recorded, call);
        }
        double[] without = new double[ROUNDS];
        double[] with = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            without[i] = batch(plain, call);
            with[i] = batch(recorded, call);
        }
        Arrays.sort(without);
        Arrays.sort(with);
        double plainNanos = without[ROUNDS / 2];
        double recordedNanos = with[ROUNDS / 2];
        out.printf(
                Locale.ROOT,
                "%-24s %10.0f %10.0f %10.0f %14.1f%n",
                title,
                plainNanos,
                recordedNanos,
                recordedNanos - plainNanos,
                allocated(call));
    }

    private double batch(KernelBackend backend, ToIntFunction<KernelBackend> call) {
        long start = System.nanoTime();
        for (int i = 0; i < BATCH; i++) {
            answers += call.applyAsInt(backend);
        }
        return (double) (System.nanoTime() - start) / BATCH;
    }

    private double allocated(ToIntFunction<KernelBackend> call) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < BATCH; i++) {
            answers += call.applyAsInt(recorded);
        }
        return (double) (threads.getCurrentThreadAllocatedBytes() - before) / BATCH;
    }
}
