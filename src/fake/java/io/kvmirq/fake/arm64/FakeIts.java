/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.model.EmulatedIts;
import io.kvmirq.arch.gic.model.Lpis;

/** An in-kernel ITS and its address. Source: arch/arm64/kvm/vgic/vgic-its.c. */
final class FakeIts {
    private final EmulatedIts service;
    private long base = VgicPlaces.NOWHERE;

    FakeIts(Lpis lpis) {
        this.service = new EmulatedIts(lpis);
    }

    EmulatedIts its() {
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
        return hasPlace() && Long.compareUnsigned(address - base, EmulatedIts.SIZE) < 0;
    }

    void setBase(long to) {
        base = to;
    }
}
