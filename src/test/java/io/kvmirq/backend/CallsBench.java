/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/**
 * The cost of a call of one binding beside the same call in C, on the same descriptors. {@code make bench T=calls} runs it.
 *
 * <p>One binding a process, as programs have it: a second one would make the JVM's compiled calls among them slower.
 *
 * <p>The other half is {@code src/test/native/calls.c}.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
public class CallsBench {
    private static final int BATCH = 1000;
    private static final int GSI = 4;
    private static final int VECTOR = 0x31;
    private static final long MSI_ADDRESS = 0xfee00000L;

    @SuppressWarnings("NullAway.Init")
    private static KernelBackend kernel;

    private static int event;
    private static int vm;

    private int level;

    private static native int bareSignal(int fd);

    private static native int bareSignalInline(int fd);

    private static native int signalInline(int fd, int calls);

    private static native int signalCalled(int fd, int calls);

    private static native int lineInline(int vm, int gsi, int calls);

    private static native int signalInC(int fd, int calls);

    private static native int lineInC(int vm, int gsi, int calls);

    private static native int messageInC(int vm, long address, int data, int calls);

    /** @param arguments the other half's absolute path, and a binding */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        kernel = Backends.ofThisMachine().open(arguments[1]);
        event = made(kernel.eventfdCreate());
        vm = made(kernel.vmCreate(made(kernel.kvmOpen(Buffers.cString("/dev/kvm"))), 0));
        made(kernel.irqchipCreate(vm));
        int vcpu = made(kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0));
        ByteBuffer lapic = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        made(kernel.libc().ioctl(vcpu, Uapi.KVM_GET_LAPIC, lapic));
        lapic.putInt(Uapi.KvmLapicState.SVR, lapic.getInt(Uapi.KvmLapicState.SVR) | Uapi.KvmLapicState.SVR_ENABLE);
        made(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
        Bench bench = new Bench("calls", CallsBench.class);
        List<Row> rows = rows();
        bench.warm(300, rows);
        bench.measure(61, rows);
    }

    private static List<Row> rows() {
        List<Row> rows = new ArrayList<>();
        if (kernel.name().equals("jni")) {
            rows.add(new Row("C, instruction inline / C: eventfd write", Double.NaN, "inlineWrite", "writeInC"));
            rows.add(new Row("C, instruction in a function / C: eventfd write", Double.NaN, "calledWrite", "writeInC"));
            rows.add(new Row("bare JNI / C: eventfd write", Double.NaN, "bareWrite", "writeInC"));
            rows.add(new Row("bare JNI inline / C: eventfd write", Double.NaN, "bareInlineWrite", "writeInC"));
            rows.add(new Row("C, instruction inline / C: KVM_IRQ_LINE", Double.NaN, "inlineIoctl", "ioctlInC"));
        }
        String side = kernel.name() + " / C: ";
        double ofIoctl = goal(Runtime.version().feature() < 25 ? 1.10 : 1.08);
        rows.add(new Row(side + "eventfd write", goal(1.05), "write", "writeInC"));
        rows.add(new Row(side + "KVM_IRQ_LINE", ofIoctl, "ioctl", "ioctlInC"));
        rows.add(new Row(side + "KVM_SIGNAL_MSI", ofIoctl, "message", "messageInC"));
        return rows;
    }

    /** @param max the goal of jni */
    private static double goal(double max) {
        return switch (kernel.name()) {
            case "jni" -> max;
            case "ffm" -> 1.08;
            case "jnr" -> 1.10;
            // JNA takes long whatever the kernel does.
            default -> Double.NaN;
        };
    }

    private static int made(int result) {
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
        }
        return result;
    }

    /** @param expected for the batches of the other half, 0: how many went wrong */
    private static void require(int expected, int result) {
        if (result != expected) {
            throw new IllegalStateException("expected " + expected + ", the answer is " + result);
        }
    }

    @Benchmark
    public void write() {
        require(0, kernel.eventfdSignal(event, 1));
    }

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void writeInC() {
        require(0, signalInC(event, BATCH));
    }

    @Benchmark
    public void ioctl() {
        require(0, kernel.lineSet(vm, GSI, level ^= 1));
    }

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void ioctlInC() {
        require(0, lineInC(vm, GSI, BATCH));
    }

    @Benchmark
    public void message() {
        require(1, kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 0, 0));
    }

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void messageInC() {
        require(0, messageInC(vm, MSI_ADDRESS, VECTOR, BATCH));
    }

    // The cost of a call without kvmirq: the instruction, a return, a native method.

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void inlineWrite() {
        require(0, signalInline(event, BATCH));
    }

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void calledWrite() {
        require(0, signalCalled(event, BATCH));
    }

    @Benchmark
    public void bareWrite() {
        require(0, bareSignal(event));
    }

    @Benchmark
    public void bareInlineWrite() {
        require(0, bareSignalInline(event));
    }

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void inlineIoctl() {
        require(0, lineInline(vm, GSI, BATCH));
    }
}
