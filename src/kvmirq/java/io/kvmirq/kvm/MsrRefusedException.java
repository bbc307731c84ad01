/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * KVM did not read or write a model specific register. It takes them one by one: those before it are done. The kernel says
 * this with a smaller count, which looks like success.
 */
public final class MsrRefusedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private final int number;

    MsrRefusedException(int number, String message) {
        super(message);
        this.number = number;
    }

    /** The number of the register, unsigned. */
    public int number() {
        return number;
    }
}
