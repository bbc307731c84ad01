/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;

/** Wires an eventfd to a vCPU: each signal sets vector 0x31 in its LAPIC. */
class FirstInterrupt {
    public static void main(String[] args) {
        VcpuId first = new VcpuId(0);
        InterruptVector vector = new InterruptVector(0x31);
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel); // Vm.adopt takes a VM that your VMM created
                EventFd event = EventFd.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(first)) {
                vcpu.x86().enableLapic();
                Gsi gsi = vm.routes().add(MsiMessage.to(first, vector)); // route first, irqfd second
                try (Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
                    event.signal();
                    while (!vcpu.x86().isRequested(vector)) {
                        Thread.onSpinWait();
                    }
                    System.out.println(irqfd.gsi() + " raised " + vector + " on " + first);
                }
            }
        }
    }
}
