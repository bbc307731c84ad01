/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.arch.apic.LapicPage;

/**
 * The ids and modes of a local APIC (LAPIC), which decide which messages it gets.
 *
 * <p>Source: Intel SDM volume 3, "Determining IPI Destination"; {@code kvm_apic_match_dest()} in arch/x86/kvm/lapic.c.
 */
public interface LocalApic {
    /** The vCPU id, which never changes. */
    int vcpuId();

    /** The APIC id: 8 bits in xAPIC mode, 32 bits in x2APIC mode. */
    int id();

    /** Whether software has enabled the LAPIC (SVR bit 8). */
    boolean enabled();

    /** Whether the LAPIC is enabled by bit 11 of IA32_APIC_BASE. A disabled LAPIC gets no messages. */
    default boolean isPresent() {
        return true;
    }

    boolean isX2apic();

    /** The LDR register. In xAPIC mode, bits [31:24] are the logical id. */
    int logicalId();

    /** The DFR register, which only xAPIC mode uses: {@link LapicPage#DFR_FLAT} or {@link LapicPage#DFR_CLUSTER}. */
    int logicalFormat();

    /** The number of lowest-priority messages received, counted only without vector hashing ({@code apic_arb_prio}). */
    default int arbitrationPriority() {
        return 0;
    }

    /** Whether a destination matches this LAPIC, regardless of others. {@link Destinations} defines {@code quirk}. */
    default boolean isFor(int destination, boolean logical, boolean quirk) {
        boolean everybody = isX2apic()
                ? destination == ApicMessage.X2APIC_BROADCAST || quirk && destination == ApicMessage.BROADCAST
                : destination == ApicMessage.BROADCAST;
        if (everybody) {
            return true;
        }
        if (!logical) {
            return id() == destination || vcpuId() > ApicMessage.BROADCAST && vcpuId() == destination;
        }
        int ldr = logicalId();
        if (isX2apic()) {
            return ldr >>> 16 == destination >>> 16 && (ldr & destination & 0xffff) != 0;
        }
        int own = (int) LapicPage.XAPIC_ID.of(Integer.toUnsignedLong(ldr));
        return switch (logicalFormat()) {
            case LapicPage.DFR_FLAT -> (own & destination) != 0;
            case LapicPage.DFR_CLUSTER -> own >>> 4 == destination >>> 4 && (own & destination & 0xf) != 0;
            default -> false;
        };
    }
}
