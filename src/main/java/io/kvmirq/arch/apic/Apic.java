/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** Vectors that Linux gives to posting on x86, 8 bits each. Source: {@code asm/irq_vectors.h}. */
public final class Apic {
    /** Posted-interrupt notification: in guest mode the processor takes the requests, else nothing happens. */
    public static final int NOTIFICATION = 0xf2;

    /** Posted-interrupt wake-up: its handler wakes those on the processor's list whose ON is set. */
    public static final int WAKEUP = 0xf1;

    private Apic() {}
}
