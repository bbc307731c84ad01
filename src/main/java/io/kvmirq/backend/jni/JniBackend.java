/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.jni;

import io.kvmirq.backend.Abi;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.NativeLibrary;
import java.nio.ByteBuffer;
import java.nio.file.Path;

/** The primitives through {@code libkvmirq.so}. Thread-safe, stateless. */
public final class JniBackend implements KernelBackend {
    private final Path library;
    private final Abi abi;
    private final Libc libc = new JniLibc();

    private JniBackend(Path library, Abi abi) {
        this.library = library;
        this.abi = abi;
    }

    /**
     * Finds, loads and shakes hands with the library.
     *
     * @throws io.kvmirq.backend.BackendUnavailableException naming every place looked at, or both sides of an ABI that
     *     does not fit
     */
    public static JniBackend load(NativeLibrary library) {
        Path loaded = library.load();
        Abi theirs;
        try {
            theirs = Abi.of(
                    Native.abiVersion(),
                    Native.abiRecordSize(Abi.RECORD_ROUTE),
                    Native.abiRecordSize(Abi.RECORD_IRQCHIP));
        } catch (UnsatisfiedLinkError e) {
            throw new BackendUnavailableException(loaded + " is not a libkvmirq: " + e.getMessage(), e);
        }
        theirs.requireFits(loaded.toString());
        return new JniBackend(loaded, theirs);
    }

    @Override
    public String name() {
        return "jni";
    }

    @Override
    public String description() {
        return abi + ", " + library;
    }

    @Override
    public Libc libc() {
        return libc;
    }

    @Override
    public int fdClose(int fd) {
        return Native.fdClose(fd);
    }

    @Override
    public int fdDup(int fd) {
        return Native.fdDup(fd);
    }

    @Override
    public int fdWait(int fd, int wake, long timeoutNanos) {
        return Native.fdWait(fd, wake, timeoutNanos);
    }

    @Override
    public int eventfdCreate() {
        return Native.eventfdCreate();
    }

    @Override
    public int eventfdCreateSemaphore() {
        return Native.eventfdCreateSemaphore();
    }

    @Override
    public int eventfdSignal(int fd, long count) {
        return Native.eventfdSignal(fd, count);
    }

    @Override
    public int eventfdDrain(int fd, ByteBuffer count) {
        return taken(Native.eventfdDrain(fd, Buffers.writable(count, Long.BYTES)), count);
    }

    @Override
    public int eventfdDrainForeign(int fd, ByteBuffer count) {
        return taken(Native.eventfdDrainForeign(fd, Buffers.writable(count, Long.BYTES)), count);
    }

    private static int taken(long result, ByteBuffer count) {
        if (result < 0 && result >= Native.COUNT_IN_BUFFER) {
            return result == Native.COUNT_IN_BUFFER ? 0 : (int) result;
        }
        Buffers.put(count, result);
        return 0;
    }

    @Override
    public int kvmOpen(ByteBuffer path) {
        return Native.kvmOpen(Buffers.cStringIn(path));
    }

    @Override
    public int kvmVersion(int kvm) {
        return Native.kvmVersion(kvm);
    }

    @Override
    public int capabilityCheck(int fd, int capability) {
        return Native.capabilityCheck(fd, capability);
    }

    @Override
    public int vmCreate(int kvm, long type) {
        return Native.vmCreate(kvm, type);
    }

    @Override
    public int irqchipCreate(int vm) {
        return Native.irqchipCreate(vm);
    }

    @Override
    public int irqchipCreateSplit(int vm, int pins) {
        return Native.irqchipCreateSplit(vm, pins);
    }

    @Override
    public int irqchipGet(int vm, int chip, ByteBuffer state) {
        return Native.irqchipGet(vm, chip, Buffers.writable(state, IRQCHIP_STATE_SIZE));
    }

    @Override
    public int irqchipSet(int vm, int chip, ByteBuffer state) {
        return Native.irqchipSet(vm, chip, Buffers.readable(state, IRQCHIP_STATE_SIZE));
    }

    @Override
    public int x2apicEnable(int vm, long bits) {
        return Native.x2apicEnable(vm, bits);
    }

    @Override
    public int routesSet(int vm, ByteBuffer routes, int count) {
        return Native.routesSet(vm, Buffers.routes(routes, count), count);
    }

    @Override
    public int irqfdAssign(int vm, int fd, int gsi) {
        return Native.irqfdAssign(vm, fd, gsi);
    }

    @Override
    public int irqfdAssignLevel(int vm, int fd, int resample, int gsi) {
        return Native.irqfdAssignLevel(vm, fd, resample, gsi);
    }

    @Override
    public int irqfdDeassign(int vm, int fd, int gsi) {
        return Native.irqfdDeassign(vm, fd, gsi);
    }

    @Override
    public int ioeventfdAssign(int vm, int fd, long address, int length, int flags, long datamatch) {
        return Native.ioeventfdAssign(vm, fd, address, length, flags, datamatch);
    }

    @Override
    public int ioeventfdDeassign(int vm, int fd, long address, int length, int flags, long datamatch) {
        return Native.ioeventfdDeassign(vm, fd, address, length, flags, datamatch);
    }

    @Override
    public int msiSignal(int vm, long address, int data, int flags, int devid) {
        return Native.msiSignal(vm, address, data, flags, devid);
    }

    @Override
    public int lineSet(int vm, int gsi, int level) {
        return Native.lineSet(vm, gsi, level);
    }

    @Override
    public int lineSetStatus(int vm, int gsi, int level, ByteBuffer status) {
        return Native.lineSetStatus(vm, gsi, level, Buffers.writable(status, Integer.BYTES));
    }

    @Override
    public int deviceTest(int vm, int type) {
        return Native.deviceTest(vm, type);
    }

    @Override
    public int deviceCreate(int vm, int type) {
        return Native.deviceCreate(vm, type);
    }

    @Override
    public int deviceAttrHas(int device, int group, long attribute) {
        return Native.deviceAttrHas(device, group, attribute);
    }

    @Override
    public int deviceVfioAdd(int device, int fd) {
        return Native.deviceVfioAdd(device, fd);
    }

    @Override
    public int deviceVfioRemove(int device, int fd) {
        return Native.deviceVfioRemove(device, fd);
    }
}
