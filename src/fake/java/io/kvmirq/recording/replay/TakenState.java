/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.uapi.Uapi;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The state that a replay takes from a tape, after a guest that did not run here has changed it. */
final class TakenState {
    private TakenState() {}

    /** The request that sets what another gets. */
    private static final Map<Long, Long> SETTERS = Map.ofEntries(
            Map.entry(Uapi.KVM_GET_REGS, Uapi.KVM_SET_REGS),
            Map.entry(Uapi.KVM_GET_SREGS, Uapi.KVM_SET_SREGS),
            Map.entry(Uapi.KVM_GET_SREGS2, Uapi.KVM_SET_SREGS2),
            Map.entry(Uapi.KVM_GET_FPU, Uapi.KVM_SET_FPU),
            Map.entry(Uapi.KVM_GET_XSAVE, Uapi.KVM_SET_XSAVE),
            Map.entry(Uapi.KVM_GET_XSAVE2, Uapi.KVM_SET_XSAVE),
            Map.entry(Uapi.KVM_GET_XCRS, Uapi.KVM_SET_XCRS),
            Map.entry(Uapi.KVM_GET_MSRS, Uapi.KVM_SET_MSRS),
            Map.entry(Uapi.KVM_GET_DEBUGREGS, Uapi.KVM_SET_DEBUGREGS),
            Map.entry(Uapi.KVM_GET_VCPU_EVENTS, Uapi.KVM_SET_VCPU_EVENTS),
            Map.entry(Uapi.KVM_GET_LAPIC, Uapi.KVM_SET_LAPIC),
            Map.entry(Uapi.KVM_GET_MP_STATE, Uapi.KVM_SET_MP_STATE),
            Map.entry(Uapi.KVM_GET_IRQCHIP, Uapi.KVM_SET_IRQCHIP),
            Map.entry(Uapi.KVM_GET_PIT2, Uapi.KVM_SET_PIT2));

    /** Null for state that is not taken. */
    static @Nullable Long setter(long getter) {
        return SETTERS.get(getter);
    }
}
