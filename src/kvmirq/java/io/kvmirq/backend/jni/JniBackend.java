/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.jni;

import io.kvmirq.backend.Abi;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.library.NativeLibrary;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiFunction;

/** The kernel calls of the interrupt path, implemented by {@code libkvmirq.so}. Thread-safe, stateless. */
public final class JniBackend implements KernelBackend {
    private final String description;
    private final Libc libc = new JniLibc();

    private JniBackend(String description) {
        this.description = description;
    }

    /** Loads a library and checks its ABI. Throws BackendUnavailableException with the searched paths or both ABIs. */
    public static JniBackend load(NativeLibrary library) {
        return library.load(new Handshake());
    }

    private static final class Handshake implements BiFunction<Path, List<String>, JniBackend> {
        @Override
        public JniBackend apply(Path loaded, List<String> refused) {
            Abi theirs;
            try {
                theirs = new Abi(
                        abiVersion(),
                        abiRecordSize(Abi.RECORD_ROUTE),
                        abiRecordSize(Abi.RECORD_IRQCHIP),
                        abiRecordSize(Abi.RECORD_VFIO_IRQ),
                        abiRecordSize(Abi.RECORD_IRQFD));
            } catch (UnsatisfiedLinkError e) {
                throw new BackendUnavailableException(loaded + " is not a libkvmirq: " + e.getMessage(), e);
            }
            theirs.requireFits(loaded.toString());
            return new JniBackend(
                    theirs + ", " + loaded + (refused.isEmpty() ? "" : "; passed over: " + String.join("; ", refused)));
        }
    }

    @Override
    public String name() {
        return "jni";
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public Libc libc() {
        return libc;
    }

    @Override
    public native int fdClose(int fd);

    @Override
    public native int fdDup(int fd);

    @Override
    public native int fdWait(int fd, int wake, long timeoutNanos);

    @Override
    public native int eventfdCreate();

    @Override
    public native int eventfdCreateSemaphore();

    @Override
    public int eventfdsCreate(ByteBuffer numbers, int count) {
        return eventfdsCreateChecked(Buffers.results(numbers, Integer.BYTES, count), count);
    }

    @Override
    public native int eventfdSignal(int fd, long count);

    @Override
    public int eventfdDrain(int fd, ByteBuffer count) {
        return putCount(eventfdDrainChecked(fd, Buffers.writable(count, Long.BYTES)), count);
    }

    @Override
    public int eventfdDrainForeign(int fd, ByteBuffer count) {
        return putCount(eventfdDrainForeignChecked(fd, Buffers.writable(count, Long.BYTES)), count);
    }

    /** A drain's result if the count is in the buffer, because the count equals an errno or this number. */
    private static final int COUNT_IN_BUFFER = -4096;

    private static int putCount(long result, ByteBuffer count) {
        if (result < 0 && result >= COUNT_IN_BUFFER) {
            return result == COUNT_IN_BUFFER ? 0 : (int) result;
        }
        Buffers.put(count, result);
        return 0;
    }

    @Override
    public int kvmOpen(ByteBuffer path) {
        return kvmOpenChecked(Buffers.cStringIn(path));
    }

    @Override
    public native int kvmVersion(int kvm);

    @Override
    public native int capabilityCheck(int fd, int capability);

    @Override
    public native int vmCreate(int kvm, long type);

    @Override
    public native int irqchipCreate(int vm);

    @Override
    public native int irqchipCreateSplit(int vm, int pins);

    @Override
    public int irqchipGet(int vm, int chip, ByteBuffer state) {
        return irqchipGetChecked(vm, chip, Buffers.writable(state, IRQCHIP_STATE_SIZE));
    }

    @Override
    public int irqchipSet(int vm, int chip, ByteBuffer state) {
        return irqchipSetChecked(vm, chip, Buffers.readable(state, IRQCHIP_STATE_SIZE));
    }

    @Override
    public native int x2apicEnable(int vm, long bits);

    @Override
    public int routesSet(int vm, ByteBuffer routes, int count) {
        return routesSetChecked(vm, Buffers.routes(routes, count), count);
    }

    @Override
    public native int irqfdAssign(int vm, int fd, int gsi);

    @Override
    public int irqfdsAssign(int vm, ByteBuffer irqfds, int count) {
        return irqfdsAssignChecked(vm, Buffers.results(irqfds, IRQFD_SIZE, count), count);
    }

    @Override
    public native int irqfdAssignLevel(int vm, int fd, int resample, int gsi);

    @Override
    public native int irqfdDeassign(int vm, int fd, int gsi);

    @Override
    public native int ioeventfdAssign(int vm, int fd, long address, int length, int flags, long datamatch);

    @Override
    public native int ioeventfdDeassign(int vm, int fd, long address, int length, int flags, long datamatch);

    @Override
    public native int msiSignal(int vm, long address, int data, int flags, int devid);

    @Override
    public native int lineSet(int vm, int gsi, int level);

    @Override
    public int lineSetStatus(int vm, int gsi, int level, ByteBuffer status) {
        return lineSetStatusChecked(vm, gsi, level, Buffers.writable(status, Integer.BYTES));
    }

    @Override
    public native int deviceTest(int vm, int type);

    @Override
    public native int deviceCreate(int vm, int type);

    @Override
    public native int deviceAttrHas(int device, int group, long attribute);

    @Override
    public native int deviceVfioAdd(int device, int fd);

    @Override
    public native int deviceVfioRemove(int device, int fd);

    @Override
    public int vfioIrqInfo(int device, int index, ByteBuffer info) {
        return vfioIrqInfoChecked(device, index, Buffers.writable(info, VFIO_IRQ_SIZE));
    }

    @Override
    public int vfioIrqsSet(int device, int flags, int index, int start, int count, ByteBuffer set) {
        return vfioIrqsSetChecked(device, flags, index, start, count, set, Buffers.vfioIrqs(set, flags, count));
    }

    @Override
    public native int vfioDeviceReset(int device);

    // These methods are bound by name when the library is loaded. Callers have checked the buffers.

    private static native int abiVersion();

    private static native int abiRecordSize(int record);

    private static native int eventfdsCreateChecked(ByteBuffer numbers, int count);

    private static native long eventfdDrainChecked(int fd, ByteBuffer count);

    private static native long eventfdDrainForeignChecked(int fd, ByteBuffer count);

    private static native int kvmOpenChecked(ByteBuffer path);

    private static native int irqchipGetChecked(int vm, int chip, ByteBuffer state);

    private static native int irqchipSetChecked(int vm, int chip, ByteBuffer state);

    private static native int routesSetChecked(int vm, ByteBuffer routes, int count);

    private static native int irqfdsAssignChecked(int vm, ByteBuffer irqfds, int count);

    private static native int lineSetStatusChecked(int vm, int gsi, int level, ByteBuffer status);

    private static native int vfioIrqInfoChecked(int device, int index, ByteBuffer info);

    private static native int vfioIrqsSetChecked(
            int device, int flags, int index, int start, int count, ByteBuffer set, int size);
}
