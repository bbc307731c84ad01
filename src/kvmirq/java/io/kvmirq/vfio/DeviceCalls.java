/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.Errno;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioPciDependentDevice;
import io.kvmirq.uapi.UapiVfio.VfioPciHotReset;
import io.kvmirq.uapi.UapiVfio.VfioPciHotResetInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntSupplier;
import org.jspecify.annotations.Nullable;

final class DeviceCalls extends Calls {
    static final int NO_EVENTFD = -1;

    private static final int EINVAL = -Errno.EINVAL.number();
    private static final int EAGAIN = -Errno.EAGAIN.number();
    private static final int LONGEST_PAUSE_MILLIS = 128;
    /** The size of struct vfio_device_info up to {@code num_irqs}. Later kernels added the other fields. */
    private static final int INFO_SIZE = 16;

    private static final int DEVICES_OF_BUS = 256;

    private final Fd device;

    DeviceCalls(Fd device) {
        super(device.kernel());
        this.device = device;
    }

    Fd device() {
        return device;
    }

    Fd hold(EventFd event) {
        return hold(event.fd());
    }

    /** Ends {@link #hold}. Does nothing for null. */
    void letGo(@Nullable Fd event) {
        if (event != null) {
            release(event);
        }
    }

    /** A held eventfd's descriptor, or {@link #NO_EVENTFD} for null. */
    int numberOf(@Nullable Fd event) {
        return event == null ? NO_EVENTFD : number(event);
    }

    /** Whether a held eventfd's count is above 0 or unknown. Does not change the count. */
    boolean isSignalled(Fd event) {
        return backend().fdWait(number(event), -1, 0) != 0;
    }

    /** Runs a user's callback while the device is being closed. Its exceptions do not stop the close. */
    void tellOfEnd(String what, Runnable listener) {
        tell(what + " of " + device, listener);
    }

    void closeDevice() {
        close(device);
    }

    ByteBuffer info() {
        return ask(
                KernelCall.VFIO_INFO,
                UapiVfio.VFIO_DEVICE_GET_INFO,
                Buffers.allocate(VfioDeviceInfo.SIZE).putInt(VfioDeviceInfo.ARGSZ, INFO_SIZE),
                device.toString());
    }

    /** Reads struct vfio_region_info and its capabilities. The first call gets their length, the second reads them. */
    ByteBuffer regionInfo(int index) {
        ByteBuffer info = regionInfo(index, VfioRegionInfo.SIZE);
        int size = info.getInt(VfioRegionInfo.ARGSZ);
        return size > VfioRegionInfo.SIZE ? regionInfo(index, size) : info;
    }

    private ByteBuffer regionInfo(int index, int size) {
        return ask(
                KernelCall.VFIO_REGION_INFO,
                UapiVfio.VFIO_DEVICE_GET_REGION_INFO,
                Buffers.allocate(size).putInt(VfioRegionInfo.ARGSZ, size).putInt(VfioRegionInfo.INDEX, index),
                device + " region=" + index);
    }

    /** @param offset the offset in the device's file */
    Mapping.Owner map(long offset, long length) {
        return Mapping.forGuest(device, offset, length);
    }

    private ByteBuffer ask(KernelCall call, long request, ByteBuffer info, String operands) {
        check(call(device, raw -> libc().ioctl(raw, request, info)), call, Set.of(), () -> operands);
        return info;
    }

    /** @param kinds the kind of each index */
    List<IrqInfo> irqInfos(List<IrqKind> kinds) {
        ByteBuffer info = scratch();
        try {
            List<IrqInfo> infos = new ArrayList<>();
            for (IrqKind kind : kinds) {
                infos.add(irqInfo(kind, infos.size(), info));
            }
            return infos;
        } finally {
            done(info);
        }
    }

    /** Returns a count of 0 for an index that this device lacks, such as the error interrupt of conventional PCI. */
    private IrqInfo irqInfo(IrqKind kind, int index, ByteBuffer info) {
        info.putLong(0, 0);
        int result = call(device, raw -> backend().vfioIrqInfo(raw, index, info));
        if (result != EINVAL) {
            check(result, KernelCall.VFIO_IRQ_INFO, Set.of(), () -> device + " index=" + index);
        }
        return new IrqInfo(kind, info.getInt(KernelBackend.VFIO_IRQ_COUNT), info.getInt(KernelBackend.VFIO_IRQ_FLAGS));
    }

    /** @return 0, {@code -errno}, or the positive number of available vectors if the kernel enabled nothing */
    int setIrqs(int flags, int index, int start, int count, ByteBuffer set) {
        return call(device, raw -> backend().vfioIrqsSet(raw, flags, index, start, count, set));
    }

