/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * KVM, through its KVM-VFIO device: it must be given the file of a device before the device is opened. The bus driver
 * takes the VM from there when the device opens; a file added later has no effect on that device.
 */
public interface FileHolder {
    /**
     * Takes hold of a file through which no device is open.
     *
     * @return its closing lets go of the file
     * @throws io.kvmirq.KernelException EEXIST if it holds the file already; EINVAL for a file it cannot hold
     * @throws IllegalStateException while a device is open through the file
     */
    Hold hold(VfioFile file);

    /** The hold on one file. It leases the file, which stays open until the hold ends. */
    interface Hold extends AutoCloseable {
        /** Lets go. Idempotent, thread-safe, never fails; called with no lock held. */
        @Override
        void close();
    }
}
