/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/**
 * One processor of the host, as far as posting needs it: the interrupts on their way to it, whether it accepts them,
 * the guest it runs, and its list of sleeping vCPUs to wake, under the list's own lock.
 */
final class HostCpu {
    static final int PENDING = 0;
    static final int INTERRUPTS_OFF = 1;
    static final int GUEST = 2;
    static final int LIST_LOCK = 3;
    /** A bit for each vCPU from here. */
    static final int LIST = 4;

    private static final long NOTIFICATION = 1;
    private static final long WAKEUP = 2;

    private final SharedWords words;
    private final int base;

    HostCpu(SharedWords words, int base) {
        this.words = words;
        this.base = base;
    }

    static int words(int vcpus) {
        return LIST + (vcpus + Long.SIZE - 1) / Long.SIZE;
    }

    /** Index of one of the words named above. */
    int at(int word) {
        return base + word;
    }

    /**
     * An interrupt is on its way until it is taken; a second one until then is the same. Vectors that are not of posting
     * do nothing.
     */
    void interrupt(int vector) {
        if (vector == Apic.NOTIFICATION) {
            words.or(at(PENDING), NOTIFICATION);
        } else if (vector == Apic.WAKEUP) {
            words.or(at(PENDING), WAKEUP);
        }
    }

    boolean isInterrupted() {
        return words.get(at(PENDING)) != 0;
    }

    boolean takeNotification() {
        return (words.and(at(PENDING), ~NOTIFICATION) & NOTIFICATION) != 0;
    }

    boolean takeWakeup() {
        return (words.and(at(PENDING), ~WAKEUP) & WAKEUP) != 0;
    }

    /** Waits for whoever has them off; none is accepted until {@link #interruptsOn}. */
    void interruptsOff() {
        words.lock(at(INTERRUPTS_OFF));
    }

    void interruptsOn() {
        words.unlock(at(INTERRUPTS_OFF));
    }

    void runs(int vcpu) {
        words.set(at(GUEST), vcpu + 1L);
    }

    void runsNone() {
        words.set(at(GUEST), 0);
    }

    /** The vCPU whose guest it runs, -1 for none. */
    int guest() {
        return (int) words.get(at(GUEST)) - 1;
    }

    void lockList() {
        words.lock(at(LIST_LOCK));
    }

    void unlockList() {
        words.unlock(at(LIST_LOCK));
    }

    void enlist(int vcpu) {
        lockList();
        words.or(list(vcpu), 1L << vcpu);
        unlockList();
    }

    void delist(int vcpu) {
        lockList();
        words.and(list(vcpu), ~(1L << vcpu));
        unlockList();
    }

    boolean isListed(int vcpu) {
        return (words.get(list(vcpu)) & 1L << vcpu) != 0;
    }

    private int list(int vcpu) {
        return at(LIST + vcpu / Long.SIZE);
    }
}
