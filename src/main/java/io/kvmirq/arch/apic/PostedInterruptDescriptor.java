/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.Vector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Rule;
import io.kvmirq.arch.Violation;
import java.util.List;

/**
 * The posted-interrupt descriptor: 64 bytes at a 64-byte boundary, one for each vCPU, in which an IOMMU or another CPU
 * leaves vectors for a guest. A value, not the memory itself.
 *
 * <p>Source: VT-d specification, Posted Interrupt Descriptor, and Intel SDM vol. 3, Posted-Interrupt Processing; {@code
 * struct pi_desc} in arch/x86/include/asm/posted_intr.h.
 *
 * @param pir0 requested vectors 0–63, one bit each
 * @param pir1 requested vectors 64–127
 * @param pir2 requested vectors 128–191
 * @param pir3 requested vectors 192–255
 * @param on a notification is outstanding: none is sent again
 * @param sn suppress notification, but that of an urgent request
 * @param reserved258 14 bits, 271:258
 * @param nv vector of the notification
 * @param reserved280 8 bits, 287:280
 * @param ndst where the notification goes, 32 bits: see {@link #destinationX2apic} and {@link #destinationXapic}
 * @param reserved320 bits 383:320
 * @param reserved384 bits 447:384
 * @param reserved448 bits 511:448
 */
