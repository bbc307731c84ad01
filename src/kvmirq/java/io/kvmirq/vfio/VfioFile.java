/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.undo.Undo;

/**
 * The file through which a device is opened: its IOMMU group, or its own device file. It exists apart from the {@link
 * VfioDevice} because KVM must have it first, see {@link FileHolder}. Thread-safe.
 */
public abstract sealed class VfioFile implements AutoCloseable permits VfioGroup, VfioCdev {
    private final VfioCalls calls;
    private final Fd fd;
    private int devices;

    VfioFile(VfioCalls calls, Fd fd) {
        this.calls = calls;
        this.fd = fd;
    }

    /**
     * Opens the file of a device: its device file where the host has one, else its group. A host may show the device
     * file in sysfs and keep its node or {@code /dev/iommu} from this user: that is the group, too.
     *
     * @throws KernelException as {@link VfioGroup#open(Kernel, DeviceName)} and {@link VfioCdev#open}. If both were
     *     tried, it is of the group, and the one of the device file is suppressed
     */
    public static VfioFile open(Kernel kernel, DeviceName name) {
        VfioCalls calls = new VfioCalls(kernel);
        HostDevice device = calls.device(name);
        if (device.deviceFile().isEmpty()) {
            return VfioGroup.open(calls, device);
        }
        try (Undo undo = new Undo()) {
            VfioCdev file = undo.add(VfioCdev.open(calls, device));
            Ioas.requireNode(calls);
            undo.keep();
            return file;
        } catch (KernelException e) {
            if (!e.errno().equals(Errno.ENOENT) && !e.errno().equals(Errno.EACCES)) {
                throw e;
            }
            return groupInstead(calls, device, e);
        }
    }

    private static VfioGroup groupInstead(VfioCalls calls, HostDevice device, KernelException first) {
        try {
            return VfioGroup.open(calls, device);
        } catch (KernelException e) {
            e.addSuppressed(first);
            throw e;
        }
    }

    final VfioCalls calls() {
        return calls;
    }

    /** The descriptor, to be leased. */
    public final Fd fd() {
        return fd;
    }

    /**
     * Whether a device is open through this file: then it is too late to give the file to KVM. The monitor of this
     * object is held while a device opens, so the answer stays true for a caller that holds it.
     */
    public final synchronized boolean isUsed() {
        return devices > 0;
    }

    final synchronized void use() {
        devices++;
    }

    final synchronized void unuse() {
        devices--;
    }

    /**
     * New DMA addresses of the kind that goes with this file: a container for a group, an address space of an iommufd
     * for a device file.
     *
     * @throws KernelException as {@link VfioContainer#create} and {@link Ioas#create}
     */
    public abstract DmaSpace createSpace();

    /**
     * Opens a device of this file. Several devices of a group may be opened, in one space.
     *
     * @param space as {@link #createSpace} gives it
     * @param name of the device; a device file has one only
     * @throws KernelException as {@link VfioGroup#openDevice(DeviceName, VfioContainer)} and {@link
     *     VfioCdev#openDevice(Ioas)}
     * @throws IllegalArgumentException for a space of the other kind, or another device than that of the device file
     */
    public abstract VfioDevice openDevice(DmaSpace space, DeviceName name);

    /** Idempotent, never fails. */
    @Override
    public abstract void close();

    @Override
    public final String toString() {
        return fd.toString();
    }
}
