/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.undo.Undo;

/**
 * The file through which a device is opened, either its IOMMU group or its own device file. The file is separate from
 * {@link VfioDevice} because KVM must get it before the device is opened. See {@link FileHolder}. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="cdev"}
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
     * Opens a device's own file if the host has one and this user has access to it and to {@code /dev/iommu}, otherwise
     * the device's IOMMU group.
     *
     * @throws KernelException as {@link VfioGroup#open(Kernel,DeviceName)} and {@link VfioCdev#open}. If neither can be
     *     opened, the exception is the group's, with the device file's exception suppressed
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

    /** The file's descriptor. Keep it open by {@link Fd#lease} while you use its number. */
    public final Fd fd() {
        return fd;
    }

    /**
     * Whether a device is open through this file. If so, adding the file to KVM-VFIO has no effect on that device.
     * {@link #openDevice} takes this object's monitor, so the result stays valid while the caller holds it.
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
     * Creates a DMA space for this file's devices: a container for a group, or an IOAS for a device file.
     *
     * @throws KernelException as {@link VfioContainer#create} or {@link Ioas#create}
     */
    public abstract DmaSpace createSpace();

    /**
     * Opens a device through this file. Several devices in a group can share a space.
     *
     * @param space a DMA space of the type that {@link #createSpace} returns
     * @param name the device's name
     * @throws KernelException as {@link VfioGroup#openDevice(DeviceName,VfioContainer)} or {@link
     *     VfioCdev#openDevice(Ioas)}
     * @throws IllegalArgumentException if {@code space} has another type, or the device file belongs to another device
     */
    public abstract VfioDevice openDevice(DmaSpace space, DeviceName name);

    /** Closes the file. Idempotent, never fails. */
    @Override
    public abstract void close();

    @Override
    public final String toString() {
        return fd.toString();
    }
}
