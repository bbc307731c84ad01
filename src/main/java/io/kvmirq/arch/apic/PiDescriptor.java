/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static io.kvmirq.arch.apic.PostedInterruptDescriptor.CONTROL;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.NDST;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.NV;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.ON;
import static io.kvmirq.arch.apic.PostedInterruptDescriptor.SN;

import java.nio.ByteBuffer;

/**
 * A live posted-interrupt descriptor: senders set PIR and ON, the vCPU's thread and the processor take them away, all at
 * once and without a lock. Every change of a bit is one locked read-modify-write, also of a bit that has its value
 * already: testing first would be faster, but a sender that only reads is not ordered against the receiver, which may
 * have taken the bit, and looked at the sender's data, before that data became visible.
 *
 * <p>Safe for use by any number of threads; {@link #load}, {@link #resume}, {@link #put} and {@link #block} are for the
 * vCPU's own. Nothing but {@link #snapshot} allocates. Source: Intel SDM vol. 3, "Posted-Interrupt Processing"; VT-d specification, "Interrupt Posting" and
 * "Posted Interrupt Descriptor"; {@code posted_intr.c} in Linux.
 *
 * <p>Only the tests' variants, which lose interrupts, extend it.
 */
public class PiDescriptor {
    /** Size in 64-bit words. */
    public static final int WORDS = PostedInterruptDescriptor.BYTES / Long.BYTES;
    /** Words of PIR, one bit for each vector. */
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

    /** A descriptor in the eight words from {@code base}, a multiple of 8. */
    public static PiDescriptor over(SharedWords words, int base) {
        return new PiDescriptor(words, base);
    }

    /** A descriptor in the first eight words of an array. */
    public static PiDescriptor over(long[] words) {
        return over(SharedWords.of(words), 0);
    }

    /**
     * A descriptor in the first 64 bytes of a direct buffer.
     *
     * @throws IllegalArgumentException for a heap, read-only or short buffer, and for memory not aligned to 64 bytes
     */
    public static PiDescriptor over(ByteBuffer direct) {
        return over(SharedWords.of(direct), 0);
    }

    /**
     * What a unit does for one request through a posted IRTE: sets the vector's PIR bit and, unless a notification is
     * outstanding or suppressed, ON. A unit does both in one access of 64 bytes; here they are two, PIR first. Partner
     * of the first is the read of PIR in {@link #load} and {@link #resume}: either they see this PIR bit, or the second
     * sees SN clear.
     *
     * @param vector 0–255
     * @param urgent URG of the IRTE: SN does not hold it back
     * @return 0, or, if a notification is due, the word whose NV and NDST say which vector and where to
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
     * What software does to request a vector: sets its PIR bit, then ON. Each is a full barrier: that of ON stands
     * before the caller's read of the vCPU's mode, partner of the barrier between mode and {@link #sync}.
     *
     * @param vector 0–255
     * @return whether this set ON, so that it is for the caller to notify or wake the vCPU
     */
    public boolean deliver(int vector) {
        return (words.or(pir(vector), bit(vector)) & bit(vector)) == 0 && setOn();
    }

    /**
     * If ON, clears it and takes the requests to the IRR ({@code vmx_sync_pir_to_irr}). ON is cleared before PIR is
     * read: a sender writes PIR first, so that what is missed here sets ON again.
     *
     * @param irr four words from {@code at}
     * @return whether a request was taken
     */
    public boolean sync(SharedWords irr, int at) {
        long seen = words.get(control);
        return ON.isSet(seen) && take(seen, irr, at);
    }

    /** What a processor in guest mode does when NV arrives: clears ON and takes the requests, without asking. */
    public boolean acknowledge(SharedWords irr, int at) {
        return take(words.get(control), irr, at);
    }

    boolean take(long seen, SharedWords irr, int at) {
        checkIrr(irr, at);
        clearOn(seen);
        return harvest(irr, at);
    }

    /** Moves what PIR holds. A word that is zero costs no locked access, as in the kernel. */
    boolean harvest(SharedWords irr, int at) {
        boolean any = false;
        for (int i = 0; i < PIR_WORDS; i++) {
            if (words.get(base + i) != 0) {
                irr.or(at + i, words.swap(base + i, 0));
                any = true;
            }
        }
        return any;
    }

