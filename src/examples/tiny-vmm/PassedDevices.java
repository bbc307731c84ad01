/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.vfio.VfioDevice;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/** Devices of the host on the guest's PCI bus, from slot 1 on, with an interrupt pin each from IOAPIC pin 16 on. */
final class PassedDevices implements AutoCloseable {
    static final int MOST = 8;
    private static final long HOLE = 0xc0000000L, HOLE_END = 0xfec00000L;
    private static final int FIRST_PIN = 16, HELD_MILLIS = 20;

    final PciHostBridge bus = new PciHostBridge(HOLE, HOLE_END - HOLE);
    private final List<PassedThroughDevice> devices = new ArrayList<>();
    private final Undo parts = new Undo();

    /** @param end ends the machine */
    PassedDevices(
            Vm vm, Chips chips, GuestMemory memory, List<String> addresses, PrintStream out, Consumer<String> end) {
        try (Undo undo = new Undo()) {
            if (!addresses.isEmpty()) {
                EventLoop loop = undo.add(EventLoop.create(vm.kernel()));
                KvmVfio kvmVfio = undo.add(KvmVfio.create(vm));
                for (String address : addresses) {
                    VfioDevice device = undo.add(VfioDevice.open(vm.kernel(), PciAddress.parse(address), kvmVfio));
                    Forwarding.Builder forwarding = Forwarding.builder(vm, device);
                    chips.relay(loop).ifPresent(forwarding::userspace);
                    int number = devices.size();
                    Gsi pin = new Gsi(FIRST_PIN + number);
                    devices.add(undo.add(
                            PassedThroughDevice.builder(bus, 1 + number, vm, device, undo.add(forwarding.build()))
                                    .intx(pin)
                                    .memory(memory)
                                    .notices(loop, new Told(address, out, end))
                                    .build()));
                    chips.atEnd(pin, devices.get(number)::endOfInterrupt);
                }
                Thread thread = new Thread(loop::run, "notices");
                thread.setDaemon(true);
                thread.start();
            }
            undo.moveTo(parts);
        }
    }

    /** Messages of the devices. */
    private record Told(String device, PrintStream out, Consumer<String> end) implements PassedThroughDevice.Notices {
        @Override
        public void warned(String sentence) {
            out.println("tiny-vmm: " + sentence);
        }

        @Override
        public void failed() {
            end.accept(device + " reports an error that it cannot correct");
        }

        @Override
        public void askedBack() {
            end.accept("the host wants " + device + " back");
        }
    }

    /** Holds all interrupts back for a moment, while the guest runs. */
    void hold() throws InterruptedException {
        devices.forEach(PassedThroughDevice::hold);
        Thread.sleep(HELD_MILLIS);
        devices.forEach(PassedThroughDevice::release);
    }

    @Override
    public void close() {
        parts.close();
    }
}
