/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.gic.InterruptId;
import java.util.function.IntConsumer;

/**
 * The distributor of a VM's VGIC: the state of every interrupt, under one lock. Each vCPU has its own SGIs and PPIs,
 * with ids 0–31. All vCPUs share the SPIs, with ids from 32 on: for an SPI, a method ignores its argument {@code vcpu}.
 * A method's argument {@code first} is a multiple of 32. A method throws IllegalArgumentException if the vCPU or the
 * interrupt does not exist, if the method does not handle this kind of interrupt, or if another number is out of range.
 *
 * <p>If an interrupt becomes deliverable to a vCPU, the distributor sets the flag of {@link #isFlagged}, releases its
 * lock and calls {@code kick} for this vCPU. The distributor is always enabled.
 *
 * <p>Thread-safe: the methods take a spinlock. No method allocates. Source: {@code virt/kvm/arm/vgic.c} of 2013,
 * arch/arm64/kvm/vgic of Linux 7.1.
 */
public class Distributor {
    public static final int WORD = 32;

    private static final int MOST_SHARED = InterruptId.FIRST_SPECIAL - InterruptId.FIRST_SPI;
    private static final int NONE = -1;
    private static final int SGIS = (1 << InterruptId.FIRST_PPI) - 1;

    static final int LOCK = 0;
    /** A word for each vCPU, set if an interrupt may be deliverable to it ({@code irq_pending_on_cpu}). */
    static final int FLAGS = 1;

    private final SharedWords words;
    private final int base;
    private final int vcpus;
    private final boolean hasSources;
    private final IntConsumer kick;
    private final Banks banks;

    /** The caller has checked the size. */
    Distributor(SharedWords words, int base, int vcpus, int shared, boolean hasSources, IntConsumer kick) {
        this.words = words;
        this.base = base;
        this.vcpus = vcpus;
        this.hasSources = hasSources;
        this.kick = kick;
        this.banks = new Banks(words, base + FLAGS + vcpus, vcpus, shared, !hasSources);
    }

    static void checkSize(int vcpus, int shared, boolean hasSources) {
        int max = hasSources ? VcpuId.MOST_OF_GICV2 : VcpuId.MOST_OF_GICV3;
        if (vcpus < 1 || vcpus > max) {
            throw new IllegalArgumentException(vcpus + " vCPUs are out of range for a "
                    + (hasSources ? "GICv2" : "GICv3") + ": expected 1-" + max);
        }
        if (shared < 0 || shared > MOST_SHARED) {
            throw new IllegalArgumentException(shared + " SPIs: expected 0-" + MOST_SHARED + ", ids 32-1019");
        }
    }

    /**
     * Creates a GICv2 for 1–8 vCPUs and 0–988 SPIs. SGIs with one id from two vCPUs are two interrupts. {@code kick}
     * gets the index of a vCPU to which an interrupt became deliverable.
     */
    public static Distributor gicv2(int vcpus, int shared, IntConsumer kick) {
        checkSize(vcpus, shared, true);
        return new Distributor(SharedWords.of(new long[words(vcpus, shared)]), 0, vcpus, shared, true, kick);
    }

    /** Creates a GICv3 for 1–512 vCPUs and 0–988 SPIs. The SGIs of a GICv3 have no source vCPU. */
    public static Distributor gicv3(int vcpus, int shared, IntConsumer kick) {
        checkSize(vcpus, shared, false);
        return new Distributor(SharedWords.of(new long[words(vcpus, shared)]), 0, vcpus, shared, false, kick);
    }

    static int words(int vcpus, int shared) {
        return FLAGS + vcpus + Banks.words(vcpus, shared);
    }

    int at(int word) {
        return base + word;
    }

    public int vcpus() {
        return vcpus;
    }

    /** Returns the number of interrupts that a vCPU can get: their ids are 0 to this number − 1. */
    public int interrupts() {
        return banks.interrupts();
    }

    public boolean hasSources() {
        return hasSources;
    }

    /** Reads one {@link InterruptState} of 32 interrupts: bit n is the state of interrupt {@code first} + n. */
    public int word(InterruptState what, int vcpu, int first) {
        checkFirst(vcpu, first);
        lock();
        int word = (int) banks.word(what, vcpu, first);
        unlock();
        return word;
    }

