/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;

/**
 * The file through which a device is opened: its IOMMU group, or its own device file. It exists apart from the {@link
 * VfioDevice} because KVM must have it first, see {@link FileHolder}. Thread-safe.
 */
public abstract sealed class VfioFile implements AutoCloseable permits VfioGroup, VfioCdev {
    private final VfioCalls calls;
    private final Fd fd;
    private volatile boolean used;

    VfioFile(VfioCalls calls, Fd fd) {
        this.calls = calls;
        this.fd = fd;
    }

    /**
     * Opens the file of a device: its device file where the host has one, else its group.
     *
     * @throws KernelException as {@link VfioGroup#open(Kernel, DeviceName)} and {@link VfioCdev#open}
     */
    public static VfioFile open(Kernel kernel, DeviceName name) {
        if (new VfioCalls(kernel).device(name).deviceFile().isPresent()) {
            try {
                return VfioCdev.open(kernel, name);
            } catch (KernelException e) {
                // A host may show the file in sysfs and keep its node from a container, which has the group's.
                if (!e.errno().equals(Errno.ENOENT)) {
                    throw e;
                }
            }
        }
        return VfioGroup.open(kernel, name);
    }

    final VfioCalls calls() {
        return calls;
    }

    /** The descriptor, to be leased. */
    public final Fd fd() {
        return fd;
    }

    /** Whether a device was opened through this file: from then on it is too late to give the file to KVM. */
    public final boolean isUsed() {
        return used;
    }

    final void use() {
        used = true;
    }

    /**
     * New DMA addresses of the kind that goes with this file: a container for a group, an address space of an iommufd for
     * a device file.
     *
     * @throws KernelException as {@link VfioContainer#create} and {@link Ioas#create}
     */
    public abstract DmaSpace createSpace();

    /** Opens the device in a space that {@link #createSpace} gave. */
    abstract VfioDevice openIn(DmaSpace space, DeviceName name);

    /** Idempotent, never fails. */
    @Override
    public abstract void close();

    @Override
    public final String toString() {
        return fd.toString();
    }
}
