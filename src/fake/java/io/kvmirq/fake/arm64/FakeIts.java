/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.model.Its;
import io.kvmirq.explain.Answer;
import java.util.Optional;

/** An in-kernel ITS and its address. Source: arch/arm64/kvm/vgic/vgic-its.c. */
final class FakeIts {
    private final ArmVm vm;
    private final Its service;
    private long base = VgicPlaces.NOWHERE;

    FakeIts(ArmVm vm) {
        this.vm = vm;
        this.service = new Its(vm.lpis());
    }

    Its its() {
        return service;
    }

    long base() {
        return base;
    }

    boolean hasPlace() {
        return base != VgicPlaces.NOWHERE;
    }

    /** Whether an address belongs to the ITS; each of its addresses works as a doorbell. */
    boolean isAt(long address) {
        return hasPlace() && Long.compareUnsigned(address - base, Its.SIZE) < 0;
    }

    /** @return the rule that refuses a base address; empty for none. Two ITSs may have the same address */
    Optional<Answer> place(long to) {
        Optional<Answer> refused = VgicPlaces.check(vm, base, to, Its.SIZE);
        if (refused.isEmpty()) {
            base = to;
        }
        return refused;
    }
}