    public boolean is(InterruptState what, int vcpu, int id) {
        banks.check(vcpu, id);
        lock();
        boolean is = banks.is(what, vcpu, id);
        unlock();
        return is;
    }

    /** Reads which of 32 interrupts are pending: latched, or level-triggered while the line is high. */
    public int pending(int vcpu, int first) {
        checkFirst(vcpu, first);
        lock();
        int word = (int) banks.pending(vcpu, first);
        unlock();
        return word;
    }

    /**
     * Sets a state of up to 32 interrupts, one at a time. The method ignores bits of missing interrupts, LEVEL of SGIs,
     * and LATCH of a GICv2's SGIs (for these call {@link #send}). Throws for ACTIVE.
     */
    public void set(InterruptState what, int vcpu, int first, int bits) {
        change(what, vcpu, first, bits, true);
    }

    /** Clears a state of up to 32 interrupts, one at a time. Ignores the same bits as {@link #set}. */
    public void clear(InterruptState what, int vcpu, int first, int bits) {
        change(what, vcpu, first, bits, false);
    }

    private void change(InterruptState what, int vcpu, int first, int bits, boolean to) {
        checkFirst(vcpu, first);
        if (what == InterruptState.ACTIVE) {
            throw new IllegalArgumentException(
                    "ACTIVE cannot be written: it follows from the list registers at each exit");
        }
        boolean keepsSgis = InterruptId.isPrivate(first)
                && (what == InterruptState.LEVEL || what == InterruptState.LATCH && hasSources);
        for (int rest = keepsSgis ? bits & ~SGIS : bits; rest != 0; rest &= rest - 1) {
            int id = first + Integer.numberOfTrailingZeros(rest);
            if (id < interrupts()) {
                lock();
                banks.put(what, vcpu, id, to);
                int wanting = offer(vcpu, id);
                unlock();
                kick(wanting);
            }
        }
    }

    /** Sets the priority of an interrupt, 0–255; lower values are served first. */
    public void setPriority(int vcpu, int id, int priority) {
        banks.check(vcpu, id);
        if (priority < 0 || priority > 0xff) {
            throw new IllegalArgumentException("priority " + priority + " is out of range: expected 0-255");
        }
        lock();
        banks.setPriority(vcpu, id, priority);
        unlock();
    }

    public int priority(int vcpu, int id) {
        banks.check(vcpu, id);
        lock();
        int priority = banks.priority(vcpu, id);
        unlock();
        return priority;
    }

    /**
     * Routes an SPI to a vCPU. Before the first call, the SPI goes to vCPU 0. An SPI in a list register stays with that
     * register's vCPU ({@code vgic_target_oracle()}).
     */
    public void setTarget(int id, int vcpu) {
        checkShared(id);
        banks.checkVcpu(vcpu);
        lock();
        banks.setTarget(id, vcpu);
        int wanting = offer(vcpu, id);
        unlock();
        kick(wanting);
    }

    public int target(int id) {
        checkShared(id);
        lock();
        int target = banks.route(id);
        unlock();
        return target;
    }

    private void checkShared(int id) {
        banks.check(0, id);
        if (InterruptId.isPrivate(id)) {
            throw new IllegalArgumentException(
                    InterruptId.text(id) + " has no target: expected an SPI, 32-" + (interrupts() - 1));
        }
    }

    private void checkFirst(int vcpu, int first) {
        banks.check(vcpu, first);
        if (first % WORD != 0) {
            throw new IllegalArgumentException("first interrupt " + first + ": expected a multiple of 32");
        }
    }

    /** Raises the line of a PPI or SPI. A call latches an edge interrupt; a level interrupt is pending while high. */
    public void raise(int vcpu, int id) {
        checkLine(vcpu, id);
        lock();
        banks.put(isLevel(vcpu, id) ? InterruptState.LINE : InterruptState.LATCH, vcpu, id, true);
        int wanting = offer(vcpu, id);
        unlock();
        kick(wanting);
    }

    /** Lowers the line of a PPI or SPI. For an edge-triggered interrupt this has no effect. */
    public void lower(int vcpu, int id) {
        checkLine(vcpu, id);
        lock();
        if (isLevel(vcpu, id)) {
            banks.put(InterruptState.LINE, vcpu, id, false);
        }
        unlock();
    }

