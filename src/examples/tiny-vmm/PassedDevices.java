/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.vfio.VfioDevice;
import java.io.PrintStream;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.function.Consumer;

/** Devices of the host on the guest's PCI bus, from slot 1 on, with an interrupt pin each. */
final class PassedDevices implements AutoCloseable {
    static final int MOST = 8;
    private static final int HELD_MILLIS = 20;

    private final List<PassedThroughDevice> devices = new ArrayList<>();
    private final List<Forwarding> forwardings = new ArrayList<>();
    private final HashSet<String> paths = new HashSet<>(); // printed
    private final Deque<Runnable> parts = new ArrayDeque<>(); // their ends, the last first

    /** @param end ends the machine */
    PassedDevices(Platform platform, GuestMemory memory, List<String> passed, PrintStream out, Consumer<String> end) {
        try {
            if (!passed.isEmpty()) {
                EventLoop loop = EventLoop.create(platform.vm.kernel());
                parts.push(loop::close);
                KvmVfio kvmVfio = KvmVfio.create(platform.vm);
                parts.push(kvmVfio::close);
                for (String address : passed) {
                    VfioDevice device = VfioDevice.open(platform.vm.kernel(), PciAddress.parse(address), kvmVfio);
                    parts.push(device::close);
                    Forwarding.Builder builder = Forwarding.builder(platform.vm, device);
                    platform.relay(loop).ifPresent(builder::userspace);
                    Forwarding forwarding = builder.build();
                    parts.push(forwarding::close);
                    forwardings.add(forwarding);
                    int number = devices.size();
                    Gsi pin = platform.pin(number);
                    devices.add(PassedThroughDevice.builder(platform.bus, 1 + number, platform.vm, device, forwarding)
                            .intx(pin)
                            .memory(memory)
                            .notices(loop, new Told(address, out, end))
                            .build());
                    parts.push(devices.get(number)::close);
                }
                Thread thread = new Thread(loop::run, "notices");
                thread.setDaemon(true);
                thread.start();
            }
        } catch (RuntimeException e) {
            close();
            throw e;
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

    /** Prints each new path of an interrupt: device and vector, GSI and mechanism, eventfd, message. */
    void print(PrintStream out) {
        forwardings.stream()
                .flatMap(forwarding -> forwarding.irqs().stream())
                .map(irq -> "tiny-vmm: " + irq + ", " + irq.event().id()
                        + irq.message().map(m -> ", " + m).orElse(""))
                .filter(paths::add)
                .forEach(out::println);
    }

    @Override
    public void close() {
        parts.forEach(Runnable::run);
    }
}
