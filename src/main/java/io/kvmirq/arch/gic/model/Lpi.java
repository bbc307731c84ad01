/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.util.Optional;
import java.util.OptionalInt;

/** An LPI. */
final class Lpi {
    int references;
    OptionalInt vcpu = OptionalInt.empty();
    boolean enabled;
    int priority;
    boolean pending;
    /** Whether Linux has it in the list of its vCPU; a vLPI is in none. */
    boolean queued;
    /** Present for a vLPI. */
    Optional<LpiForwarding> forwarding = Optional.empty();

    /** {@code vgic_queue_irq_unlock()}. */
    void queue(boolean delivers) {
        queued = pending && (queued || delivers && enabled && vcpu.isPresent());
    }

    void go(int id, int to) {
        if (forwarding.isPresent() && vcpu.isPresent()) {
            forwarding.get().move(id, vcpu.getAsInt(), to, enabled);
        }
        vcpu = OptionalInt.of(to);
    }

    void endForwarding(int id) {
        if (forwarding.isPresent() && vcpu.isPresent()) {
            forwarding.get().unmap(vcpu.getAsInt(), id);
        }
        forwarding = Optional.empty();
    }

    /** KVM can look at a vLPI from GICv4.1 on. */
    boolean isPendingForKvm(int id) {
        return forwarding.isPresent() && !forwarding.get().isReadable() ? pending : isPending(id);
    }

    boolean isPending(int id) {
        return forwarding.isPresent() && vcpu.isPresent() ? forwarding.get().isPending(vcpu.getAsInt(), id) : pending;
    }
}