    private void checkLine(int vcpu, int id) {
        banks.check(vcpu, id);
        if (InterruptId.isSgi(id)) {
            throw new IllegalArgumentException(InterruptId.text(id) + " has no line: a vCPU sends it");
        }
    }

    /** Sends an SGI of vCPU {@code from}; a pending SGI with this source merges with it. A GICv3 stores no source. */
    public void send(int from, int to, int sgi) {
        banks.checkVcpu(from);
        checkSgi(to, sgi);
        lock();
        if (hasSources) {
            banks.setSources(to, sgi, banks.sources(to, sgi) | 1 << from);
        } else {
            banks.put(InterruptState.LATCH, to, sgi, true);
        }
        int wanting = offer(to, sgi);
        unlock();
        kick(wanting);
    }

    /** Returns a bit for each source vCPU of an SGI that is not in a list register yet. A GICv3 has no sources. */
    public int sources(int vcpu, int sgi) {
        checkSgi(vcpu, sgi);
        lock();
        int sources = banks.sources(vcpu, sgi);
        unlock();
        return sources;
    }

    /** Restores the source vCPUs of a GICv2's SGI, one bit for each. The SGI is pending while it has a source. */
    public void setSources(int vcpu, int sgi, int sources) {
        checkSgi(vcpu, sgi);
        lock();
        banks.setSources(vcpu, sgi, sources);
        int wanting = offer(vcpu, sgi);
        unlock();
        kick(wanting);
    }

    private void checkSgi(int vcpu, int sgi) {
        if (!InterruptId.isSgi(sgi)) {
            throw new IllegalArgumentException("id " + sgi + " is not an SGI: expected 0-15");
        }
        banks.checkVcpu(vcpu);
    }

    // Delivery. The lock is held where nothing else is said.

    Banks banks() {
        return banks;
    }

    /** The lock is not held. */
    void lock() {
        words.lock(at(LOCK));
    }

    void unlock() {
        words.unlock(at(LOCK));
    }

    boolean isLevel(int vcpu, int id) {
        return banks.is(InterruptState.LEVEL, vcpu, id);
    }

    /** Notes that a list register holds a source of an SGI, which is pending until its last source is queued. */
    void queuedSource(int vcpu, int sgi, int source) {
        banks.setSources(vcpu, sgi, banks.sources(vcpu, sgi) & ~(1 << source));
    }

    /** Notes that a list register holds the interrupt. A level-triggered one stays latched until its EOI. */
    void queued(int vcpu, int id) {
        boolean level = isLevel(vcpu, id);
        if (!level) {
            banks.put(InterruptState.LATCH, vcpu, id, false);
        }
        banks.putQueued(vcpu, id, level);
    }

    /** Clears the latch of an interrupt that ended. @return the vCPU to which it is deliverable again, or -1 */
    int ended(int vcpu, int id) {
        if (isLevel(vcpu, id)) {
            banks.put(InterruptState.LATCH, vcpu, id, false);
        }
        return released(vcpu, id);
    }

    /** Notes that a list register dropped an interrupt. @return the vCPU to which it is deliverable again, or -1 */
    int released(int vcpu, int id) {
        banks.putQueued(vcpu, id, false);
        return offer(vcpu, id);
    }

    /** Sets the flag of the vCPU to which an interrupt is deliverable. @return the vCPU, or -1 */
    private int offer(int vcpu, int id) {
        if ((banks.wanting(vcpu, id) >>> id % WORD & 1) == 0) {
            return NONE;
        }
        int target = banks.target(vcpu, id);
        setFlag(target, true);
        return target;
    }

    void setFlag(int vcpu, boolean to) {
        words.set(at(FLAGS + vcpu), to ? 1 : 0);
    }

    /** Returns, without a lock, whether an interrupt may be deliverable to the vCPU; false means that none is. */
    public boolean isFlagged(int vcpu) {
        banks.checkVcpu(vcpu);
        return words.get(at(FLAGS + vcpu)) != 0;
    }

    /** The lock is not held. */
    void kick(int vcpu) {
        if (vcpu != NONE) {
            kick.accept(vcpu);
        }
    }
}
