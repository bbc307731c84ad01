/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.model.ApicMessage;
import java.time.Instant;
import java.util.Objects;

/**
 * A LAPIC's ids, as the guest wrote them, read at one moment. Immutable.
 *
 * @param mode the LAPIC mode, from IA32_APIC_BASE
 * @param id the APIC id, 0–255, or up to {@link VcpuId#MAX} in x2APIC mode
 * @param enabled whether the guest has enabled the LAPIC (SVR bit 8)
 * @param logicalId LDR, whose bits 31:24 are the logical id in xAPIC mode. Unused in x2APIC mode, where the APIC id
 *     determines the logical id
 * @param logicalFormat DFR, used only in xAPIC mode; all ones for the flat model
 * @param taken the time at which the registers were read
 */
@NotPromised
public record LapicSample(Mode mode, int id, boolean enabled, int logicalId, int logicalFormat, Instant taken) {
    public LapicSample {
        Objects.requireNonNull(mode, "mode is null");
        Objects.requireNonNull(taken, "taken is null");
        int max = mode == Mode.X2APIC ? VcpuId.MAX : ApicMessage.BROADCAST;
        if (id < 0 || id > max) {
            throw new IllegalArgumentException("APIC id " + id + " of a LAPIC in mode " + mode
                    + " is out of range: expected 0-" + max + ". LapicSample.of decodes the registers");
        }
    }

    /** A LAPIC's mode, IA32_APIC_BASE bits 11:10. */
    public enum Mode {
        /** The LAPIC is off. */
        OFF,
        /** The LAPIC is in xAPIC mode, with 8-bit APIC ids. */
        XAPIC,
        /** The LAPIC is in x2APIC mode, with 32-bit APIC ids. */
        X2APIC
    }

    private static final BitField ON = new BitField("apic_on", 11, 1);
    private static final BitField X2APIC = new BitField("x2apic", 10, 1);

    /**
     * Decodes LAPIC registers as KVM returns them. In x2APIC mode the APIC id is the vCPU id.
     *
     * @param apicBase IA32_APIC_BASE, from {@code struct kvm_run} or KVM_GET_SREGS
     * @param id ID from KVM_GET_LAPIC
     * @param logicalId LDR from KVM_GET_LAPIC, the logical id
     * @param logicalFormat DFR from KVM_GET_LAPIC, the flat or the cluster model
     * @param spurious SVR from KVM_GET_LAPIC, whose bit 8 enables the LAPIC
     */
    public static LapicSample of(
            VcpuId vcpu, long apicBase, int id, int logicalId, int logicalFormat, int spurious, Instant taken) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        Objects.requireNonNull(taken, "taken is null");
        Mode mode = !ON.isSet(apicBase) ? Mode.OFF : X2APIC.isSet(apicBase) ? Mode.X2APIC : Mode.XAPIC;
        return new LapicSample(
                mode,
                mode == Mode.X2APIC ? vcpu.number() : (int) LapicPage.XAPIC_ID.of(Integer.toUnsignedLong(id)),
                LapicPage.ENABLED.isSet(spurious),
                logicalId,
                logicalFormat,
                taken);
    }

    /** Whether another sample has the same ids, even if taken at another time. */
    boolean agrees(LapicSample other) {
        return new LapicSample(mode, id, enabled, logicalId, logicalFormat, other.taken).equals(other);
    }
}
