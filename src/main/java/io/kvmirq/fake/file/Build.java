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
        Hardware hardware) {
    private static final int NEWEST_OF_6 = 18;

    public boolean isSince(int sinceMajor, int sinceMinor) {
        return major > sinceMajor || major == sinceMajor && minor >= sinceMinor;
    }

    /** Whether the kernel has Debian's configuration: every version except the measured 6.18. */
    public boolean isDebian() {
        return major != 6 || minor != NEWEST_OF_6;
    }

    /** Whether a VM of the default type can use memory of KVM_CREATE_GUEST_MEMFD. */
    public boolean hasGuestMemfd() {
        return isSince(6, NEWEST_OF_6);
    }
}
