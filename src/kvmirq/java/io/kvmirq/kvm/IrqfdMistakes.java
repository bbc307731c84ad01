/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.explain.Condition;
import java.util.List;

/** Warns about irqfd mistakes that the kernel accepts. */
record IrqfdMistakes(VmCalls vm, RouteTable routes) {
    void ofNoRoute(List<Gsi> gsis) {
        if (vm.has(Condition.OWN)) {
            for (Gsi gsi : routes.unrouted(gsis)) {
                vm.warnOnce(
                        "an irqfd of " + vm.vm() + " is on " + gsi,
                        ", which has no route, so its signals are lost forever: route the GSI first");
            }
        }
    }

    void of(Gsi gsi, boolean level) {
        ofNoRoute(List.of(gsi));
        if (level) {
            ofUnseenEnd(gsi);
        } else {
            ofIllegalVector(gsi);
        }
    }

    /** Not an error, because the message may come from the guest. */
    private void ofIllegalVector(Gsi gsi) {
        if (vm.has(Condition.SPLIT_IRQCHIP) || vm.has(Condition.FULL_IRQCHIP)) {
            for (Route route : routes.of(gsi)) {
                if (route instanceof Route.Msi msi && msi.message().hasIllegalVector()) {
                    vm.warnOnce(
                            "an irqfd of " + vm.vm() + " is on " + gsi + ", which raises " + msi.message(),
                            ", whose vector is below 16: a LAPIC reports an error and delivers nothing; devices use"
                                    + " vectors 32 to 255");
                }
            }
        }
    }

    private void ofUnseenEnd(Gsi gsi) {
        if (routes.of(gsi).stream().anyMatch(Route.Msi.class::isInstance)) {
            vm.warnOnce(
                    "a level irqfd of " + vm.vm() + " is on " + gsi,
                    ", which raises a message, whose EOI KVM does not see, so its resample eventfd is never signalled"
                            + ": route the GSI to a pin");
        }
    }
}
