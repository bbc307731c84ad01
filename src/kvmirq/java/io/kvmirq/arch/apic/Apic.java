/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** The host vectors that Linux uses for posted interrupts on x86, 8 bits each. Source: {@code asm/irq_vectors.h}. */
public final class Apic {
    /**
     * Posted-interrupt notification. A CPU in guest mode that gets this vector moves requests from PIR to the virtual
     * IRR; outside guest mode Linux's handler of the vector does nothing.
     */
    public static final int NOTIFICATION = 0xf2;

    /** Posted-interrupt wake-up: its handler wakes each vCPU on the CPU's list whose descriptor has ON set. */
    public static final int WAKEUP = 0xf1;

    private Apic() {}
}
