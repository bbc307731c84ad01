/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static io.kvmirq.arch.apic.PostedInterruptDescriptor.CONTROL;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.NDST;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.NV;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.ON;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.SN;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;

/**
 * A posted-interrupt descriptor in shared memory. Senders set PIR and ON, and the vCPU's thread and the CPU clear them.
 * No lock is taken. Every write of a bit is one locked read-modify-write, even if it does not change the bit. A sender
 * that only tested a set bit would not be ordered against the receiver, which could clear the bit and miss the sender's
 * data. A vector is 0–255.
 *
 * <p>Thread-safe, but only the vCPU's own thread may call {@link #load}, {@link #resume}, {@link #put} and {@link
 * #block}. Only {@link #snapshot} allocates. Source: Intel SDM vol. 3, "Posted-Interrupt Processing"; VT-d
 * specification, "Interrupt Posting" and "Posted Interrupt Descriptor"; {@code posted_intr.c} in Linux.
 *
 * <p>Only tests extend this class, with variants that deliberately lose interrupts.
 */
public class PiDescriptor {
    /** The size of a descriptor in 64-bit words. */
    public static final int WORDS = PostedInterruptDescriptor.BYTES / Long.BYTES;
    /** The number of 64-bit words of PIR, which has one bit for each vector. */
    public static final int PIR_WORDS = 4;

    private static final int VECTORS = 256;

    final SharedWords words;
    final int control;
    private final int base;

    PiDescriptor(SharedWords words, int base) {
        if (base < 0 || base % WORDS != 0 || base > words.size() - WORDS) {
            throw new IllegalArgumentException("a descriptor at word " + base + " of " + words.size()
                    + " does not fit: expected a multiple of 8 with 8 words from there");
        }
        this.words = words;
        this.base = base;
        this.control = base + CONTROL;
    }

    /** Returns a descriptor in the eight words from index {@code base} on, which is a multiple of 8. */
    public static PiDescriptor over(SharedWords words, int base) {
        return new PiDescriptor(words, base);
    }

    /** Returns a descriptor in the first eight words of an array. */
    public static PiDescriptor over(long[] words) {
        return over(SharedWords.of(words), 0);
    }

    /**
     * Posts a device interrupt, as a remapping unit does for a posted IRTE. Sets the vector's PIR bit, then ON unless a
     * notification is outstanding or suppressed. A real unit writes both bits in one 64-byte access. Because {@link
     * #load} and {@link #resume} clear SN and then read PIR, they see the bit in PIR, or this method sees SN clear.
     *
     * @param urgent URG of the IRTE; if true, the request notifies even while SN is set
     * @return the control word, whose NV and NDST are the notification's vector and destination; 0 if none is due
     */
    public long post(int vector, boolean urgent) {
        words.or(pir(vector), bit(vector));
        while (true) {
            long old = words.get(control);
            if (ON.isSet(old) || !urgent && SN.isSet(old)) {
                if (words.replace(control, old, old)) {
                    return 0;
                }
            } else if (words.replace(control, old, old | ON.mask())) {
                return old | ON.mask();
            }
        }
    }

    /**
     * Posts an interrupt from software. Sets the PIR bit, then ON, each with a full barrier. The caller must read the
     * vCPU's mode after this call. The vCPU writes its mode, executes a full barrier and calls {@link #sync}, so the
     * caller sees guest mode, or the vCPU sees ON.
     *
     * @return whether this call set ON; if true, the caller must notify or wake the vCPU
     */
    public boolean deliver(int vector) {
        return (words.or(pir(vector), bit(vector)) & bit(vector)) == 0 && setOn();
    }

    /**
     * If ON is set, clears ON and moves the requests from PIR to the IRR ({@code vmx_sync_pir_to_irr}). This method
     * clears ON before it reads PIR. A sender writes PIR before ON, so a request that this call misses sets ON again.
     *
     * @param irr holds the IRR in four words from index {@code at} on
     * @return whether a request was moved to the IRR
     * @throws IllegalArgumentException if {@code irr} has no four words from {@code at}
     */
    public boolean sync(SharedWords irr, int at) {
        long seen = words.get(control);
        return ON.isSet(seen) && take(seen, irr, at);
    }

    /** Moves requests like {@link #sync}, but even if ON is clear, because a CPU in guest mode took vector NV. */
    public boolean acknowledge(SharedWords irr, int at) {
        return take(words.get(control), irr, at);
    }

    boolean take(long seen, SharedWords irr, int at) {
        checkIrr(irr, at);
        clearOn(seen);
        return harvest(irr, at);
    }

    /** Moves PIR to the IRR. As in the kernel, a zero word costs no locked access. */
    boolean harvest(SharedWords irr, int at) {
        boolean found = false;
        for (int i = 0; i < PIR_WORDS; i++) {
            if (words.get(base + i) != 0) {
                irr.or(at + i, words.swap(base + i, 0));
                found = true;
            }
        }
        return found;
    }

    /** The highest vector of four words, 0 if they are 0. */
    static int highest(SharedWords words, int base) {
        for (int i = PIR_WORDS - 1; i >= 0; i--) {
            long now = words.get(base + i);
            if (now != 0) {
                return i * Long.SIZE + Long.SIZE - 1 - Long.numberOfLeadingZeros(now);
            }
        }
        return 0;
    }

    /** Whether any of four words is not 0. */
    static boolean hasAny(SharedWords words, int base) {
        for (int i = 0; i < PIR_WORDS; i++) {
            if (words.get(base + i) != 0) {
                return true;
            }
        }
        return false;
    }

