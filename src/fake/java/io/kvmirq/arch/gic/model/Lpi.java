/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.util.Optional;
import java.util.OptionalInt;

final class Lpi {
    int references;
    OptionalInt vcpu = OptionalInt.empty();
    boolean enabled;
    int priority;
    boolean pending;
    /** The vCPU whose list has the LPI and so keeps it; a vLPI stays there until the vCPU exits from the guest. */
    OptionalInt list = OptionalInt.empty();
    /** Present for a vLPI. */
    Optional<Vlpi> vlpi = Optional.empty();

    /** {@code vgic_queue_irq_unlock()}. */
    void queue(boolean delivers) {
        if (list.isEmpty() && pending && delivers && enabled) {
            list = vcpu;
        }
    }

    void go(int id, int to) {
        if (vlpi.isPresent() && vcpu.isPresent()) {
            vlpi.get().move(id, vcpu.getAsInt(), to, enabled);
        }
        vcpu = OptionalInt.of(to);
    }

    void endVlpi(int id) {
        if (vlpi.isPresent() && vcpu.isPresent()) {
            vlpi.get().unmap(vcpu.getAsInt(), id);
        }
        vlpi = Optional.empty();
    }

    /** Whether the LPI is pending as KVM sees it. KVM can read a vLPI since GICv4.1. */
    boolean isPendingForKvm(int id) {
        return vlpi.isPresent() && !vlpi.get().isReadable() ? pending : isPending(id);
    }

    boolean isPending(int id) {
        return vlpi.isPresent() && vcpu.isPresent() ? vlpi.get().isPending(vcpu.getAsInt(), id) : pending;
    }
}
