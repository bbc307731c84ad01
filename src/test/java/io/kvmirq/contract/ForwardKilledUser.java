/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;

import io.kvmirq.Gsi;
import io.kvmirq.fake.Faults;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.MessageGuest;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.Program;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;

/**
 * {@code main}: a process that forwards two devices and changes that at random, until it kills itself by SIGKILL before
 * a kernel call of the library.
 */
final class ForwardKilledUser {
    static final int VECTORS = 5;
    static final int PIN = 10;

    private ForwardKilledUser() {}

    private static void die() {
        try {
            Program.signal("KILL", ProcessHandle.current().pid());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
        while (true) {
            LockSupport.park();
        }
    }

    /** @param arguments a seed, and the number of the call, counted from the first one of the library */
    public static void main(String[] arguments) {
        Random random = new Random(Long.parseLong(arguments[0]));
        VfioWorld vfio = VfioWorld.all().findFirst().orElseThrow();
        Faults faults = new Faults();
        Undo made = new Undo();
        Kernel kernel = made.add(Kernel.over(faults.over(vfio.kernel())));
        MessageGuest guest = MessageGuest.of(kernel, vfio.kernel().libc(), GuestIts.EVENTS / 2, made);
        faults.delay(Faults.ANY, Integer.parseInt(arguments[1]), ForwardKilledUser::die);
        KvmVfio kvmVfio = made.add(KvmVfio.create(guest.vm));
        VfioDevice nic = made.add(VfioDevice.open(kernel, vfio.address(E1000E), kvmVfio));
        VfioDevice edu = made.add(VfioDevice.open(kernel, vfio.address(EDU), kvmVfio));
        edu.config().enableMemory();
        edu.config().enableBusMaster();
        Hardware hardware = vfio.hardwareOf(EDU, Numbers.of(edu.fd()));
        while (true) {
            try (Forwarding messages = Forwarding.create(guest.vm, nic);
                    Forwarding line = Forwarding.create(guest.vm, edu)) {
                List<ForwardedIrq> irqs = messages.forwardAll(nic.msix(0, VECTORS), guest::message);
                ForwardedIrq pin = line.forward(edu.intx(), new Gsi(PIN));
                hardware.request();
                for (int i = 0; i < 10; i++) {
                    ForwardedIrq irq = irqs.get(random.nextInt(VECTORS));
                    switch (random.nextInt(5)) {
                        case 0 -> irq.mask();
                        case 1 -> irq.unmask();
                        case 2 -> pin.mask();
                        case 3 -> pin.unmask();
                        default -> irq.reroute(guest.message(VECTORS + random.nextInt(100)));
                    }
                }
            }
        }
    }
}
