/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * KVM's KVM-VFIO device, which must be given a device's file before the device is opened. When the device opens, its
 * bus driver gets the VM from this file; a file added later has no effect on that device.
 */
public interface FileHolder {
    /**
     * Adds a file, through which no device is open yet.
     *
     * @return the hold; closing it removes the file from the KVM-VFIO device
     * @throws io.kvmirq.KernelException EEXIST if the file was added before; EINVAL for a file of another kind
     * @throws IllegalStateException while a device is open through the file
     */
    Hold hold(VfioFile file);

    /** The hold on one file. The hold leases the file, which stays open until the hold ends. */
    interface Hold extends AutoCloseable {
        /** Removes the file. Idempotent, thread-safe, never fails; called with no lock held. */
        @Override
        void close();
    }
}
