/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;

/** On the fake, a program runs KVM's workers: a level interrupt raises its line only after its worker ran. */
class LateWorker {
    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
        Route.Pin pin = new Route.Pin(new Gsi(5), Route.Chip.IOAPIC, 5); // a default route
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel)) {
            vm.x86().createIrqchip();
            try (Irqfd irqfd = vm.assignLevelIrqfd(event, resample, pin.gsi())) {
                fake.holdWorkers(); // a worker injects a level interrupt
                event.signal();
                System.out.println(irqfd.gsi() + " is high: " + vm.x86().ioapic().isHigh(pin));
                fake.runWorkers();
                System.out.println(irqfd.gsi() + " is high: " + vm.x86().ioapic().isHigh(pin));
            }
        }
        System.out.println(fake.rulesUsed().size() + " rules of the fake were used");
    }
}
