/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** The 8-bit host vectors that Linux uses for posted interrupts on x86. Source: {@code asm/irq_vectors.h}. */
public final class Apic {
    /**
     * The posted-interrupt notification vector. A CPU that receives it in guest mode moves the requested vectors from
     * PIR to the virtual IRR. Outside guest mode, Linux's handler does nothing.
     */
    public static final int NOTIFICATION = 0xf2;

    /** The wake-up vector. Linux's handler wakes each vCPU on the CPU's wake-up list whose descriptor has ON set. */
    public static final int WAKEUP = 0xf1;

    private Apic() {}
}
