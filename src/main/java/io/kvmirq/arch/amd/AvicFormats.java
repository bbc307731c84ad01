/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import java.util.List;

/** What AVIC finds vCPUs by, and what an IOMMU of AMD says of those that do not run. */
public final class AvicFormats {
    private static final Meaning NOTHING = Meaning.always("");
    private static final BitField PHYSICAL_VALID = BitField.bit("valid", 63);
    private static final BitField LOGICAL_VALID = BitField.bit("valid", 31);
    private static final BitField LENGTH = new BitField("len_code", 56, 4);

    /** Kind {@code gatag}: {@code AVIC_GATAG} of Linux 7.1; kernels before 6.17 divide it otherwise. */
    public static final Format TAG = Format.builder("gatag", "GATag as Linux 7.1 divides it", 32, 1)
            .fields(
                    Field.of("", Meaning.always("VM"), new BitField("vm_id", 12, 20)),
                    Field.of("", Meaning.always("index of the vCPU, not its id"), new BitField("vcpu_idx", 0, 12)))
            .build();

    /** Kind {@code galog.entry}: {@code GA_TAG}, {@code GA_DEVID} and {@code GA_REQ_TYPE}. */
    public static final Format LOG_ENTRY = Format.builder("galog.entry", "GA log entry", 64, 1)
            .fields(
                    Field.of("GATag", NOTHING, new BitField("ga_tag", 0, 32)),
                    Field.of(
                            "DeviceID",
                            (value, bits) -> "requester " + Meaning.requester(value),
                            new BitField("devid", 32, 16)),
                    Field.of("R", Meaning.always("reserved, not looked at"), new BitField("rsvd_48_59", 48, 12)),
                    Field.of(
                            "EventCode",
                            (value, bits) -> value == 1 ? "guest not running" : "unknown, not looked at",
                            new BitField("type", 60, 4)))
            .build();

    /** Kind {@code avic.physical}: {@code AVIC_PHYSICAL_ID_ENTRY_*}. */
    public static final Format PHYSICAL = Format.builder("avic.physical", "AVIC physical APIC id table entry", 64, 1)
            .fields(
                    Field.of("HostPhysicalId", Meaning.always("APIC id"), new BitField("host_physical_id", 0, 12)),
                    Field.of(
                                    "BackingPage",
                                    Meaning.always("address, with the encryption bit if there is one"),
                                    new BitField("backing_page", 12, 40))
                            .shifted(12),
                    Field.reserved(new BitField("rsvd_52_60", 52, 9)),
                    Field.of(
                            "",
                            Meaning.oneOf("", "GALogIntr in KVM's own copy: never in the hardware's table"),
                            BitField.bit("ga_log_intr_sw", 61)),
                    Field.of(
                            "IsRunning",
                            Meaning.oneOf("vCPU does not run", "vCPU runs"),
                            BitField.bit("is_running", 62)),
                    Field.of("V", Meaning.oneOf("not in use", "in use"), PHYSICAL_VALID))
            .looked(bits -> PHYSICAL_VALID.isSet(bits[0]))
            .build();

    /** Kind {@code avic.logical}: {@code AVIC_LOGICAL_ID_ENTRY_*}. */
    public static final Format LOGICAL = Format.builder("avic.logical", "AVIC logical APIC id table entry", 32, 1)
            .fields(
                    Field.of("GuestPhysicalId", Meaning.always("APIC id"), new BitField("guest_physical_id", 0, 8)),
                    Field.reserved(new BitField("rsvd_8_30", 8, 23)),
                    Field.of("V", Meaning.oneOf("not in use", "in use"), LOGICAL_VALID))
            .looked(bits -> LOGICAL_VALID.isSet(bits[0]))
            .build();

    /** Kind {@code amd.galog.base}: the register at offset 0xe0, {@code iommu_ga_log_enable}. */
    public static final Format LOG_BASE = Format.builder("amd.galog.base", "GA log base register", 64, 1)
            .fields(
                    Field.of("GALogBase", Meaning.always("address"), new BitField("base", 12, 40))
                            .shifted(12),
                    Field.of("GALogLen", NOTHING, LENGTH),
                    Field.of("", (value, bits) -> value + " entries", LENGTH)
                            .named("entries")
                            .computed(code -> 2L << code)
                            .derived(),
                    Field.reserved(new BitField("rsvd_0_11", 0, 12)).ordinarily(0),
                    Field.reserved(new BitField("rsvd_52_55", 52, 4)).ordinarily(0),
                    Field.reserved(new BitField("rsvd_60_63", 60, 4)).ordinarily(0))
            .build();

    /** All of them. */
    public static final List<Format> ALL = List.of(TAG, LOG_ENTRY, PHYSICAL, LOGICAL, LOG_BASE);

    private AvicFormats() {}
}