    RuntimeException refused(int result, int flags, IrqInfo irq, String range) {
        if (result > 0) {
            return new VectorsExhaustedException(device + " " + range, result);
        }
        String action =
                switch (flags & UapiVfio.VFIO_IRQ_SET_ACTION_TYPE_MASK) {
                    case UapiVfio.VFIO_IRQ_SET_ACTION_MASK -> " mask";
                    case UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK -> " unmask";
                    default -> "";
                };
        if (result == -Errno.EBUSY.number()) {
            Answer cause = busy(irq.kind(), action.isEmpty());
            return new KernelException(
                    KernelCall.SET_IRQS.label(), device + " " + range + action, Errno.EBUSY, cause.text());
        }
        return failure(result, KernelCall.SET_IRQS, facts(irq.kind()), () -> device + " " + range + action);
    }

    /** The cause of an EBUSY from arming an interrupt, or from setting an eventfd that masks or unmasks it. */
    static Answer busy(IrqKind kind, boolean arming) {
        if (kind == IrqKind.PLATFORM) {
            return arming ? VfioIrqAnswer.PLATFORM_SHARED : VfioIrqAnswer.VFIO_PLATFORM_EVENTFD;
        }
        return arming ? VfioIrqAnswer.VFIO_IRQS_SHARED : VfioIrqAnswer.VFIO_IRQS_UNMASK_EVENTFD;
    }

    private static Set<Condition> facts(IrqKind kind) {
        return switch (kind) {
            case INTX -> Set.of(Condition.INTX);
            case MSI, MSIX -> Set.of(Condition.MSI);
            case ERROR, REQUEST -> Set.of(Condition.ERR_REQ);
            case PLATFORM -> Set.of(Condition.PLATFORM);
        };
    }

    void reset() {
        int result = unlocked(() -> call(device, backend()::vfioDeviceReset));
        check(result, KernelCall.VFIO_RESET, Set.of(), device::toString);
    }

    /** Repeats a reset while another thread on the host holds the device lock. The pauses are 1, 2, 4 ... 128 ms. */
    private static int unlocked(IntSupplier reset) {
        int result = reset.getAsInt();
        for (int pause = 1; result == EAGAIN && pause <= LONGEST_PAUSE_MILLIS; pause *= 2) {
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(pause));
            result = reset.getAsInt();
        }
        return result;
    }

    /** The number of devices affected by a bus or slot reset. */
    int hotResetAffects() {
        int size = VfioPciHotResetInfo.SIZE + DEVICES_OF_BUS * VfioPciDependentDevice.SIZE;
        return ask(
                        KernelCall.VFIO_HOT_RESET,
                        UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
                        Buffers.allocate(size).putInt(VfioPciHotResetInfo.ARGSZ, size),
                        device.toString())
                .getInt(VfioPciHotResetInfo.COUNT);
    }

    /** @param group the group through which the device was opened, if any */
    void hotReset(Optional<Fd> group) {
        int groups = group.isPresent() ? 1 : 0;
        int size = VfioPciHotReset.SIZE + groups * Integer.BYTES;
        ByteBuffer reset =
                Buffers.allocate(size).putInt(VfioPciHotReset.ARGSZ, size).putInt(VfioPciHotReset.COUNT, groups);
        group.ifPresent(file -> reset.putInt(VfioPciHotReset.GROUP_FDS, number(hold(file))));
        try {
            int result =
                    unlocked(() -> call(device, raw -> libc().ioctl(raw, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, reset)));
            check(result, KernelCall.VFIO_HOT_RESET, Set.of(), device::toString);
        } finally {
            group.ifPresent(Calls::release);
        }
    }

    /** Reads 1, 2, 4 or 8 bytes in one access, except that Linux before 6.11 reads 8 bytes in two. */
    long read(long offset, int width) {
        ByteBuffer value = scratch();
        try {
            value.putLong(0, 0).limit(width);
            moved(call(device, raw -> (int) libc().pread(raw, value, offset)), KernelCall.VFIO_READ, offset, width);
            value.clear();
            return value.getLong(0);
        } finally {
            value.clear();
            done(value);
        }
    }

    void write(long offset, int width, long value) {
        ByteBuffer from = scratch();
        try {
            from.putLong(0, value).limit(width);
            moved(call(device, raw -> (int) libc().pwrite(raw, from, offset)), KernelCall.VFIO_WRITE, offset, width);
        } finally {
            from.clear();
            done(from);
        }
    }

    private void moved(int result, KernelCall call, long offset, int width) {
        check(result, call, Set.of(), () -> device + " offset=0x" + Long.toHexString(offset) + " bytes=" + width);
        if (result != width) {
            throw new IllegalStateException(call.label() + " " + device + " offset=0x" + Long.toHexString(offset)
                    + " moved " + result + " of " + width + " bytes: expected one access");
        }
    }
}
