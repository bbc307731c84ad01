/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.MsiMessage;
import java.util.Objects;
import java.util.Optional;

/**
 * A VM's irqfd, as KVM has it. Immutable.
 *
 * @param thread the thread that made the VM; its process may have others
 * @param producer the host irq that KVM has paired it with; empty if it is not paired
 * @param message the message that the irqfd keeps a copy of; empty if its GSI has no route, or another one
 * @param route the message in the VM's routing table; empty as above
 * @param routes the number of routes of its GSI
 * @param resamples whether an EOI signals an eventfd: the GSI is level-triggered
 */
public record KernelIrqfd(
        int thread,
        EventFdId eventfd,
        Gsi gsi,
        Optional<HostIrq> producer,
        Optional<MsiMessage> message,
        Optional<MsiMessage> route,
        int routes,
        boolean resamples) {
    private static final int VECTOR = 0xff;

    public KernelIrqfd {
        Objects.requireNonNull(eventfd, "eventfd is null");
        Objects.requireNonNull(gsi, "gsi is null");
        Objects.requireNonNull(producer, "producer is null");
        Objects.requireNonNull(message, "message is null");
        Objects.requireNonNull(route, "route is null");
    }

    /** The vector of its message (x86). */
    public Optional<Integer> vector() {
        return message.map(message -> message.data() & VECTOR);
    }
}
