/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.gic.InterruptId;

/**
 * The state of the interrupts of a {@link Distributor}, in banks of 32: one bank of private interrupts for each vCPU,
 * then those of the SPIs. The caller holds the distributor's lock.
 */
final class Banks {
    private static final long ALL = 0xffff_ffffL;
    private static final long SGIS = (1 << InterruptId.FIRST_PPI) - 1;

    // Words of a bank after those of InterruptState
    /** Level-triggered interrupts that are in a list register and not ended yet. */
    private static final int QUEUED = 6;

    private static final int PRIORITY = 7;
    private static final int PRIORITIES_PER_WORD = Long.BYTES;
    /** The target vCPU of SPIs. */
    private static final int TARGET = PRIORITY + Distributor.WORD / PRIORITIES_PER_WORD;

    private static final int TARGETS_PER_WORD = Long.SIZE / Short.SIZE;
    /** For SPIs: 1 + the vCPU whose list register holds the interrupt; 0 for none. */
    private static final int HOLDER = TARGET + Distributor.WORD / TARGETS_PER_WORD;
    /** For private interrupts: a byte for each SGI, with a bit for each source. */
    private static final int SOURCES = TARGET;

    private static final int BANK = HOLDER + Distributor.WORD / TARGETS_PER_WORD;

    private final SharedWords words;
    private final int base;
    private final int vcpus;
    private final int shared;

    Banks(SharedWords words, int base, int vcpus, int shared, boolean isGicv3) {
        this.words = words;
        this.base = base;
        this.vcpus = vcpus;
        this.shared = shared;
        for (int bank = 0; bank < banks(vcpus, shared); bank++) {
            int at = base + bank * BANK;
            words.set(at + InterruptState.GROUP1.word(), isGicv3 ? ALL : 0);
            words.set(at + InterruptState.ENABLED.word(), bank < vcpus ? SGIS : 0);
            words.set(at + InterruptState.LEVEL.word(), bank < vcpus ? ALL & ~SGIS : 0);
        }
    }

    static int words(int vcpus, int shared) {
        return banks(vcpus, shared) * BANK;
    }

    private static int banks(int vcpus, int shared) {
        return vcpus + (shared + Distributor.WORD - 1) / Distributor.WORD;
    }

    int interrupts() {
        return InterruptId.FIRST_SPI + shared;
    }

    /** @throws IllegalArgumentException if there is no such vCPU or interrupt */
    void check(int vcpu, int id) {
        if (id < 0 || id >= interrupts()) {
            throw new IllegalArgumentException("interrupt " + id + " does not exist: expected 0-" + (interrupts() - 1));
        }
        if (InterruptId.isPrivate(id)) {
            checkVcpu(vcpu);
        }
    }

    void checkVcpu(int vcpu) {
        if (vcpu < 0 || vcpu >= vcpus) {
            throw new IllegalArgumentException("vCPU " + vcpu + " does not exist: expected 0-" + (vcpus - 1));
        }
    }

    private int bank(int vcpu, int id) {
        return base + (InterruptId.isPrivate(id) ? vcpu : vcpus + id / Distributor.WORD - 1) * BANK;
    }

    /** The bits of the 32 interrupts that include {@code id}. */
    long word(InterruptState what, int vcpu, int id) {
        return words.get(bank(vcpu, id) + what.word());
    }

    boolean is(InterruptState what, int vcpu, int id) {
        return (word(what, vcpu, id) >>> id % Distributor.WORD & 1) != 0;
    }

    void put(InterruptState what, int vcpu, int id, boolean to) {
        putBit(bank(vcpu, id) + what.word(), id, to);
    }

    void putQueued(int vcpu, int id, boolean to) {
        putBit(bank(vcpu, id) + QUEUED, id, to);
    }

    private void putBit(int word, int id, boolean to) {
        long bit = 1L << id % Distributor.WORD;
        words.set(word, to ? words.get(word) | bit : words.get(word) & ~bit);
    }

    /** The pending ones of 32 interrupts. Only level-triggered interrupts are pending by their line. */
    long pending(int vcpu, int id) {
        int bank = bank(vcpu, id);
        return words.get(bank + InterruptState.LATCH.word())
                | words.get(bank + InterruptState.LINE.word()) & words.get(bank + InterruptState.LEVEL.word());
    }

    /** The interrupts to be queued, a bit for each of 32: pending, enabled, and not level-triggered in a list register. */
    long wanting(int vcpu, int id) {
        int bank = bank(vcpu, id);
        return pending(vcpu, id) & words.get(bank + InterruptState.ENABLED.word()) & ~words.get(bank + QUEUED);
    }

    int priority(int vcpu, int id) {
        return field(bank(vcpu, id) + PRIORITY, id, Byte.SIZE);
    }

    void setPriority(int vcpu, int id, int priority) {
        setField(bank(vcpu, id) + PRIORITY, id, Byte.SIZE, priority);
    }

    /** The vCPU that gets an interrupt. An SPI stays with a vCPU whose list register holds it. */
    int target(int vcpu, int id) {
        int holder = InterruptId.isPrivate(id) ? vcpu : holder(id);
        return holder >= 0 ? holder : route(id);
    }

    int route(int id) {
        return field(bank(0, id) + TARGET, id, Short.SIZE);
    }

    /** The vCPU with a list register that holds an SPI, or -1. */
    int holder(int id) {
        return field(bank(0, id) + HOLDER, id, Short.SIZE) - 1;
    }

    /** Sets the holder of an SPI. Does nothing for a private interrupt. */
    void setHolder(int id, int vcpu) {
        if (!InterruptId.isPrivate(id)) {
            setField(bank(0, id) + HOLDER, id, Short.SIZE, vcpu + 1);
        }
    }

    void setTarget(int id, int vcpu) {
        setField(bank(vcpu, id) + TARGET, id, Short.SIZE, vcpu);
    }

    int sources(int vcpu, int sgi) {
        return field(bank(vcpu, sgi) + SOURCES, sgi, Byte.SIZE);
    }

    /** Sets the sources of an SGI, which is latched while it has one. */
    void setSources(int vcpu, int sgi, int sources) {
        setField(bank(vcpu, sgi) + SOURCES, sgi, Byte.SIZE, sources);
        put(InterruptState.LATCH, vcpu, sgi, sources != 0);
    }

    private int field(int first, int id, int width) {
        int perWord = Long.SIZE / width;
        long word = words.get(first + id % Distributor.WORD / perWord);
        return (int) (word >>> id % perWord * width & (1 << width) - 1);
    }

    private void setField(int first, int id, int width, long value) {
        int perWord = Long.SIZE / width;
        int at = first + id % Distributor.WORD / perWord;
        int shift = id % perWord * width;
        words.set(at, words.get(at) & ~((1L << width) - 1 << shift) | value << shift);
    }
}
