/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.fake.rules.KernelRule;
import java.util.Optional;

/**
 * An ITS in the kernel, which only a guest turns on, so never here; source: arch/arm64/kvm/vgic/vgic-its.c.
 */
final class FakeIts {
    private static final long SIZE = 0x2_0000;

    private final ArmVm vm;
    private long base = VgicPlaces.NOWHERE;

    FakeIts(ArmVm vm) {
        this.vm = vm;
    }

    long base() {
        return base;
    }

    boolean hasPlace() {
        return base != VgicPlaces.NOWHERE;
    }

    /** Any address of it will do as a doorbell. */
    boolean isAt(long address) {
        return hasPlace() && Long.compareUnsigned(address - base, SIZE) < 0;
    }

    /** @return the rule that refuses it there; two ITSs may be in one place */
    Optional<KernelRule> place(long to) {
        Optional<KernelRule> refused = VgicPlaces.check(vm, base, to, SIZE);
        if (refused.isEmpty()) {
            base = to;
        }
        return refused;
    }
}
