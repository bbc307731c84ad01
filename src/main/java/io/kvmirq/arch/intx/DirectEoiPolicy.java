/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * The facts of an interrupt that decide whether it may have direct EOI. For a PCI device that shares its line with one other:
 *
 * <pre>{@code
 * DirectEoiPolicy.shared(1).assertSafe().decide();
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
     * INTx of a PCI device that has its line for itself: its handler is the only one, and the line is not requested as
     * shareable, as with {@code nointxmask=1} of vfio-pci. The guest's EOI deactivates the physical interrupt.
     */
    public static DirectEoiPolicy exclusive() {
        return new DirectEoiPolicy(false, true, true, 0, false, false);
    }

    /**
     * INTx of a PCI device whose line is requested as shareable, as vfio-pci does if the device has DisINTx. The guest's
     * EOI deactivates the physical interrupt.
     *
     * @param otherHandlers how many other handlers have the line
     * @throws IllegalArgumentException if the number of handlers is negative
     */
    public static DirectEoiPolicy shared(int otherHandlers) {
        return new DirectEoiPolicy(false, true, true, otherHandlers, true, false);
    }

    /** The same, and the administrator asserts that the platform is safe. */
    public DirectEoiPolicy assertSafe() {
        return new DirectEoiPolicy(platformDevice, level, mappedEoi, otherHandlers, shareable, true);
    }

    /** The same, with or without a controller that maps the EOI. */
    public DirectEoiPolicy withMappedEoi(boolean mapped) {
        return new DirectEoiPolicy(platformDevice, level, mapped, otherHandlers, shareable, assertedSafe);
    }

    /** The same for INTx of a PCI device, which is a level. */
    public DirectEoiPolicy ofPciDevice() {
        return new DirectEoiPolicy(false, true, mappedEoi, otherHandlers, shareable, assertedSafe);
    }

    /** The same for an interrupt of a platform device, which vfio-platform never requests as shareable. */
    public DirectEoiPolicy ofPlatformDevice(boolean isLevel) {
        return new DirectEoiPolicy(true, isLevel, mappedEoi, otherHandlers, false, assertedSafe);
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
