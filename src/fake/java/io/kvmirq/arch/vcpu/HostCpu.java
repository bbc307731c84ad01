/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vcpu;

import io.kvmirq.arch.SharedWords;

/**
 * A CPU of a {@link HostCpus}, with its pending interrupts, whether interrupts are enabled, and the vCPU whose guest it
 * runs. Thread-safe.
 */
public final class HostCpu {
    /** The first of four words with a pending bit for each vector. */
    public static final int PENDING = 0;

    /** The word of the spinlock that models disabled interrupts on the CPU. */
    public static final int INTERRUPTS_OFF = PENDING + HostCpus.VECTORS / Long.SIZE;

    /** The word with the number, from 1, of the thread whose guest runs on the CPU; 0 if no guest runs. */
    public static final int GUEST = INTERRUPTS_OFF + 1;

    static final int WORDS = GUEST + 1;

    private final HostCpus host;
    private final int number;
    private final long id;
    private final SharedWords words;
    private final int base;

    HostCpu(HostCpus host, int number, long id, SharedWords words, int base) {
        this.host = host;
        this.number = number;
        this.id = id;
        this.words = words;
        this.base = base;
    }

    /** The number of the CPU, from 0. */
    public int number() {
        return number;
    }

    /** The CPU's id in interrupt hardware, on x86 the APIC id. */
    public long id() {
        return id;
    }

    /** Returns the index in the shared words of {@link #PENDING}, {@link #INTERRUPTS_OFF} or {@link #GUEST}. */
    public int at(int word) {
        return base + word;
    }

    /**
     * Sends an interrupt, which merges with a pending interrupt of the same vector. Ignores vectors without a handler.
     */
    public void interrupt(int vector) {
        if (host.handles(vector)) {
            words.or(pending(vector), 1L << vector);
        }
    }

    private int pending(int vector) {
        return at(PENDING + vector / Long.SIZE);
    }

    /** Whether an interrupt is pending. */
    public boolean isInterrupted() {
        int end = at(INTERRUPTS_OFF);
        for (int word = at(PENDING); word < end; word++) {
            if (words.get(word) != 0) {
                return true;
            }
        }
        return false;
    }

    /**
     * Waits until the CPU's interrupts are enabled, and takes the pending interrupt with the highest vector, if any.
     */
    public void takeInterrupt() {
        interruptsOff();
        host.take(this);
        interruptsOn();
    }

    /** @return whether the vector was pending */
    boolean take(int vector) {
        return (words.and(pending(vector), ~(1L << vector)) >>> vector & 1) != 0;
    }

    /** Disables the CPU's interrupts. Like a spinlock, this method waits while another caller has them disabled. */
    public void interruptsOff() {
        words.lock(at(INTERRUPTS_OFF));
    }

    /** Enables the CPU's interrupts again. */
    public void interruptsOn() {
        words.unlock(at(INTERRUPTS_OFF));
    }

    void runs(int thread) {
        words.set(at(GUEST), thread);
    }

    /** Records that this thread's guest has stopped running here. Interrupts are off. */
    void runsNoMore(int thread) {
        if (runsGuestOf(thread)) {
            words.set(at(GUEST), 0);
        }
    }

    boolean runsGuest() {
        return words.get(at(GUEST)) != 0;
    }

    boolean runsGuestOf(int thread) {
        return words.get(at(GUEST)) == thread;
    }
}
