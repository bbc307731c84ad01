/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.mirror.Posting;
import java.util.Optional;

/**
 * The path that one device interrupt took, triggered once.
 *
 * @param kind INTx, MSI or MSI-X
 * @param vector its number; 0 for INTx
 * @param event the eventfd that VFIO signalled
 * @param gsi the GSI that the irqfd raised
 * @param target the guest's name for it, such as {@code vector 0x30} or {@code LPI 8192}
 * @param arrived how often the guest took it, or whether it was seen pending. 1 is right
 * @param predicted whether hardware would deliver it to the guest if the device sent it
 */
public record ForwardAnswer(
        IrqKind kind,
        int vector,
        String event,
        Optional<Gsi> gsi,
        String target,
        long arrived,
        Mechanism mechanism,
        Posting predicted) {
    public boolean passed() {
        return arrived == 1;
    }
}
