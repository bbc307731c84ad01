/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;
import java.util.Optional;

/**
 * A vCPU's phase (whether its thread in this process is in KVM_RUN), and its LAPIC ids if a sample was requested. A
 * {@link Mirror} reads the phase at each query and before each event, so the vCPU thread never waits for the mirror.
 * Two {@code VcpuPhase} objects for one vCPU are equal. Thread-safe. No method waits or allocates.
 */
@NotPromised
public interface VcpuPhase {
    /** The current phase's number. Each entry to KVM_RUN and each return from it begins a new phase. */
    long number();

    /** Whether the vCPU's thread is in KVM_RUN in phase {@code number}, or is about to enter KVM_RUN. */
    boolean isInRun(long number);

    /** Whether phase {@code number} began with a return from KVM_RUN. If not, the vCPU may never have run. */
    boolean hasRun(long number);

    /** Whether phase {@code number} began with an exit that shows that KVM had entered the guest. */
    default boolean hasEntered(long number) {
        return false;
    }

    /**
     * Requests a LAPIC sample at the next return from KVM_RUN. A mirror calls this at each query while the VM has a
     * message with a logical destination.
     */
    default void askForLapic() {}

    /** The last LAPIC sample, the same object until the next sample. */
    default Optional<LapicSample> lapic() {
        return Optional.empty();
    }

    /** Whether the sample {@link #lapic} is current in phase {@code number}. In KVM_RUN, the guest can change ids. */
    default boolean hasLapicOf(long number) {
        return false;
    }
}
