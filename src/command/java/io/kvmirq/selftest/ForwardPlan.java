/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.IrqKind;
import io.kvmirq.forward.Abi2014;
import java.util.Optional;

/**
 * The interrupts that a self-test forwards.
 *
 * @param device the name of the device
 * @param kind INTx, MSI or MSI-X
 * @param first the first vector; 0 for INTx
 * @param count how many vectors, 1 for INTx
 * @param inDevice how many of the kind the device has
 * @param atOnce how many are forwarded at the same time. The others follow in rounds, with the same interrupts of the
 *     guest
 * @param guestRuns whether a guest takes the interrupts. Otherwise they are seen pending in a VGIC
 * @param abi2014 what the kernel says of the forwarding that was proposed in 2014; empty without KVM-VFIO device. The
 *     test does not use it
 */
public record ForwardPlan(
        String device,
        IrqKind kind,
        int first,
        int count,
        int inDevice,
        int atOnce,
        boolean guestRuns,
        Optional<Abi2014.Probe> abi2014) {
    /** Rounds in which vectors are forwarded and given back. */
    public int rounds() {
        return (count + atOnce - 1) / atOnce;
    }
}
