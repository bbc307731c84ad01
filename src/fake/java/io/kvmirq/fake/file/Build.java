/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * The modelled kernel: its version, configuration and patches.
 *
 * @param arm64 whether it is for arm64; else for x86-64
 * @param fullIrqchip whether KVM_CREATE_IRQCHIP is built in
 * @param cdev whether iommufd and the files of VFIO devices are built in
 * @param irqfdHostWide whether an eventfd that feeds a GSI of one VM is busy for all other VMs (since 6.17)
 * @param historic whether it has the patches of 2014 with {@code KVM_DEV_VFIO_DEVICE}, and that of 2017 for INTx; none
 *     was merged
 * @param pvm whether it runs guests by kvm_pvm, and was built without SMM and Hyper-V, for 1024 vCPUs; else as Debian
 *     builds it
 * @param hardware of the host
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

    /** Whether vCPUs on x86 have System Management Mode. Debian builds it in; the kvm_pvm has none. */
    public boolean hasManagementMode() {
        return !pvm;
    }

    /** Whether a VM of the default type can use memory of KVM_CREATE_GUEST_MEMFD. */
    public boolean hasGuestMemfd() {
        return isSince(6, 18);
    }
}
