/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.Errno;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * The cost of a call of one binding beside the same call in C, on the same descriptors. {@code make bench T=calls} runs it.
 *
 * <p>One binding a process, as programs have it: a second one would make the JVM's compiled calls among them slower. For the
 * same reason each row has a loop of its own.
 *
 * <p>The other half is {@code src/test/native/calls.c}.
 */
final class CallsBench {
    private static final int ROUNDS = 101;
    private static final int NO_FD = 1 << 20;
    private static final int GSI = 4;
    private static final int VECTOR = 0x31;
    private static final long MSI_ADDRESS = 0xfee00000L;
    private static final long PLENTY = 1L << 62;
    private static final int EBADF = -Errno.EBADF.number();

    private final List<Row> rows = new ArrayList<>();
    private final KernelBackend kernel;
    private final ByteBuffer count = Buffers.allocate(Long.BYTES);
    private final int signalled;
    private final int full;
    private final int vm;
    private final int device;

    private CallsBench(KernelBackend kernel) {
        this.kernel = kernel;
        signalled = made(kernel.eventfdCreate());
        full = made(kernel.eventfdCreateSemaphore());
        made(kernel.eventfdSignal(full, PLENTY));
        vm = made(kernel.vmCreate(made(kernel.kvmOpen(Buffers.cString("/dev/kvm"))), 0));
        made(kernel.irqchipCreate(vm));
        device = made(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        int vcpu = made(kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0));
        ByteBuffer lapic = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        made(kernel.libc().ioctl(vcpu, Uapi.KVM_GET_LAPIC, lapic));
        lapic.putInt(Uapi.KvmLapicState.SVR, lapic.getInt(Uapi.KvmLapicState.SVR) | Uapi.KvmLapicState.SVR_ENABLE);
        made(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
    }

    private static int made(int result) {
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
        }
        return result;
    }

    private static native int bareSignal(int fd);

    private static native int bareSignalInline(int fd);

    private static native int signalInline(int fd, int calls);

    private static native int signalCalled(int fd, int calls);

    private static native int lineInline(int vm, int gsi, int calls);

    private static native int signalInC(int fd, int expected, int calls);

    private static native int drainInC(int fd, int expected, int calls);

    private static native int lineInC(int vm, int gsi, int calls);

    private static native int messageInC(int vm, long address, int data, int calls);

    private static native int attributeInC(int device, int group, long attribute, int calls);

    /** @param arguments the other half's absolute path, and a binding */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        CallsBench bench = new CallsBench(Backends.ofThisMachine().open(arguments[1]));
        if (bench.kernel.name().equals("jni")) {
            bench.bare();
        }
        bench.calls();
        new Bench("calls").measure(ROUNDS, ROUNDS, bench.rows);
    }

    private interface Batch {
        int wrong(int calls);
    }

    private void row(String title, double max, Batch ours, Batch theirs) {
        rows.add(Row.of(title, max, 1, ours::wrong, theirs::wrong));
    }

    /** The cost of a call without kvmirq: the instruction, a return, a native method. */
    private void bare() {
        Batch inC = calls -> signalInC(signalled, 0, calls);
        row("C, instruction inline / C: eventfd write", Double.NaN, calls -> signalInline(signalled, calls), inC);
        row(
                "C, instruction in a function / C: eventfd write",
                Double.NaN,
                calls -> signalCalled(signalled, calls),
                inC);
        row(
                "bare JNI / C: eventfd write",
                Double.NaN,
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += bareSignal(signalled) == 0 ? 0 : 1;
                    }
                    return wrong;
                },
                inC);
        row(
                "bare JNI inline / C: eventfd write",
                Double.NaN,
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += bareSignalInline(signalled) == 0 ? 0 : 1;
                    }
                    return wrong;
                },
                inC);
        row(
                "C, instruction inline / C: KVM_IRQ_LINE",
                Double.NaN,
                calls -> lineInline(vm, GSI, calls),
                calls -> lineInC(vm, GSI, calls));
    }

    /** @param max the goal of jni */
    private double goal(double max) {
        return switch (kernel.name()) {
            case "jni" -> max;
            case "ffm" -> 1.08;
            case "jnr" -> 1.10;
            // JNA takes long whatever the kernel does.
            default -> Double.NaN;
        };
    }

    private void calls() {
        String side = kernel.name() + " / C: ";
        double ofIoctl = goal(Runtime.version().feature() < 25 ? 1.10 : 1.08);
        row(
                side + "eventfd write",
                goal(1.05),
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += kernel.eventfdSignal(signalled, 1) == 0 ? 0 : 1;
                    }
                    return wrong;
                },
                calls -> signalInC(signalled, 0, calls));
        row(
                side + "eventfd read",
                goal(1.05),
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += kernel.eventfdDrain(full, count) == 0 ? 0 : 1;
                    }
                    return wrong;
                },
                calls -> drainInC(full, 0, calls));
        row(
                side + "KVM_IRQ_LINE",
                ofIoctl,
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += kernel.lineSet(vm, GSI, i & 1) == 0 ? 0 : 1;
                    }
                    return wrong;
                },
                calls -> lineInC(vm, GSI, calls));
        row(
                side + "KVM_SIGNAL_MSI",
                ofIoctl,
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 0, 0) == 1 ? 0 : 1;
                    }
                    return wrong;
                },
                calls -> messageInC(vm, MSI_ADDRESS, VECTOR, calls));
        int group = Uapi.KVM_DEV_VFIO_FILE;
        long attribute = Uapi.KVM_DEV_VFIO_FILE_ADD;
        row(
                side + "KVM_HAS_DEVICE_ATTR",
                ofIoctl,
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += kernel.deviceAttrHas(device, group, attribute) == 0 ? 0 : 1;
                    }
                    return wrong;
                },
                calls -> attributeInC(device, group, attribute, calls));
        row(
                side + "eventfd write, EBADF",
                kernel.name().equals("jni") ? 1.08 : Double.NaN,
                calls -> {
                    int wrong = 0;
                    for (int i = 0; i < calls; i++) {
                        wrong += kernel.eventfdSignal(NO_FD, 1) == EBADF ? 0 : 1;
                    }
                    return wrong;
                },
                calls -> signalInC(NO_FD, EBADF, calls));
    }
}
