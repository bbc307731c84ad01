/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** Host vectors that Linux uses for posted interrupts on x86, 8 bits each. Source: {@code asm/irq_vectors.h}. */
public final class Apic {
    /**
     * Posted-interrupt notification vector. A CPU in guest mode that gets it moves the requested vectors from PIR to
     * the virtual IRR; outside guest mode Linux's handler does nothing.
     */
    public static final int NOTIFICATION = 0xf2;

    /** Wake-up vector: Linux's handler wakes each vCPU on the CPU's wake-up list whose descriptor has ON set. */
    public static final int WAKEUP = 0xf1;

    private Apic() {}
}
