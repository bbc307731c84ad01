/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;

/** {@code main}: closes a VM whose LAPIC has a request, and then reads the sentence about it. */
final class EndedMessageUser {
    private EndedMessageUser() {}

    public static void main(String[] arguments) {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.x86().createIrqchip();
            Gsi gsi = vm.routes().add(MsiMessage.to(new VcpuId(0), new InterruptVector(0x41)));
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
                vcpu.x86().enableLapic();
                irqfd.event().signal();
            }
        }
        System.out.println("closed");
        System.out.println(fake.messages().ended());
    }
}
