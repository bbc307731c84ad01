/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.VcpuId;
import java.util.concurrent.atomic.AtomicLong;

/**
 * What other threads may see of a {@link Vcpu} while its thread runs it: whether the thread is in KVM_RUN. Only {@link
 * Vcpu#run} counts: KVM_RUN by another way, such as {@link Vcpu#fd}, is not seen. So is no other call on the vCPU, which
 * KVM loads for the time of the call. Thread-safe; the methods neither wait nor allocate.
 */
public final class WatchedVcpu {
    /** Bits 1:0 of a phase's number, in KVM_RUN. The bits above count the runs. */
    private static final long IN_RUN = 1;
    /** Outside, and no run has completed, or the last one failed. */
    private static final long NOT_RUN = 2;
    /** Outside, and KVM_RUN has returned. */
    private static final long HAS_RUN = 0;

    private static final long KIND = 3;

    private final VcpuId id;
    /** Written by the vCPU's thread, by opaque stores. */
    private final AtomicLong phase = new AtomicLong(NOT_RUN);

    WatchedVcpu(VcpuId id) {
        this.id = id;
    }

    /** The id in its VM. */
    public VcpuId id() {
        return id;
    }

    /**
     * The number of the phase now. It changes before KVM_RUN loads the vCPU, and after KVM_RUN has returned. No number
     * comes twice.
     */
    public long phase() {
        return phase.getOpaque();
    }

    /** Whether the thread is in KVM_RUN during this phase, or about to enter it. */
    public static boolean isInRun(long phase) {
        return (phase & KIND) == IN_RUN;
    }

    /** Whether this phase began with a return from KVM_RUN. Otherwise the vCPU has not run, or its run failed. */
    public static boolean hasRun(long phase) {
        return (phase & KIND) == HAS_RUN;
    }

    // The thread of the vCPU

    /** Before KVM_RUN. A full fence must follow, so that no other thread sees an earlier phase while KVM runs the vCPU. */
    void enters() {
        phase.setOpaque((phase.getPlain() | KIND) + 1 + IN_RUN);
    }

    /** @param returned whether KVM_RUN returned without an error */
    void leaves(boolean returned) {
        phase.setOpaque((phase.getPlain() & ~KIND) + (returned ? HAS_RUN : NOT_RUN));
    }

    @Override
    public String toString() {
        return id.toString();
    }
}