    /**
     * Loads the vCPU on a CPU, so that notifications go to this CPU, and clears SN. While SN was set, units set PIR
     * without ON, so this call sets ON if PIR is not empty. Clearing SN is a full barrier before PIR is read, so a unit
     * either sees SN clear and sets ON, or has set PIR before this read.
     *
     * @param ndst the CPU's APIC id in the form of NDST, see {@link PostedInterruptDescriptor#destinationX2apic}
     * @throws IllegalArgumentException if {@code ndst} does not fit 32 bits
     */
    public void load(long ndst) {
        redirect(ndst);
        restoreOn();
    }

    /** Loads the vCPU on its last CPU after {@link #put}, without a sleep in between. Does nothing if SN is clear. */
    public void resume() {
        if (clearSuppress()) {
            restoreOn();
        }
    }

    /** Sets NDST to {@code ndst}, NV to 0xf2 and SN to 0 in one access. */
    void redirect(long ndst) {
        while (true) {
            long old = words.get(control);
            if (words.replace(control, old, loaded(old, ndst))) {
                return;
            }
        }
    }

    long loaded(long old, long ndst) {
        return NDST.put(NV.put(SN.put(old, 0), Apic.NOTIFICATION), ndst);
    }

    /** The first half of {@link #resume}, which lets devices notify again. Returns whether SN was set. */
    boolean clearSuppress() {
        return SN.isSet(words.and(control, ~SN.mask()));
    }

    /** The second half of {@link #load} and {@link #resume}, the fix of 2019, which sets ON if PIR is not empty. */
    void restoreOn() {
        if (hasRequests()) {
            setOn();
        }
    }

    /** Preempts the vCPU by setting SN, so that units post requests without a notification. */
    public void put() {
        words.or(control, SN.mask());
    }

    /**
     * Puts the vCPU to sleep by setting NV to the wake-up vector 0xf1. Until {@link #load} the vCPU must be on the
     * wake-up list of its CPU.
     *
     * @return whether ON was set before. If true, the notification was sent with the earlier NV and wakes no vCPU, so
     *     the caller must send 0xf1 to this CPU
     */
    public boolean block() {
        while (true) {
            long old = words.get(control);
            if (words.replace(control, old, NV.put(old, Apic.WAKEUP))) {
                return ON.isSet(old);
            }
        }
    }

    /** Clears ON and PIR before LAPIC state is loaded ({@code pi_apicv_pre_state_restore}). */
    public void discard() {
        clearOn(words.get(control));
        for (int i = 0; i < PIR_WORDS; i++) {
            words.swap(base + i, 0);
        }
    }

    /**
     * Sets the state before the first load, in which NV is 0xf2, SN is 1, and other bits are 0 ({@code
     * __vmx_vcpu_reset}). No other call may run at the same time. KVM_CREATE_VCPU loads and puts the vCPU afterwards.
     */
    public void reset() {
        for (int i = 0; i < WORDS; i++) {
            words.swap(base + i, 0);
        }
        words.swap(control, SN.mask() | NV.with(Apic.NOTIFICATION));
    }

    /** Whether a vCPU that is not loaded has a pending interrupt: ON is set, or SN is set and PIR is not empty. */
    public boolean hasPending() {
        long now = words.get(control);
        return ON.isSet(now) || SN.isSet(now) && hasRequests();
    }

    /** Returns a copy of the descriptor, read word by word. Another thread may change a word during the copy. */
    public PostedInterruptDescriptor snapshot() {
        long[] now = new long[WORDS];
        for (int i = 0; i < WORDS; i++) {
            now[i] = words.get(base + i);
        }
        return PostedInterruptDescriptor.decode(now);
    }

    /** Whether the vector's bit in PIR is set. */
    public boolean isRequested(int vector) {
        return (words.get(pir(vector)) & bit(vector)) != 0;
    }

    /** Whether PIR is not empty. */
    public boolean hasRequests() {
        return hasAny(words, base);
    }

    /** Whether ON is set, which means that a notification is outstanding. */
    public boolean isOn() {
        return ON.isSet(words.get(control));
    }

    /** Whether SN is set. */
    public boolean isSuppressed() {
        return SN.isSet(words.get(control));
    }

    /** The notification vector, 0–255. */
    public int nv() {
        return (int) NV.of(words.get(control));
    }

    /** Returns NDST, the notification destination, as an unsigned 32-bit value. */
    public long ndst() {
        return NDST.of(words.get(control));
    }

    /** @return whether ON was clear */
    boolean setOn() {
        return !ON.isSet(words.or(control, ON.mask()));
    }

    /** @param seen an earlier value of the control word */
    void clearOn(long seen) {
        long old = seen;
        while (!words.replace(control, old, old & ~ON.mask())) {
            old = words.get(control);
        }
    }

    @Override
    public String toString() {
        return snapshot().toString();
    }

    static void checkIrr(SharedWords irr, int at) {
        if (at < 0 || at > irr.size() - PIR_WORDS) {
            throw new IllegalArgumentException(
                    "an IRR at word " + at + " of " + irr.size() + " does not fit: expected 4 words from there");
        }
    }

    static void checkVector(int vector) {
        if (vector < 0 || vector >= VECTORS) {
            throw new IllegalArgumentException("vector " + vector + " is out of range: expected 0-255");
        }
    }

    int pir(int vector) {
        checkVector(vector);
        return base + vector / Long.SIZE;
    }

    static long bit(int vector) {
        return 1L << vector;
    }
}
