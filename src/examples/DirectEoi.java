/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;

/** May a guest end the interrupts of a PCI device directly, on a line that the device has for itself, or shares? */
class DirectEoi {
    public static void main(String[] args) {
        tell("exclusive", DirectEoiPolicy.exclusive());
        tell("shared", DirectEoiPolicy.shared(1)); // with one other handler
        tell("shared, asserted safe", DirectEoiPolicy.shared(1).assertSafe());
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