public record PostedInterruptDescriptor(
        long pir0,
        long pir1,
        long pir2,
        long pir3,
        boolean on,
        boolean sn,
        int reserved258,
        Vector nv,
        int reserved280,
        long ndst,
        long reserved320,
        long reserved384,
        long reserved448) {
    /** Length in bytes, and the boundary it lies at. */
    public static final int BYTES = 64;

    /** Index of the 64-bit word with ON, SN, NV and NDST, which is changed as one. */
    public static final int CONTROL = 4;

    /** Outstanding notification, bit 256. */
    public static final BitField ON = BitField.bit("on", 256);

    /** Suppress notification, bit 257. */
    public static final BitField SN = BitField.bit("sn", 257);

    /** Notification vector, bits 279:272. */
    public static final BitField NV = new BitField("nv", 272, 8);

    /** Notification destination, bits 319:288. */
    public static final BitField NDST = new BitField("ndst", 288, 32);

    private static final BitField PIR0 = new BitField("pir0", 0, 64);
    private static final BitField PIR1 = new BitField("pir1", 64, 64);
    private static final BitField PIR2 = new BitField("pir2", 128, 64);
    private static final BitField PIR3 = new BitField("pir3", 192, 64);
    private static final BitField RESERVED_258 = new BitField("rsvd_258_271", 258, 14);
    private static final BitField RESERVED_280 = new BitField("rsvd_280_287", 280, 8);
    /** An APIC id of 8 bits within NDST. */
    private static final BitField XAPIC_ID = new BitField("xapic id", 8, 8);

    /** Kind {@code pid}. */
    public static final Format FORMAT = Format.builder("pid", "posted-interrupt descriptor", 64, 8)
            .fields(
                    Field.of("PIR", vectors(0), PIR0),
                    Field.of("PIR", vectors(64), PIR1),
                    Field.of("PIR", vectors(128), PIR2),
                    Field.of("PIR", vectors(192), PIR3),
                    Field.of("ON", Meaning.oneOf("no notification outstanding", "notification outstanding"), ON),
                    Field.of("SN", Meaning.oneOf("notifications sent", "notifications suppressed"), SN),
                    Field.reserved(RESERVED_258),
                    Field.of("NV", (value, bits) -> notification((int) value), NV),
                    Field.reserved(RESERVED_280),
                    Field.of("NDST", (value, bits) -> destination(value), NDST),
                    Field.reserved(new BitField("rsvd0", 320, 32)),
                    Field.reserved(new BitField("rsvd1", 352, 32)),
                    Field.reserved(new BitField("rsvd2", 384, 32)),
                    Field.reserved(new BitField("rsvd3", 416, 32)),
                    Field.reserved(new BitField("rsvd4", 448, 32)),
                    Field.reserved(new BitField("rsvd5", 480, 32)),
                    Field.of("", Meaning.always("ON, SN, NV and NDST in one"), new BitField("derived_control", 256, 64))
                            .derived())
            .reservedFault("fault reason 0x28")
            .remarks(Rule.of(
                    PIR0,
                    bits -> (bits[0] | bits[1] | bits[2] | bits[3]) != 0
                            && !ON.isSet(bits[CONTROL])
                            && !SN.isSet(bits[CONTROL]),
                    value -> "there are requests with ON and SN clear: between two steps of who sets or takes them,"
                            + " or lost as in kvmirq races lost-interrupt-2019"))
            .build();

    /** @throws IllegalArgumentException if a field does not fit */
    public PostedInterruptDescriptor {
        RESERVED_258.with(reserved258);
        RESERVED_280.with(reserved280);
        NDST.with(ndst);
    }

    private static Meaning vectors(int first) {
        return (value, bits) -> value == 0 ? "no vector" : "vectors " + Meaning.numbers(value, first);
    }

    /** The vectors of Linux: arch/x86/include/asm/irq_vectors.h. */
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
     * From its eight words of 64 bits, the one at the lowest address first. Any bits are taken.
     *
     * @throws IllegalArgumentException if there are more or fewer words
     */
    public static PostedInterruptDescriptor decode(long... words) {
        long control = FORMAT.bits(words)[CONTROL];
        return new PostedInterruptDescriptor(
                words[0],
                words[1],
                words[2],
                words[3],
                ON.isSet(control),
                SN.isSet(control),
                (int) RESERVED_258.of(control),
                new Vector((int) NV.of(control)),
                (int) RESERVED_280.of(control),
                NDST.of(control),
                words[5],
                words[6],
                words[7]);
    }

    /**
     * NDST for a CPU where the host's APICs are in x2APIC mode.
     *
     * @param apicId 32 bits, unsigned
     */
    public static long destinationX2apic(long apicId) {
        NDST.with(apicId);
        return apicId;
    }

    /**
     * NDST for a CPU where the host's APICs are in xAPIC mode.
     *
     * @param apicId 0–255
     */
    public static long destinationXapic(int apicId) {
        return XAPIC_ID.with(apicId);
    }

    /** @throws IllegalArgumentException if no descriptor can be at the address: its low 6 bits are not 0 */
    public static void checkAddress(long address) {
        if (address % BYTES != 0) {
            throw new IllegalArgumentException("descriptor address 0x" + Long.toHexString(address)
                    + " is not at a 64-byte boundary: expected its low 6 bits to be 0");
        }
    }

    /** Word {@link #CONTROL}. */
    public long control() {
        return ON.with(on ? 1 : 0)
                | SN.with(sn ? 1 : 0)
                | RESERVED_258.with(reserved258)
                | NV.with(nv.number())
                | RESERVED_280.with(reserved280)
                | NDST.with(ndst);
    }

    /** Its eight words; the reverse of {@link #decode}. */
    public long[] words() {
        return new long[] {pir0, pir1, pir2, pir3, control(), reserved320, reserved384, reserved448};
    }

    /** Whether the vector is requested. */
    public boolean isRequested(Vector vector) {
        long word =
                switch (vector.number() / Long.SIZE) {
                    case 0 -> pir0;
                    case 1 -> pir1;
                    case 2 -> pir2;
                    default -> pir3;
                };
        return (word >>> vector.number() & 1) != 0;
    }

    /** As {@code kvmirq decode} takes it. */
    @Override
    public String toString() {
        return FORMAT.text(words());
    }

    /** What the manual forbids and is so. */
    public List<Violation> violations() {
        return FORMAT.violations(words());
    }
}
