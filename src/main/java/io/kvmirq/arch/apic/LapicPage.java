/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;

/**
 * The register page of a local APIC. Names ending in {@code _AT} are offsets in bytes. A register has 32 bits; ISR, TMR
 * and IRR are eight registers each. Fields are bits of one register.
 *
 * <p>Source: Intel SDM vol. 3, "Local APIC Register Address Map" and the registers' figures;
 * arch/x86/include/asm/apicdef.h.
 */
public final class LapicPage {
    /** The distance of two registers, in bytes. */
    public static final int STRIDE = 0x10;

    /** ID: the APIC id. */
    public static final int ID_AT = 0x20;

    /** Version. */
    public static final int VERSION_AT = 0x30;

    /** TPR: task priority. */
    public static final int TPR_AT = 0x80;

    /** PPR: processor priority. */
    public static final int PPR_AT = 0xa0;

    /** EOI: a write ends the interrupt with the highest priority in service. */
    public static final int EOI_AT = 0xb0;

    /** LDR: the logical id. */
    public static final int LDR_AT = 0xd0;

    /** DFR: the format of xAPIC logical ids. */
    public static final int DFR_AT = 0xe0;

    /** SVR: spurious vector and the software enable bit. */
    public static final int SVR_AT = 0xf0;

    /** ISR: vectors in service. */
    public static final int ISR_AT = 0x100;

    /** TMR: vectors that are level-triggered. */
    public static final int TMR_AT = 0x180;

    /** IRR: requested vectors. */
    public static final int IRR_AT = 0x200;

    /** The first register of the local vector table, the timer's. The others follow by {@link #STRIDE}. */
    public static final int LVT_AT = 0x320;

    /** The local vector table's register for pin LINT0, to which a PIC is connected. */
    public static final int LINT0_AT = 0x350;

    /** The number of registers of the local vector table: timer, thermal, performance, LINT0, LINT1, error. */
    public static final int LVT_COUNT = 6;

    /** ID and LDR in xAPIC mode: the id. In x2APIC mode the whole register is the id. */
    public static final BitField XAPIC_ID = new BitField("xapic_id", 24, 8, always("ID", "xAPIC id"));

    /** Version: a guest may send the EOI of a level-triggered interrupt to the IOAPIC itself. */
    public static final BitField DIRECTED_EOI =
            BitField.flag("directed_eoi", 24, "", "EOIs are broadcast", "EOI broadcasts can be suppressed");

    /** LDR in x2APIC mode: the cluster. */
    public static final BitField CLUSTER = new BitField("cluster", 16, 16, always("", "x2APIC cluster"));

    /** LDR in x2APIC mode: the members of the cluster, a set. */
    public static final BitField MEMBERS = new BitField("members", 0, 16, always("", "members of the cluster"));

    /** DFR of the flat model: a logical id is a set of eight LAPICs. */
    public static final int DFR_FLAT = 0xffff_ffff;

    /** DFR of the cluster model: a logical id is a cluster of 4 bits and a set of four LAPICs. */
    public static final int DFR_CLUSTER = 0x0fff_ffff;

    /** SVR: software enable. */
    public static final BitField ENABLED = BitField.flag("enabled", 8, "", "disabled by software", "enabled");

    /** Local vector table: delivery mode. */
    public static final BitField LVT_MODE = new BitField("delivery_mode", 8, 3, DeliveryMode.description());

    /** Local vector table: the source sends nothing. */
    public static final BitField LVT_MASKED = BitField.flag("masked", 16, "M", "not masked", "masked");

    private LapicPage() {}
}
