/* SPDX-License-Identifier: Apache-2.0 */
package com.example;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/** The interrupts of a VM: those of emulated devices, and those of devices that are passed through. */
final class SmallVmm implements AutoCloseable {
    private final Vm vm;
    /** The steps to undo, the last first. */
    private final Deque<Runnable> undo = new ArrayDeque<>();

    SmallVmm(Vm vm) {
        this.vm = vm;
    }

    /** The eventfd of an emulated device, which raises a vector of a vCPU. */
    EventFd eventFor(int vcpu, InterruptVector vector) {
        MaskableVector made = MaskableVector.create(vm, MsiMessage.to(new VcpuId(vcpu), vector));
        undo.push(made::close);
        return made.event();
    }

    /** An emulated device's interrupt that the guest can mask. */
    MaskableIrq irq(int vcpu, InterruptVector vector) {
        return new MaskableIrq(eventFor(vcpu, vector));
    }

    /** Passes the first MSI-X vectors of a device on to a vCPU, as vectors from {@code first} on. */
    List<ForwardedIrq> pass(VfioDevice device, int count, int vcpu, InterruptVector first) {
        Forwarding forwarding = Forwarding.create(vm, device);
        undo.push(forwarding::close);
        return forwarding.forwardAll(
                device.msix(0, count), i -> MsiMessage.to(new VcpuId(vcpu), new InterruptVector(first.number() + i)));
    }

    /** Undoes the rest too if a part fails. */
    @Override
    public void close() {
        try {
            if (!undo.isEmpty()) {
                undo.pop().run();
            }
        } finally {
            if (!undo.isEmpty()) {
                close();
            }
        }
    }
}
