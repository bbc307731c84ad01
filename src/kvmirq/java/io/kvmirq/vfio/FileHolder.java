/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * KVM's KVM-VFIO device. Add a host device's file to KVM-VFIO before you open the device: the bus driver takes the VM
 * from the file during the open. A file that is added after the open has no effect on the device.
 */
public interface FileHolder {
    /**
     * Adds a file to the KVM-VFIO device. Call this method before a device is opened through the file.
     *
     * @return the added file; closing this object removes the file from the KVM-VFIO device
     * @throws io.kvmirq.KernelException EEXIST if the file was added before; EINVAL if the file is no VFIO file
     * @throws IllegalStateException while a device is open through the file
     */
    Hold hold(VfioFile file);

    /** A file in the KVM-VFIO device. The file stays open until this object is closed. */
    interface Hold extends AutoCloseable {
        /** Removes the file from KVM-VFIO. Idempotent, thread-safe, never fails. The caller holds no lock. */
        @Override
        void close();
    }
}