    /** Whether four words have a vector. */
    static boolean hasAny(SharedWords words, int base) {
        for (int i = 0; i < PIR_WORDS; i++) {
            if (words.get(base + i) != 0) {
                return true;
            }
        }
        return false;
    }

    /**
     * The vCPU comes to a processor: notifications go there again. Where SN was set, units posted without ON, so ON is
     * made up for after SN is cleared: SN's clearing is the full barrier before PIR is read, and its partner is the
     * unit's access, which either sees SN clear and sets ON, or has set PIR before.
     *
     * @param ndst the processor's APIC id in the form of NDST, see {@link PostedInterruptDescriptor#destinationX2apic}
     * @throws IllegalArgumentException if it does not fit 32 bits
     */
    public void load(long ndst) {
        redirect(ndst);
        restoreOn();
    }

    /**
     * As {@link #load} to the processor it was on, where it did not sleep in between: NV and NDST are right. Where SN is
     * clear nothing is looked at.
     */
    public void resume() {
        if (clearSuppress()) {
            restoreOn();
        }
    }

    /** NDST to {@code ndst}, NV to 0xf2, SN to 0, in one. */
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

    /**
     * The first half of {@link #resume}: devices notify again.
     *
     * @return whether SN was set
     */
    boolean clearSuppress() {
        return SN.isSet(words.and(control, ~SN.mask()));
    }

    /** The second half of {@link #load} and {@link #resume}, the repair of 2019: a request without ON gets it. */
    void restoreOn() {
        if (hasRequests()) {
            setOn();
        }
    }

    /** The vCPU leaves its processor while it could run: units are to post without notifying. */
    public void put() {
        words.or(control, SN.mask());
    }

    /**
     * The vCPU leaves its processor to sleep: NV becomes the wake-up vector 0xf1. While it is, until {@link #load}, the
     * vCPU must be on its processor's list.
     *
     * @return whether ON was set already: its notification went to the vector before and wakes nobody, so the caller
     *     sends 0xf1 to its own processor
     */
    public boolean block() {
        while (true) {
            long old = words.get(control);
            if (words.replace(control, old, NV.put(old, Apic.WAKEUP))) {
                return ON.isSet(old);
            }
        }
    }

    /** State was loaded over the LAPIC's: what is requested is void ({@code pi_apicv_pre_state_restore}). */
    public void discard() {
        clearOn(words.get(control));
        for (int i = 0; i < PIR_WORDS; i++) {
            words.swap(base + i, 0);
        }
    }

    /** As a vCPU is made: NV 0xf2, SN set, the rest 0. Not for use beside other calls. */
    public void reset() {
        for (int i = 0; i < WORDS; i++) {
            words.swap(base + i, 0);
        }
        words.swap(control, SN.mask() | NV.with(Apic.NOTIFICATION));
    }

    /** Whether a vCPU that is not loaded has something to run for: ON, or requests that SN kept from setting it. */
    public boolean hasPending() {
        long now = words.get(control);
        return ON.isSet(now) || SN.isSet(now) && hasRequests();
    }

    /** What it holds, word by word: others may change one while the next is read. */
    public PostedInterruptDescriptor snapshot() {
        long[] now = new long[WORDS];
        for (int i = 0; i < WORDS; i++) {
            now[i] = words.get(base + i);
        }
        return PostedInterruptDescriptor.decode(now);
    }

    /** Whether PIR is not empty. */
    public boolean hasRequests() {
        return hasAny(words, base);
    }

    public boolean isOn() {
        return ON.isSet(words.get(control));
    }

    public boolean isSuppressed() {
        return SN.isSet(words.get(control));
    }

    /** The notification vector, 0–255. */
    public int nv() {
        return (int) NV.of(words.get(control));
    }

    /** The notification destination, 32 bits unsigned. */
    public long ndst() {
        return NDST.of(words.get(control));
    }

    /** @return whether ON was clear */
    boolean setOn() {
        return !ON.isSet(words.or(control, ON.mask()));
    }

    /** @param seen what was read, to begin with */
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
            throw new IllegalArgumentException("vector " + vector + " is out of range: expected 0–255");
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
