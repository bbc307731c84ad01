/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * What decides whether a level-triggered interrupt of a device may have direct EOI: {@link #decide}. For a PCI device that
 * has its line for itself:
 *
 * <pre>{@code
 * new DirectEoiPolicy(
 *         false, // no platform device
 *         true, // level-triggered
 *         true, // HW is 1: the guest's EOI deactivates the physical interrupt
 *         0, // no other handler
 *         false, // requested exclusively
 *         false) // nothing is asserted
 *     .decide();
 * }</pre>
 *
 * @param platformDevice whether it is a platform device; otherwise it is a PCI device, whose line other devices may share
 * @param level whether the interrupt is level-triggered
 * @param mappedEoi whether the guest's EOI deactivates the physical interrupt, as with a list register that has HW set
 * @param otherHandlers how many other handlers have the line
 * @param shareable whether the line is requested such that others may share it ({@code IRQF_SHARED})
 * @param assertedSafe whether the administrator asserts that the platform is safe: no other device on the line matters
 */
public record DirectEoiPolicy(
        boolean platformDevice,
        boolean level,
        boolean mappedEoi,
        int otherHandlers,
        boolean shareable,
        boolean assertedSafe) {
    /** @throws IllegalArgumentException if the number of handlers is negative */
    public DirectEoiPolicy {
        if (otherHandlers < 0) {
            throw new IllegalArgumentException(otherHandlers + " other handlers cannot be: expected 0 or more");
        }
    }

    /**
     * Decides. An assertion outweighs {@link NotDirect#SHARED} and {@link NotDirect#SHAREABLE}, no reason of the hardware,
     * and not {@link NotDirect#REFUSED}, since Linux refuses the request.
     */
    public DirectEoiDecision decide() {
        List<NotDirect> reasons = Stream.of(NotDirect.values())
                .filter(reason -> reason.holds(this))
                .toList();
        if (reasons.isEmpty()) {
            return new DirectEoiDecision.Allowed(breaks());
        }
        boolean outweighed = assertedSafe && reasons.stream().allMatch(NotDirect::isOutweighed);
        return outweighed
                ? new DirectEoiDecision.AllowedByAssertion(reasons, breaks())
                : new DirectEoiDecision.Refused(reasons);
    }

    private List<Breakage> breaks() {
        List<Breakage> all = new ArrayList<>();
        if (shareable) {
            all.add(Breakage.OTHERS_WAIT);
        }
        if (!shareable && !platformDevice) {
            all.add(Breakage.TWO_VMS);
            all.add(Breakage.LATER_REBOOT);
            all.add(Breakage.TWO_DEVICES);
        }
        all.add(Breakage.VM_GONE);
        return List.copyOf(all);
    }
}
