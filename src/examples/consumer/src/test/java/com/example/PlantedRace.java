/* SPDX-License-Identifier: Apache-2.0 */
package com.example;

import static io.kvmirq.junit.KvmAssertions.*;

import io.kvmirq.junit.*;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;

/**
 * This test fails: {@code @Interleavings} finds the race of {@link HastyIrq}. Surefire runs it only by its name, which
 * does not end with Test.
 */
class PlantedRace {
    /** It first sends what is pending: an interrupt that comes before the mask is cleared stays for ever. */
    private static final class HastyIrq extends MaskableIrq {
        HastyIrq(EventFd event) {
            super(event);
        }

        @Override
        void beginUnmask() {
            sendPending();
        }

        @Override
        void endUnmask() {
            clearMask();
        }
    }

    @Interleavings
    void unmaskLosesNothing(Actors actors, KvmHost host, Vm vm) {
        SmallVmm vmm = actors.closing(new SmallVmm(vm));
        SmallVmmTest.unmask(actors, host, new HastyIrq(vmm.eventFor(0, vector(0x33))));
    }
}
