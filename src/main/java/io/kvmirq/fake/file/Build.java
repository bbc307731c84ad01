/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * Which kernel is modelled: its version, and how it was built or patched.
 *
 * @param fullIrqchip whether KVM_CREATE_IRQCHIP is built in
 * @param irqfdHostWide whether an eventfd that feeds a GSI of one VM is busy for every other (since 6.17)
 */
public record Build(int major, int minor, boolean fullIrqchip, boolean irqfdHostWide) {
    private static final int NEWEST_OF_6 = 18;

    /** Whether it has what came with that version. */
    public boolean isSince(int sinceMajor, int sinceMinor) {
        return major > sinceMajor || major == sinceMajor && minor >= sinceMinor;
    }

    /** Whether it is built as Debian builds it, as all are except the 6.18 that is measured. */
    public boolean isDebian() {
        return major != 6 || minor != NEWEST_OF_6;
    }

    /** Whether a VM of the default type may have memory of KVM_CREATE_GUEST_MEMFD. */
    public boolean hasGuestMemfd() {
        return isSince(6, NEWEST_OF_6);
    }
}
