/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

/**
 * The pending NMI, INIT and start-up (SIPI) events of a vCPU, until it processes them; source: {@code process_nmi()} in
 * x86.c, {@code kvm_apic_accept_events()} in lapic.c.
 */
final class VcpuEvents {
    private static final int MOST_NMIS = 2;

    private int nmisSent;
    private int nmisPending;
    private boolean inNmi;
    private boolean init;
    private boolean startup;
    /** Of the last start-up message. */
    private int startupVector;

    /** An SMI: nothing of it is modelled but that it was accepted. */
    private boolean management;
    /** Delivery mode 3, of paravirtual spinlocks: HLT would not wait. */
    private boolean released;

    void sendManagement() {
        management = true;
    }

    /** Whether a guest that runs would see more than its interrupts. */
    boolean isSpecial() {
        return management || released;
    }

    void setReleased(boolean on) {
        released = on;
    }

    boolean isReleased() {
        return released;
    }

    void sendNmi() {
        nmisSent++;
    }

    /** INIT discards a pending start-up. */
    void sendInit() {
        init = true;
        startup = false;
    }

    void sendStartup(int vector) {
        startupVector = vector;
        startup = true;
    }

    /** KVM_SET_MP_STATE sends one by the vector of the last message. */
    void sendStartup() {
        startup = true;
    }

    int startupVector() {
        return startupVector;
    }

    /** Starts an NMI. The vCPU keeps two NMIs that arrive at once, or one while it handles an NMI. */
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

    /** Every IRET unblocks NMIs, whatever it returns from. */
    void endOfNmi() {
        inNmi = false;
    }

    boolean isReset() {
        return init;
    }

    /** INIT discards pending NMIs. */
    boolean takeInit() {
        boolean taken = init;
        init = false;
        if (taken) {
            management = false;
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
