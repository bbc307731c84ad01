/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/**
 * Fields of GICH_HCR and ICH_HCR, which enable a virtual CPU interface and its maintenance interrupts. Each enable bit
 * has the same position as its cause in {@link Maintenance#STATUS}.
 *
 * <p>Source: ARM IHI 0048, "GICH_HCR"; ARM IHI 0069, "ICH_HCR_EL2".
 */
public final class HypervisorControl {
    /** En: 1 if the virtual CPU interface signals interrupts to the guest. */
    public static final BitField ENABLED =
            BitField.flag("en", 0, "En", "no interrupt reaches the guest", "interrupts reach the guest");

    /** UIE: enables a maintenance interrupt while at most one list register holds an interrupt. */
    public static final BitField UNDERFLOW = enable("uie", 1, "UIE", "at most one list register holds an interrupt");

    /** LRENPIE: enables a maintenance interrupt while EOICount is not 0. */
    public static final BitField NOT_PRESENT = enable("lrenpie", 2, "LRENPIE", "EOICount is not 0");

    /** NPIE: enables a maintenance interrupt while no list register is pending. */
    public static final BitField NO_PENDING = enable("npie", 3, "NPIE", "no list register is pending");

    /** VGrp0EIE: enables a maintenance interrupt while the guest has group 0 enabled. */
    public static final BitField GROUP0_ON = enable("vgrp0eie", 4, "VGrp0EIE", "the guest enables group 0");

    /** VGrp0DIE: enables a maintenance interrupt while the guest has group 0 disabled. */
    public static final BitField GROUP0_OFF = enable("vgrp0die", 5, "VGrp0DIE", "the guest disables group 0");

    /** VGrp1EIE: enables a maintenance interrupt while the guest has group 1 enabled. */
    public static final BitField GROUP1_ON = enable("vgrp1eie", 6, "VGrp1EIE", "the guest enables group 1");

    /** VGrp1DIE: enables a maintenance interrupt while the guest has group 1 disabled. */
    public static final BitField GROUP1_OFF = enable("vgrp1die", 7, "VGrp1DIE", "the guest disables group 1");

    /** EOICount: the number of guest EOIs for interrupts that are not in a list register. */
    public static final BitField END_COUNT = new BitField(
            "eoicount",
            27,
            5,
            saying(
                    "EOICount",
                    (value, bits) ->
                            value + (value == 1 ? " interrupt" : " interrupts") + " ended that no list register held"));

    /** The {@code kvmirq decode} format {@code gic.hcr}. */
    public static final Format GICH = Format.builder("gic.hcr", "GICv2 hypervisor control, GICH_HCR", 32, 1)
            .fields(enables())
            .fields(BitField.reserved("rsvd_8_26", 8, 19).ordinarily(0), END_COUNT)
            .build();

    /** The {@code kvmirq decode} format {@code gic.ich_hcr}. */
    public static final Format ICH = Format.builder("gic.ich_hcr", "GICv3 hypervisor control, ICH_HCR", 64, 1)
            .fields(enables())
            .fields(
                    BitField.flag(
                                    "vsgieoicount",
                                    8,
                                    "vSGIEOICount",
                                    "deactivations of virtual SGIs count",
                                    "deactivations of virtual SGIs do not count")
                            .ordinarily(0),
                    BitField.reserved("rsvd_9", 9, 1).ordinarily(0),
                    trap("tc", 10, "TC", "registers of both groups"),
                    trap("tall0", 11, "TALL0", "registers of group 0"),
                    trap("tall1", 12, "TALL1", "registers of group 1"),
                    trap("tsei", 13, "TSEI", "local SErrors"),
                    trap("tdir", 14, "TDIR", "writes to ICC_DIR (deactivate)"),
                    BitField.flag("dvim", 15, "DVIM", "direct injection is not masked", "direct injection is masked")
                            .ordinarily(0),
                    BitField.reserved("rsvd_16_26", 16, 11).ordinarily(0),
                    END_COUNT,
                    BitField.reserved("rsvd_32_63", 32, 32).ordinarily(0))
            .build();

    private HypervisorControl() {}

    private static BitField[] enables() {
        return new BitField[] {ENABLED, UNDERFLOW, NOT_PRESENT, NO_PENDING, GROUP0_ON, GROUP0_OFF, GROUP1_ON, GROUP1_OFF
        };
    }

    private static BitField enable(String name, int bit, String label, String when) {
        return BitField.flag(name, bit, label, "no maintenance interrupt", "maintenance interrupt while " + when);
    }

    private static BitField trap(String name, int bit, String label, String what) {
        return BitField.flag(name, bit, label, "no trap", "traps: " + what).ordinarily(0);
    }
}
