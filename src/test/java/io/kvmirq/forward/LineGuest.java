/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;

/** A guest with one vCPU that takes a level-triggered line. */
interface LineGuest {
    Gsi PIN = new Gsi(11);

    /** A guest of the architecture of the profile. */
    static LineGuest of(FakeKernel fake, Kernel kernel, Undo made) {
        Vm vm = made.add(Vm.create(kernel));
        return vm.isArm64() ? new ArmLineGuest(fake, vm, made) : new X86LineGuest(fake, vm, made);
    }

    Vm vm();

    /**
     * Takes the interrupt of the line, if there is one, runs the handler and ends it. Returns whether there was one.
     */
    boolean take(Runnable handler);
}
