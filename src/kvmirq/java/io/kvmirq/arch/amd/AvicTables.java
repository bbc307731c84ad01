/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/** Entries of AVIC's tables, which map physical and logical APIC ids to vCPUs. */
public final class AvicTables {
    /** Physical table: the APIC id of the host CPU on which the vCPU is loaded. */
    public static final BitField HOST_ID = new BitField("host_physical_id", 0, 12, always("HostPhysicalId", "APIC id"));

    /** Physical table: the address of the vCPU's backing page. */
    public static final BitField BACKING_PAGE = new BitField(
            "backing_page",
            12,
            40,
            always("BackingPage", "address, with the encryption bit if there is one")
                    .shifted(12));

    /** Physical table: GALogIntr, set only in KVM's copy of the entry, which hardware does not read. */
    public static final BitField GA_LOG_INTR =
            BitField.flag("ga_log_intr_sw", 61, "", "", "GALogIntr in KVM's own copy, never in the hardware's table");

    /** Physical table: 1 while the vCPU runs. */
    public static final BitField IS_RUNNING =
            BitField.flag("is_running", 62, "IsRunning", "vCPU does not run", "vCPU runs");

    /** Physical table: 1 if the entry is in use. */
    public static final BitField PHYSICAL_VALID = BitField.flag("valid", 63, "V", "not in use", "in use");

    /** The {@code kvmirq decode} format {@code avic.physical}. KVM's masks are {@code AVIC_PHYSICAL_ID_ENTRY_*}. */
    public static final Format PHYSICAL = Format.builder("avic.physical", "AVIC physical APIC id table entry", 64, 1)
            .fields(HOST_ID, BACKING_PAGE, BitField.reserved("rsvd_52_60", 52, 9))
            .fields(GA_LOG_INTR, IS_RUNNING, PHYSICAL_VALID)
            .looked(bits -> PHYSICAL_VALID.isSet(bits[0]))
            .build();

    /** Logical table: the physical APIC id of the vCPU. */
    public static final BitField GUEST_ID =
            new BitField("guest_physical_id", 0, 8, always("GuestPhysicalId", "APIC id"));

    /** Logical table: 1 if the entry is in use. */
    public static final BitField LOGICAL_VALID = BitField.flag("valid", 31, "V", "not in use", "in use");

    /** The {@code kvmirq decode} format {@code avic.logical}. KVM's masks are {@code AVIC_LOGICAL_ID_ENTRY_*}. */
    public static final Format LOGICAL = Format.builder("avic.logical", "AVIC logical APIC id table entry", 32, 1)
            .fields(GUEST_ID, BitField.reserved("rsvd_8_30", 8, 23), LOGICAL_VALID)
            .looked(bits -> LOGICAL_VALID.isSet(bits[0]))
            .build();

    private AvicTables() {}
}
