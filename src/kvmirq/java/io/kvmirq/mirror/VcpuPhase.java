/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;
import java.util.Optional;

/**
 * The phase of a vCPU that this process runs: in KVM_RUN, or outside; and its LAPIC, when it was asked for. A {@link Mirror} reads it at each look and before
 * each event, so that its thread never waits for a mirror. Two objects for one vCPU are equal. Thread-safe; the methods
 * do not wait and do not allocate.
 */
@NotPromised
public interface VcpuPhase {
    /** The number of the phase now. Each entry to KVM_RUN and each return makes a new number, never one that was. */
    long number();

    /** Whether the thread is in KVM_RUN during this phase, or about to enter it. */
    boolean isInRun(long number);

    /** Whether this phase began with a return from KVM_RUN; else the kernel may not have touched the vCPU. */
    boolean hasRun(long number);

    /** Has the LAPIC read at the next return from KVM_RUN: at each look while the VM has a logical message. */
    default void askForLapic() {}

    /** The last sample of the LAPIC, the same object until there is a new one. */
    default Optional<LapicSample> lapic() {
        return Optional.empty();
    }
}
