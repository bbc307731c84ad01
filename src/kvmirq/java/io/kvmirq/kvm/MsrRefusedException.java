/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * KVM did not read or write a model specific register. KVM handles MSRs in order: it read or wrote the MSRs before the
 * refused one, and returned their count and no errno.
 */
public final class MsrRefusedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private final int number;

    MsrRefusedException(int number, String message) {
        super(message);
        this.number = number;
    }

    /** The number of the refused MSR, unsigned. */
    public int number() {
        return number;
    }
}
