/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.MessageGuest;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The host after a process that forwards was killed before any of its kernel calls. */
@VfioContract
class ForwardKillContract extends VfioSuite {
    /** The status of a process that SIGKILL ended. */
    private static final int KILLED = 128 + 9;

    private static final int MOST_CALLS = 150;

    @Test
    void devicesAreForwardedAtOnceAfterEachKill() throws IOException, InterruptedException {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: a fake has one process");
        vfio.place(E1000E);
        vfio.place(EDU);
        int points = Integer.getInteger("kvmirq.test.forward.kills", 5);
        for (int seed = 0; seed < points; seed++) {
            int call = 1 + new Random(seed).nextInt(MOST_CALLS);
            Process user = VfioKillContract.user(
                    vfio, ForwardKilledUser.class, Integer.toString(seed), Integer.toString(call));
            try {
                assertThat(VfioKillContract.status(user))
                        .as("status, seed " + seed)
                        .isEqualTo(KILLED);
            } finally {
                user.destroyForcibly();
            }
            assertThat(VfioKillContract.interrupts()).as("seed " + seed).isEmpty();
            try (Undo made = new Undo()) {
                next(made);
            }
            vfio.closeAll();
        }
        System.out.println("forward: killed before " + points + " calls, each time forwarded again at once by " + vfio);
    }

    private void next(Undo made) {
        Kernel kernel = made.add(Kernel.over(this.kernel));
        MessageGuest guest = MessageGuest.of(kernel, vfio.kernel().libc(), GuestIts.EVENTS / 2, made);
        KvmVfio kvmVfio = made.add(KvmVfio.create(guest.vm));
        VfioDevice nic = made.add(VfioDevice.open(kernel, vfio.address(E1000E), kvmVfio));
        VfioDevice edu = made.add(VfioDevice.open(kernel, vfio.address(EDU), kvmVfio));
        nic.config().enableBusMaster();
        edu.config().enableMemory();
        Hardware sender = vfio.hardwareOf(E1000E, Numbers.of(nic.fd()));
        final Hardware asserter = vfio.hardwareOf(EDU, Numbers.of(edu.fd()));
        sender.start();
        EventFd event = made.add(EventFd.create(kernel));
        asserter.serve();
        try (ArmedLine armed = edu.intx().arm(event)) {
            asserter.request();
            eventually("the line is not stuck", () -> event.awaitNanos(0));
            asserter.serve();
            event.drain();
            armed.unmask();
        }
        Forwarding line = made.add(Forwarding.create(guest.vm, edu));
        line.forward(edu.intx(), new Gsi(ForwardKilledUser.PIN));
        Forwarding messages = made.add(Forwarding.create(guest.vm, nic));
        List<ForwardedIrq> irqs = messages.forwardAll(nic.msix(0, ForwardKilledUser.VECTORS), guest::message);
        irqs.get(4).mask();
        sender.send(4);
        eventually("the message waits", () -> irqs.get(4).event().awaitNanos(0));
        nic.reset();
    }
}
