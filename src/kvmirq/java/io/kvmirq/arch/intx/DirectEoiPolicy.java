/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Facts that determine whether an interrupt can use direct EOI. For example, for a PCI device that shares its line with
 * one other device:
 *
 * <pre>{@code
 * DirectEoiPolicy.shared(1).assertSafe().decide();
 * }</pre>
 *
 * @param otherHandlers the number of other devices' handlers on the line
 */
public record DirectEoiPolicy(Set<Trait> traits, int otherHandlers) {
    /** A fact about the interrupt that {@link DirectEoiPolicy#decide} considers. */
    public enum Trait {
        /** The device is a platform device. Without this trait it is a PCI device, whose line can be shared. */
        PLATFORM_DEVICE,
        /** The interrupt is level-triggered. */
        LEVEL,
        /** The guest's EOI deactivates the physical interrupt, as with HW set in a list register. */
        EOI_DEACTIVATES,
        /** The line is requested as shareable ({@code IRQF_SHARED}). */
        SHAREABLE,
        /** The administrator asserts that the platform is safe, because no other device on the line matters. */
        ASSERTED_SAFE
    }

    /** @throws IllegalArgumentException if the number of handlers is negative */
    public DirectEoiPolicy {
        Objects.requireNonNull(traits, "traits is null");
        traits = Set.copyOf(traits);
        if (otherHandlers < 0) {
            throw new IllegalArgumentException(otherHandlers + " other handlers is out of range: expected 0 or more");
        }
    }

    /**
     * A PCI device's INTx on an exclusive line, with no other handler and not requested as shareable, as with
     * vfio-pci's {@code nointxmask=1}. The guest's EOI deactivates the physical interrupt.
     */
    public static DirectEoiPolicy exclusive() {
        return new DirectEoiPolicy(EnumSet.of(Trait.LEVEL, Trait.EOI_DEACTIVATES), 0);
    }

    /**
     * A PCI device's INTx on a shareable line with this number of other handlers, as vfio-pci requests it with DisINTx.
     * The guest's EOI deactivates the physical interrupt. Throws IllegalArgumentException if the number is negative.
     */
    public static DirectEoiPolicy shared(int otherHandlers) {
        return new DirectEoiPolicy(EnumSet.of(Trait.LEVEL, Trait.EOI_DEACTIVATES, Trait.SHAREABLE), otherHandlers);
    }

    private DirectEoiPolicy with(Trait trait, boolean holds) {
        Set<Trait> changed = new HashSet<>(traits);
        if (holds) {
            changed.add(trait);
        } else {
            changed.remove(trait);
        }
        return new DirectEoiPolicy(changed, otherHandlers);
    }

    /** Returns a copy with the administrator's assertion that the platform is safe. */
    public DirectEoiPolicy assertSafe() {
        return with(Trait.ASSERTED_SAFE, true);
    }

    /** Returns a copy in which the guest's EOI does or does not deactivate the physical interrupt. */
    public DirectEoiPolicy withDeactivatingEoi(boolean deactivates) {
        return with(Trait.EOI_DEACTIVATES, deactivates);
    }

    /** Returns a copy for a PCI device's INTx, which is level-triggered. */
    public DirectEoiPolicy ofPciDevice() {
        return with(Trait.PLATFORM_DEVICE, false).with(Trait.LEVEL, true);
    }

    /** Returns a copy for a platform device's interrupt, which vfio-platform never requests as shareable. */
    public DirectEoiPolicy ofPlatformDevice(boolean isLevel) {
        return with(Trait.PLATFORM_DEVICE, true).with(Trait.LEVEL, isLevel).with(Trait.SHAREABLE, false);
    }

    /**
     * Allows or refuses direct EOI. The administrator's assertion overrides only {@link NotDirect#SHARED} and {@link
     * NotDirect#SHAREABLE}. It does not override {@link NotDirect#REFUSED}, where Linux refuses the line, or the
     * hardware's reasons.
     */
    public DirectEoiDecision decide() {
        List<NotDirect> reasons = Stream.of(NotDirect.values())
                .filter(reason -> reason.holds(this))
                .toList();
        if (reasons.isEmpty()) {
            return new DirectEoiDecision.Allowed(breaks());
        }
        boolean outweighed =
                traits.contains(Trait.ASSERTED_SAFE) && reasons.stream().allMatch(NotDirect::isOutweighed);
        return outweighed
                ? new DirectEoiDecision.AllowedByAssertion(reasons, breaks())
                : new DirectEoiDecision.Refused(reasons);
    }

    private List<Breakage> breaks() {
        List<Breakage> all = new ArrayList<>();
        if (traits.contains(Trait.SHAREABLE)) {
            all.add(Breakage.OTHERS_WAIT);
        } else if (!traits.contains(Trait.PLATFORM_DEVICE)) {
            all.add(Breakage.TWO_VMS);
            all.add(Breakage.LATER_REBOOT);
            all.add(Breakage.TWO_DEVICES);
        }
        all.add(Breakage.VM_GONE);
        return List.copyOf(all);
    }
}
