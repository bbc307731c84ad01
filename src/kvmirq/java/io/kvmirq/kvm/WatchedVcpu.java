/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import java.time.Instant;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A {@link Vcpu}'s state that other threads may read while it runs: whether its thread is in KVM_RUN and, after {@link
 * #askForLapic}, its LAPIC registers. Only {@link Vcpu#run} counts as KVM_RUN, not an ioctl on {@link Vcpu#fd}. KVM
 * also loads the vCPU on a CPU for every other call, such as {@link X86Vcpu#registers}, but this class does not track
 * that. Thread-safe. No method waits or allocates.
 */
@NotPromised
public final class WatchedVcpu {
    /** Bits 1:0 of a phase number in KVM_RUN. The bits above count the runs. */
    private static final long IN_RUN = 1;
    /** Outside of KVM_RUN, before the first run or after a failed one. */
    private static final long NOT_RUN = 2;
    /** Outside of KVM_RUN, after a run that did not fail. */
    private static final long HAS_RUN = 0;
    /** As in {@link #HAS_RUN}, and KVM is known to have entered the guest. */
    private static final long HAS_ENTERED = 3;

    private static final long KIND = 3;

    private final VcpuId id;
    /** Written by the vCPU thread, with opaque stores. */
    private final AtomicLong phase = new AtomicLong(NOT_RUN);

    /** Set by any thread and cleared by the vCPU thread, with opaque stores. */
    private final AtomicBoolean asked = new AtomicBoolean();

    private volatile Optional<Lapic> lapic = Optional.empty();
    /** The phase outside of KVM_RUN in which the LAPIC has the registers of {@link #lapic}. */
    private volatile long lapicPhase = -1;
    /** Whether the run that is ending has read the LAPIC. Used by the vCPU thread only. */
    private boolean read;

    /** Called after the VMM has changed the LAPIC. */
    private volatile Runnable lapicListener = () -> {};

    /**
     * The registers that determine whether an x86 LAPIC accepts a message.
     *
     * @param apicBase IA32_APIC_BASE: bit 11 is 1 if the LAPIC is on, bit 10 is 1 in x2APIC mode
     * @param id ID, the APIC id
     * @param logicalId LDR, the logical id
     * @param logicalFormat DFR, the flat or the cluster model
     * @param spurious SVR; bit 8 enables the LAPIC
     * @param taken the time at which the registers were read
     */
    public record Lapic(long apicBase, int id, int logicalId, int logicalFormat, int spurious, Instant taken) {
        public Lapic {
            Objects.requireNonNull(taken, "taken is null");
        }
    }

    WatchedVcpu(VcpuId id) {
        this.id = id;
    }

    /** The vCPU's id in its VM. */
    public VcpuId id() {
        return id;
    }

    /**
     * The current phase's number. A phase is one KVM_RUN or the time between two. The number changes before KVM_RUN
     * loads the vCPU and after it returns, and is never reused.
     */
    public long phase() {
        return phase.getOpaque();
    }

    /** Whether the vCPU thread is in KVM_RUN, or about to enter it, in this phase. */
    public static boolean isInRun(long phase) {
        return (phase & KIND) == IN_RUN;
    }

    /** Whether a successful KVM_RUN came just before this phase; false before the vCPU's first run. */
    public static boolean hasRun(long phase) {
        return (phase & KIND) == HAS_RUN || hasEntered(phase);
    }

    /** Whether KVM entered the guest in the KVM_RUN just before this phase, as its exit reason shows. */
    public static boolean hasEntered(long phase) {
        return (phase & KIND) == HAS_ENTERED;
    }

    /**
     * Requests the LAPIC registers. The vCPU thread reads them once, by KVM_GET_LAPIC at the next return from {@link
     * Vcpu#run}, which takes about a microsecond. Without an in-kernel LAPIC, {@link #lapic} stays empty.
     */
    public void askForLapic() {
        if (!isAsked()) {
            asked.setOpaque(true);
        }
    }

    /** The LAPIC registers that this process last read or set; each read or set makes a new object. */
    public Optional<Lapic> lapic() {
        return lapic;
    }

    /**
     * Whether {@link #lapic} is still current in this phase. False during KVM_RUN, because the guest may change the
     * registers. Changes made by ioctls on {@link Vcpu#fd} are missed.
     */
    public boolean hasLapicOf(long phase) {
        return lapicPhase == phase;
    }

    // The thread of the vCPU

    boolean isAsked() {
        return asked.getOpaque();
    }

    /** @param read empty if the vCPU has no LAPIC in the kernel */
    void answer(Optional<Lapic> read) {
        asked.setOpaque(false);
        if (read.isPresent()) {
            lapic = read;
            this.read = true;
        }
    }

    void setLapicListener(Runnable listener) {
        lapicListener = listener;
    }

    /** Records that the VMM has set these LAPIC registers. */
    void set(Lapic registers) {
        lapic = Optional.of(registers);
        lapicPhase = phase.getPlain();
        lapicListener.run();
    }

    /** Records that the VMM has changed the LAPIC by another call. */
    void forgetLapic() {
        if (lapicPhase != -1) {
            lapicPhase = -1;
            lapicListener.run();
        }
    }

    /** Begins a run's phase. A full fence must follow, or other threads may see an earlier phase during KVM_RUN. */
    void enters() {
        phase.setOpaque((phase.getPlain() | KIND) + 1 + IN_RUN);
    }

    /**
     * @param returned whether KVM_RUN returned without an error
     * @param entered whether its exit shows that KVM has entered the guest
     */
    void leaves(boolean returned, boolean entered) {
        long now = (phase.getPlain() & ~KIND) + (!returned ? NOT_RUN : entered ? HAS_ENTERED : HAS_RUN);
        if (read) {
            read = false;
            lapicPhase = now;
        }
        phase.setOpaque(now);
    }

    @Override
    public String toString() {
        return id.toString();
    }
}
