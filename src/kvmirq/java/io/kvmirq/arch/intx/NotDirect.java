/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import io.kvmirq.arch.intx.DirectEoiPolicy.Trait;
import java.util.function.Predicate;

/** Reasons against direct EOI, in the order in which {@link DirectEoiPolicy} checks them. */
public enum NotDirect {
    NOT_LEVEL(
            "the interrupt is not level-triggered, so the host ends it at once, and there is no EOI to wait for",
            false,
            policy -> !policy.traits().contains(Trait.LEVEL)),
    EOI_DOES_NOT_DEACTIVATE(
            "the guest's EOI does not deactivate the physical interrupt, so the line would fire again at once",
            false,
            policy -> !policy.traits().contains(Trait.EOI_DEACTIVATES)),
    REFUSED(
            "the line has handlers, so an exclusive request gets EBUSY",
            false,
            policy -> policy.otherHandlers() > 0 && !policy.traits().contains(Trait.SHAREABLE)),
    SHARED(
            "other handlers share the line, so their devices would wait for this guest's EOI",
            true,
            policy -> policy.otherHandlers() > 0 && policy.traits().contains(Trait.SHAREABLE)),
    SHAREABLE(
            "the line is requested as shareable, so a device that comes later would wait for this guest's EOI",
            true,
            policy -> policy.traits().contains(Trait.SHAREABLE));

    private final String text;
    private final boolean outweighed;

    @SuppressWarnings("ImmutableEnumChecker") // The predicates have no state.
    private final Predicate<DirectEoiPolicy> holds;

    NotDirect(String text, boolean outweighed, Predicate<DirectEoiPolicy> holds) {
        this.text = text;
        this.outweighed = outweighed;
        this.holds = holds;
    }

    /** The reason as a sentence. */
    public String text() {
        return text;
    }

    /** Whether the administrator's assertion that the platform is safe overrides this reason. */
    public boolean isOutweighed() {
        return outweighed;
    }

    boolean holds(DirectEoiPolicy policy) {
        return holds.test(policy);
    }
}
