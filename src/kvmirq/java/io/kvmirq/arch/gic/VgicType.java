/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import io.kvmirq.arch.Format;
import java.util.Optional;

/**
 * Fields of GICH_VTR and ICH_VTR, read-only registers that describe the virtual CPU interface.
 *
 * <p>Source: ARM IHI 0048, "GICH_VTR"; ARM IHI 0069, "ICH_VTR_EL2".
 */
public final class VgicType {
    private static final int FEWEST_BITS = 5;
    private static final int MOST_OF_ICH = 16;

    private static final Description LIST_REGISTERS =
            saying("ListRegs", (value, bits) -> value + 1 + (value == 0 ? " list register" : " list registers"));

    /** PRIbits: the number of priority bits, minus 1. */
    private static final BitField PRIORITY = new BitField(
            "pribits",
            29,
            3,
            saying("PRIbits", (value, bits) -> value + 1 + " priority bits")
                    .forbidding(value -> value + 1 < FEWEST_BITS, value -> value + 1 + " priority bits: expected 5-8"));

    /** PREbits: the number of preemption bits, minus 1. */
    private static final BitField PREEMPTION = new BitField(
            "prebits",
            26,
            3,
            saying("PREbits", (value, bits) -> value + 1 + " preemption bits")
                    .checked((value, bits) -> value > PRIORITY.of(bits[0])
                            ? Optional.of(value + 1 + " preemption bits and " + (PRIORITY.of(bits[0]) + 1)
                                    + " priority bits: expected no more")
                            : Optional.empty()));

    /** The {@code kvmirq decode} format {@code gic.vtr}. */
    public static final Format GICH = Format.builder("gic.vtr", "GICv2 VGIC type, GICH_VTR", 32, 1)
            .fields(new BitField("listregs", 0, 6, LIST_REGISTERS))
            .fields(BitField.reserved("rsvd_6_25", 6, 20).ordinarily(0), PREEMPTION, PRIORITY)
            .build();

    /** The {@code kvmirq decode} format {@code gic.ich_vtr}. */
    public static final Format ICH = Format.builder("gic.ich_vtr", "GICv3 VGIC type, ICH_VTR", 64, 1)
            .fields(
                    new BitField(
                            "listregs",
                            0,
                            5,
                            LIST_REGISTERS.forbidding(
                                    value -> value >= MOST_OF_ICH,
                                    value -> value + 1 + " list registers: expected 1-16")),
                    BitField.reserved("rsvd_5_17", 5, 13).ordinarily(0),
                    BitField.flag("dvim", 18, "DVIM", "no mask of direct injection", "HCR.DVIM masks direct injection")
                            .ordinarily(0),
                    BitField.flag("tds", 19, "TDS", "no HCR.TDIR", "HCR.TDIR traps writes to ICC_DIR"),
                    BitField.flag("nv4", 20, "nV4", "direct injection (GICv4)", "no direct injection"),
                    BitField.flag("a3v", 21, "A3V", "affinity 3 is 0", "affinity 3 may be nonzero"),
                    BitField.flag("seis", 22, "SEIS", "no local SErrors", "local SErrors"),
                    new BitField(
                            "idbits",
                            23,
                            3,
                            Description.oneOf("IDbits", "16 id bits", "24 id bits")
                                    .forbidding(
                                            value -> value > 1,
                                            value -> "0x" + Long.toHexString(value)
                                                    + " is reserved: expected 0 (16 id bits) or 1 (24 id bits)")),
                    PREEMPTION,
                    PRIORITY,
                    BitField.reserved("rsvd_32_63", 32, 32).ordinarily(0))
            .build();

    private VgicType() {}
}
