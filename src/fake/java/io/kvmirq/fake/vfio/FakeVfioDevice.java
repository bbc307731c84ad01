/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.VfioLines;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A device bound to a bus driver of VFIO. All open files of the device share its state. The caller of each method holds
 * the kernel's lock. Source: drivers/vfio/vfio_main.c.
 */
public abstract class FakeVfioDevice implements VfioLines {
    /** The end of num_irqs: the least argsz of VFIO_DEVICE_GET_INFO. */
    private static final int INFO_LEAST = 16;

    protected final KernelOfFile host;
    private final String name;
    private final VfioGroup group;
    private final int index;
    private @Nullable BoundDevice bound;
    private int files;
    /** The number of open files, bound or not, and of forwarded interrupts. */
    private int held;

    private boolean removing;
    private boolean locked;

    /** @param index the number in the name of the device's own file */
    FakeVfioDevice(KernelOfFile host, String name, VfioGroup group, int index) {
        this.host = host;
        this.name = name;
        this.group = group;
        this.index = index;
    }

    /** The name in sysfs, and for VFIO_GROUP_GET_DEVICE_FD. */
    final String name() {
        return name;
    }

    final VfioGroup group() {
        return group;
    }

    /** The number N of /dev/vfio/devices/vfioN. */
    final int index() {
        return index;
    }

    /** The device's object in its iommufd; null while it is not bound to one. */
    final @Nullable BoundDevice bound() {
        return bound;
    }

    /** Takes a reference to the device: an open file has one, and an interrupt that KVM-VFIO forwards. */
    @Override
    public final void hold() {
        held++;
    }

    /** Drops a reference to the device. When no reference is left, the host may remove the device. */
    @Override
    public final void unhold() {
        held--;
        remove(removing);
    }

    public abstract boolean askBack();

    public final boolean remove() {
        if (!removing) {
            host.note(VfioAnswer.VFIO_REMOVE_WAITS);
        }
        removing = true;
        askBack();
        return remove(true);
    }

    private boolean remove(boolean wanted) {
        boolean gone = wanted && held == 0;
        if (gone && group.devices().contains(this)) {
            group.remove(this);
            removed();
        }
        return gone;
    }

    void removed() {}

    /** Takes or releases the device's lock, in place of another host thread. */
    public final void setLocked(boolean on) {
        locked = on;
    }

    /** Whether device_trylock() fails. The host's removal holds the lock until it ends. */
    final boolean isLocked() {
        return locked || removing;
    }

    abstract String bus();

    /** Binds the device to an iommufd. Returns 0 or a negative errno. */
    final int bind(IommuFile iommufd) {
        Optional<Answer> refused = iommufd.refuses(this);
        if (refused.isPresent()) {
            return host.refuse(refused);
        }
        bound = iommufd.bind(this);
        return 0;
    }

    private void unbind() {
        if (bound != null) {
            bound.iommufd().unbind(bound);
            bound = null;
        }
    }

    final boolean isOpen() {
        return files > 0;
    }

    final void open() {
        files++;
        if (files == 1) {
            enable();
        }
    }

    final void close() {
        files--;
        if (files == 0) {
            disable();
            unbind();
        }
    }

    /** The first file of the device was opened. */
    abstract void enable();

    /** The last file of the device was released. */
    abstract void disable();

    /** Handles a request of the bus driver. */
    abstract int ioctl(DeviceFile file, long request, long argument);

    /** The region behind an mmap offset; empty if it cannot be mapped. */
    Optional<ByteBuffer> memory(long offset, int length) {
        return Optional.empty();
    }

    /** Whether read(2) and write(2) advance the file position. */
    boolean movesPosition() {
        return false;
    }

    /** Reads one of the device's regions. Returns the number of bytes or a negative errno. */
    abstract long read(long to, long length, long offset);

    /** Writes one of the device's regions. Returns the number of bytes or a negative errno. */
    abstract long write(long from, long length, long offset);

    /** Handles VFIO_DEVICE_GET_INFO; {@code size} is the most that this bus driver writes. */
    final int info(long address, int size, int flags, int regions, int irqs) {
        return host.copied(address, INFO_LEAST, given -> {
            long argsz = Integer.toUnsignedLong(given.getInt(VfioDeviceInfo.ARGSZ));
            if (argsz < INFO_LEAST) {
                return host.refuse(VfioAnswer.VFIO_INFO_ARGUMENTS);
            }
            ByteBuffer info = ByteBuffer.allocate(VfioDeviceInfo.SIZE)
                    .order(given.order())
                    .put(0, given, 0, INFO_LEAST)
                    .putInt(VfioDeviceInfo.FLAGS, flags | (resets() ? UapiVfio.VFIO_DEVICE_FLAGS_RESET : 0))
                    .putInt(VfioDeviceInfo.NUM_REGIONS, regions)
                    .putInt(VfioDeviceInfo.NUM_IRQS, irqs);
            return host.copyOut(address, info, (int) Math.min(argsz, size));
        });
    }

    abstract boolean resets();
}
