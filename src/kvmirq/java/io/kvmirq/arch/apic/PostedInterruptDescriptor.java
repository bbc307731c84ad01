/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Structure;

/**
 * A posted-interrupt descriptor (PID), 64 bytes at a 64-byte boundary. Each vCPU has one, into which an IOMMU or
 * another CPU posts guest vectors. This record is a copy; {@code PiDescriptor} models the live memory.
 *
 * <p>Source: VT-d specification, Posted Interrupt Descriptor, and Intel SDM volume 3, Posted-Interrupt Processing;
 * {@code struct pi_desc} in arch/x86/include/asm/posted_intr.h.
 *
 * @param pir0 the PIR bits for vectors 0–63, each 1 if the vector is requested
 * @param pir1 the PIR bits for vectors 64–127
 * @param pir2 the PIR bits for vectors 128–191
 * @param pir3 the PIR bits for vectors 192–255
 * @param control the word with ON, SN, NV and NDST
 * @param reserved320 bits 383:320
 * @param reserved384 bits 447:384
 * @param reserved448 bits 511:448
 */
public record PostedInterruptDescriptor(
        long pir0, long pir1, long pir2, long pir3, long control, long reserved320, long reserved384, long reserved448)
        implements Structure {
    /** The descriptor's size and alignment in bytes. */
    public static final int BYTES = 64;

    /** The number of low bits that are 0 in a descriptor's address. */
    public static final int BOUNDARY_BITS = 6;

    /** The index of the 64-bit word with ON, SN, NV and NDST. Changing one of these fields writes the whole word. */
    public static final int CONTROL = 4;

    /** Outstanding notification, bit 256: while ON is 1, no further notification is sent. */
    public static final BitField ON =
            BitField.flag("on", 256, "ON", "no notification outstanding", "notification outstanding");

    /** Suppress notification, bit 257: while SN is 1, only an urgent request notifies the CPU. */
    public static final BitField SN = BitField.flag("sn", 257, "SN", "notifications sent", "notifications suppressed");

    /** Notification vector, bits 279:272. */
    public static final BitField NV =
            new BitField("nv", 272, 8, Description.saying("NV", (value, bits) -> notification((int) value)));

    /** NDST, bits 319:288: the notified CPU's APIC id. See {@link #destinationX2apic} and {@link #destinationXapic}. */
    public static final BitField NDST =
            new BitField("ndst", 288, 32, Description.saying("NDST", (value, bits) -> destination(value)));

    /** The position of an 8-bit APIC id in NDST. */
    private static final BitField XAPIC_ID = new BitField("xapic id", 8, 8);

    /** The {@code kvmirq decode} format {@code pid}. */
    public static final Format FORMAT = Format.builder("pid", "posted-interrupt descriptor", 64, 8)
            .fields(pir(0), pir(1), pir(2), pir(3), ON, SN)
            .fields(BitField.reserved("rsvd_258_271", 258, 14), NV, BitField.reserved("rsvd_280_287", 280, 8), NDST)
            .fields(reserved(0), reserved(1), reserved(2), reserved(3), reserved(4), reserved(5))
            .fields(new BitField(
                    "derived_control",
                    256,
                    64,
                    always("", "ON, SN, NV and NDST in one").derived()))
            .reservedFault("fault reason 0x28")
            .remark(
                    bits -> (bits[0] | bits[1] | bits[2] | bits[3]) != 0
                            && !ON.isSet(bits[CONTROL])
                            && !SN.isSet(bits[CONTROL]),
                    "PIR is not empty while ON and SN are clear: a sender or a receiver is between two steps, or the"
                            + " request is lost as in Linux before commit c112b5f50232")
            .build();

    private static BitField pir(int word) {
        return new BitField(
                "pir" + word,
                Long.SIZE * word,
                Long.SIZE,
                Description.saying(
                        "PIR",
                        (value, bits) ->
                                value == 0 ? "no vector" : "vectors " + Meaning.numbers(value, Long.SIZE * word)));
    }

    private static BitField reserved(int number) {
        return BitField.reserved("rsvd" + number, 320 + Integer.SIZE * number, Integer.SIZE);
    }

    /** Explains a notification vector. Source: arch/x86/include/asm/irq_vectors.h. */
    private static String notification(int vector) {
        return switch (vector) {
            case 0xf2 -> "notification vector, in Linux of a vCPU that runs or is preempted";
            case 0xf1 -> "notification vector, in Linux the wakeup of a vCPU that blocks";
            case 0xf0 -> "notification vector, in Linux that of a nested guest";
            case 0xeb -> "notification vector, in Linux that of posted interrupts of the host";
            default -> "notification vector, not one of Linux";
        };
    }

    private static String destination(long ndst) {
        String x2apic = "x2APIC id 0x" + Long.toHexString(ndst);
        return (ndst & ~XAPIC_ID.mask()) == 0 && ndst != 0
                ? x2apic + ", or xAPIC id 0x" + Long.toHexString(XAPIC_ID.of(ndst))
                : x2apic;
    }

    /**
     * Decodes eight 64-bit words, lowest address first. Throws IllegalArgumentException for any other number of words,
     * but accepts any bits.
     */
    public static PostedInterruptDescriptor decode(long... words) {
        long[] bits = FORMAT.bits(words);
        return new PostedInterruptDescriptor(
                bits[0], bits[1], bits[2], bits[3], bits[CONTROL], bits[5], bits[6], bits[7]);
    }

    /** NDST for a CPU in x2APIC mode. Throws IllegalArgumentException if the id has more than 32 bits. */
    public static long destinationX2apic(long apicId) {
        NDST.with(apicId);
        return apicId;
    }

    /** NDST for a CPU in xAPIC mode. Throws IllegalArgumentException unless the id is 0–254 (255 is the broadcast). */
    public static long destinationXapic(long apicId) {
        if (apicId == XAPIC_ID.max()) {
            throw new IllegalArgumentException(
                    "xapic id 0xff names all CPUs: expected 0-0xfe for one; a host with more has to be in x2APIC mode");
        }
        return XAPIC_ID.with(apicId);
    }

    /** @throws IllegalArgumentException unless the low 6 bits of the address are 0 */
    public static void checkAddress(long address) {
        if (address % BYTES != 0) {
            throw new IllegalArgumentException("descriptor address 0x" + Long.toHexString(address)
                    + " is not at a 64-byte boundary: expected its low 6 bits to be 0");
        }
    }

    @Override
    public Format format() {
        return FORMAT;
    }

    @Override
    public long[] bits() {
        return new long[] {pir0, pir1, pir2, pir3, control, reserved320, reserved384, reserved448};
    }

    /** Whether the vector's bit in PIR is set. */
    public boolean isRequested(InterruptVector vector) {
        return (bits()[vector.number() / Long.SIZE] >>> vector.number() & 1) != 0;
    }

    @Override
    public String toString() {
        return FORMAT.text(bits());
    }
}
