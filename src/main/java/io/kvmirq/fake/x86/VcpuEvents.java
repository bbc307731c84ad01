/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

/**
 * What has been sent to a vCPU past its LAPIC's registers, until the vCPU looks; source: {@code process_nmi()} in x86.c,
 * {@code kvm_apic_accept_events()} in lapic.c.
 */
final class VcpuEvents {
    private static final int MOST_NMIS = 2;

    private int nmisSent;
    private int nmisPending;
    private boolean inNmi;
    private boolean init;
    private boolean startup;

    void sendNmi() {
        nmisSent++;
    }

    /** Forgets a start-up message before it. */
    void sendInit() {
        init = true;
        startup = false;
    }

    void sendStartup() {
        startup = true;
    }

    /** Of those sent while none was looked at, two are kept, one while one is handled. */
    boolean takeNmi() {
        nmisPending = Math.min(nmisPending + nmisSent, inNmi ? 1 : MOST_NMIS);
        nmisSent = 0;
        if (nmisPending == 0 || inNmi) {
            return false;
        }
        nmisPending--;
        inNmi = true;
        return true;
    }

    /** IRET, whatever it returns from, lets NMIs in again. */
    void endOfNmi() {
        inNmi = false;
    }

    boolean isReset() {
        return init;
    }

    /** An INIT makes NMIs forgotten. */
    boolean takeInit() {
        boolean taken = init;
        init = false;
        if (taken) {
            nmisSent = 0;
            nmisPending = 0;
        }
        return taken;
    }

    boolean takeStartup() {
        boolean taken = startup;
        startup = false;
        return taken;
    }
}
