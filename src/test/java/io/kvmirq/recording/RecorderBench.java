/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The cost that recording in the JVM adds to a call: the same calls through one binding, recorded and not, in batches that
 * take turns. {@code make bench T=recording} runs it.
 */
final class RecorderBench {
    private static final int ROUNDS = 61;
    private static final int BATCH = 2000;
    private static final int WARM_UP_ROUNDS = 60;
    private static final double GOAL_NANOS = 300;
    private static final int GUEST_BYTES = 1 << 16;

    private enum Op {
        WRITE("eventfd write"),
        READ("eventfd read, EAGAIN"),
        LINE("KVM_IRQ_LINE"),
        MESSAGE("KVM_SIGNAL_MSI"),
        EXTENSION("KVM_CHECK_EXTENSION"),
        REFUSED("KVM_IRQFD, refused"),
        /** A guest of 64 KiB, whose memory is compared at each run. */
        RUN("KVM_RUN, immediate_exit");

        private final String title;

        Op(String title) {
            this.title = title;
        }
    }

    private final Bench bench = new Bench("recording");
    private final KernelBackend plain;
    private final KernelBackend recorded;
    private final int vm;
    private final int vcpu;
    private final int signalled;
    private final int empty;
    private final ByteBuffer count = Buffers.allocate(Long.BYTES);
    private long answers;

    private RecorderBench(KernelBackend plain, KernelBackend recorded) {
        this.plain = plain;
        this.recorded = recorded;
        int kvm = recorded.kvmOpen(Buffers.cString("/dev/kvm"));
        this.vm = recorded.vmCreate(kvm, 0);
        recorded.irqchipCreate(vm);
        this.signalled = recorded.eventfdCreate();
        this.empty = recorded.eventfdCreate();
        this.vcpu = vcpu(kvm);
    }

    /** @param arguments a binding's name */
    public static void main(String[] arguments) throws IOException {
        KernelBackend backend = Backends.ofThisMachine().open(arguments[0]);
        KernelBackend plain = LibcBackend.over(backend.libc(), backend.name(), "");
        // Not a disk: that it may be slower than the calls is another matter.
        try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(Path.of("/dev/null")))) {
            new RecorderBench(plain, recorder.backend()).run();
        }
    }

    private int vcpu(int kvm) {
        Libc libc = recorded.libc();
        long memory =
                libc.mmap(GUEST_BYTES, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        libc.ioctl(
                vm,
                Uapi.KVM_SET_USER_MEMORY_REGION,
                Structs.of("kvm_userspace_memory_region", 0, 0, 0, GUEST_BYTES, memory));
        int created = libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        int size = libc.ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        long run = libc.mmap(size, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, created, 0);
        libc.view(run, size).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        return created;
    }

    private void run() {
        Rounds.of(Op.values(), bench.warmUp(WARM_UP_ROUNDS), op -> batch(recorded, op), op -> batch(plain, op));
        bench.measure(
                Op.values(),
                ROUNDS,
                op -> batch(recorded, op),
                op -> batch(plain, op),
                op -> new Bench.Title("in the JVM: " + op.title, op == Op.RUN ? Goal.none() : Goal.adds(GOAL_NANOS)));
    }

    /** Nanoseconds of a call. */
    private double batch(KernelBackend backend, Op op) {
        long start = System.nanoTime();
        switch (op) {
            case WRITE -> writes(backend);
            case READ -> reads(backend);
            case LINE -> lines(backend);
            case MESSAGE -> messages(backend);
            case EXTENSION -> extensions(backend);
            case REFUSED -> refused(backend);
            case RUN -> runs(backend);
        }
        return (double) (System.nanoTime() - start) / BATCH;
    }

    // A loop for each: shared, they would be compiled for what the others do too.

    private void writes(KernelBackend backend) {
        for (int i = 0; i < BATCH; i++) {
            answers += backend.eventfdSignal(signalled, 1);
        }
    }

    private void reads(KernelBackend backend) {
        for (int i = 0; i < BATCH; i++) {
            answers += backend.eventfdDrain(empty, count);
        }
    }

    private void lines(KernelBackend backend) {
        for (int i = 0; i < BATCH; i++) {
            answers += backend.lineSet(vm, 4, 0);
        }
    }

    private void messages(KernelBackend backend) {
        for (int i = 0; i < BATCH; i++) {
            answers += backend.msiSignal(vm, 0xfee00000L, 0x31, 0, 0);
        }
    }

    private void extensions(KernelBackend backend) {
        for (int i = 0; i < BATCH; i++) {
            answers += backend.capabilityCheck(vm, 0);
        }
    }

    private void refused(KernelBackend backend) {
        for (int i = 0; i < BATCH; i++) {
            answers += backend.irqfdAssign(vm, 1 << 20, 24);
        }
    }

    private void runs(KernelBackend backend) {
        for (int i = 0; i < BATCH; i++) {
            answers += backend.libc().ioctl(vcpu, Uapi.KVM_RUN, 0);
        }
    }
}
