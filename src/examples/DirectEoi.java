/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;

/** May a guest end the interrupts of a PCI device directly, on a line that the device has for itself, or shares? */
class DirectEoi {
    public static void main(String[] args) {
        tell("exclusive", policy(0, false, false));
        tell("shared", policy(1, true, false));
        tell("shared, asserted safe", policy(1, true, true));
    }

    static DirectEoiPolicy policy(int otherHandlers, boolean shareable, boolean assertedSafe) {
        boolean platformDevice = false;
        boolean level = true;
        boolean mappedEoi = true; // the guest's EOI deactivates the physical interrupt: HW is 1
        return new DirectEoiPolicy(platformDevice, level, mappedEoi, otherHandlers, shareable, assertedSafe);
    }

    static void tell(String line, DirectEoiPolicy policy) {
        DirectEoiDecision decision = policy.decide();
        if (decision instanceof DirectEoiDecision.Refused refused) {
            System.out.println(line + ": no, " + refused.reasons().stream().map(NotDirect::text).toList());
        } else if (decision instanceof DirectEoiDecision.Allowed allowed) {
            System.out.println(line + ": yes, but " + allowed.breaks().stream().map(Breakage::text).toList());
        } else if (decision instanceof DirectEoiDecision.AllowedByAssertion allowed) {
            System.out.println(line + ": yes, in spite of " + allowed.outweighed());
        }
    }
}
