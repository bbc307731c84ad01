/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * KVM refused to read or write an MSR, without an errno. KVM processes the MSRs of a call in order, so all MSRs before
 * the refused one were read or written.
 */
public final class MsrRefusedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private final int number;

    MsrRefusedException(int number, String message) {
        super(message);
        this.number = number;
    }

    /** The refused MSR's number, unsigned. */
    public int number() {
        return number;
    }
}
