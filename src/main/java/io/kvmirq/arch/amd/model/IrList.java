/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.arch.SharedWords;

/** The irqfds that are posted to one vCPU, by number, under a spinlock: {@code ir_list} and {@code ir_list_lock}. */
class IrList {
    static final int LOCK = 0;
    /** A bit for each irqfd of the VM from here. */
    static final int BITS = 1;

    final SharedWords words;
    private final int base;
    private final int irqfds;

    IrList(SharedWords words, int base, int irqfds) {
        this.words = words;
        this.base = base;
        this.irqfds = irqfds;
    }

    static int words(int irqfds) {
        return BITS + (irqfds + Long.SIZE - 1) / Long.SIZE;
    }

    int at(int word) {
        return base + word;
    }

    void lock() {
        words.lock(at(LOCK));
    }

    void unlock() {
        words.unlock(at(LOCK));
    }

    /** The lock is held. */
    void add(int irqfd) {
        words.or(word(irqfd), 1L << irqfd);
    }

    /** The lock is held. */
    void remove(int irqfd) {
        words.and(word(irqfd), ~(1L << irqfd));
    }

    boolean has(int irqfd) {
        return (words.get(word(irqfd)) & 1L << irqfd) != 0;
    }

    /** @return the first irqfd on the list from {@code irqfd} on, or -1. The lock is held */
    int next(int irqfd) {
        for (int i = irqfd; i < irqfds; i++) {
            if (has(i)) {
                return i;
            }
        }
        return -1;
    }

    private int word(int irqfd) {
        return at(BITS + irqfd / Long.SIZE);
    }
}
