/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * The version, the configuration and the patches of the modelled kernel.
 *
 * @param arm64 true for an arm64 kernel, false for an x86-64 kernel
 * @param fullIrqchip whether KVM_CREATE_IRQCHIP is supported
 * @param cdev whether iommufd and VFIO device files are built in
 * @param irqfdHostWide whether KVM_IRQFD refuses an eventfd that has an irqfd of another VM (since 6.17)
 * @param historic whether the kernel has the unmerged patches of 2014 ({@code KVM_DEV_VFIO_DEVICE}) and of 2017 (INTx)
 * @param pvm true for a kernel with kvm_pvm, at most 1024 vCPUs, no SMM, no Hyper-V; false for a Debian kernel
 * @param hardware the interrupt hardware of the host
 */
public record Build(
        int major,
        int minor,
        boolean arm64,
        boolean fullIrqchip,
        boolean cdev,
        boolean irqfdHostWide,
        boolean historic,
        boolean pvm,
        Hardware hardware) {
    public boolean isSince(int sinceMajor, int sinceMinor) {
        return major > sinceMajor || major == sinceMajor && minor >= sinceMinor;
    }

    /** Whether vCPUs on x86 have System Management Mode: Debian's kernels have it, the kernel with kvm_pvm does not. */
    public boolean hasManagementMode() {
        return !pvm;
    }

    /** Whether KVM_CREATE_GUEST_MEMFD works for a VM of type 0, the default. */
    public boolean hasGuestMemfd() {
        return isSince(6, 18);
    }
}
