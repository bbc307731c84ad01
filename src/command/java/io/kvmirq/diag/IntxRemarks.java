/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;
import io.kvmirq.host.HostFacts;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import java.util.List;
import java.util.stream.Collectors;

/** Remarks about INTx: the line has other users, and the guest's EOI ends it only through KVM and VFIO. */
final class IntxRemarks {
    private IntxRemarks() {}

    static List<String> of(HostFacts host, ArmedVector line) {
        int others = line.sharers().size();
        String sharers = others == 0
                ? "no other handler has " + line.irq()
                : line.irq() + " is shared with " + String.join(", ", line.sharers());
        // Only a controller such as the GIC ends the physical interrupt with the virtual one (HW=1).
        DirectEoiDecision decision = DirectEoiPolicy.shared(others)
                .withDeactivatingEoi(
                        host.interrupts().filter(all -> all.hasChip("GIC")).isPresent())
                .decide();
        return List.of(sharers, "direct EOI " + text(decision));
    }

    private static String text(DirectEoiDecision decision) {
        if (decision instanceof DirectEoiDecision.Refused refused) {
            return "would be refused: "
                    + refused.reasons().stream().map(NotDirect::text).collect(Collectors.joining("; "));
        }
        return "would be allowed";
    }
}
