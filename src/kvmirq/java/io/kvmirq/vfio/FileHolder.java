/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * A KVM-VFIO device. Add a host device's file to it before you open the device, because the bus driver gets the VM from
 * the file only during the open. A file added later has no effect on the device.
 */
public interface FileHolder {
    /**
     * Adds a file to KVM-VFIO. Call it before a device is opened through the file.
     *
     * @return the added file, whose {@code close} removes it from KVM-VFIO
     * @throws io.kvmirq.KernelException EEXIST if the file was added before, EINVAL if it is not a VFIO file
     * @throws IllegalStateException while a device is open through the file
     */
    Hold hold(VfioFile file);

    /** A file in KVM-VFIO. It stays open until this object is closed. */
    interface Hold extends AutoCloseable {
        /** Removes the file from KVM-VFIO. Idempotent, thread-safe, never fails. The caller holds no lock. */
        @Override
        void close();
    }
}
