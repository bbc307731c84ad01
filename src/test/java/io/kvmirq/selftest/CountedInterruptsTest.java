/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.testing.RealKvm;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/**
 * A guest on the real KVM counts each interrupt, while its sender moves between the irqfd and this process, masks it and
 * reroutes it. {@code -Dkvmirq.test.counted=1000000} sends a million.
 */
@RealKvm(fullIrqchip = true)
class CountedInterruptsTest {
    private static final int COUNT = Integer.getInteger("kvmirq.test.counted", 3000);
    private static final List<InterruptVector> VECTORS =
            List.of(new InterruptVector(0x31), new InterruptVector(0x32), new InterruptVector(0x33));

    @Test
    void guestCountsEachInterruptOnce() {
        SplittableRandom random = new SplittableRandom(1);
        int[] sent = new int[VECTORS.size()];
        int inProcess = 0;
        int masked = 0;
        try (Kernel kernel = Kernel.open();
                Guest guest = new Guest(kernel, Irqchip.FULL);
                EventFd event = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel)) {
            VECTORS.forEach(guest::handle);
            int now = 0;
            Gsi gsi = guest.route(VECTORS.get(now));
            try (IoEventFd port = guest.vm().assignIoEventFd(Scenarios.ANY_ANSWER, answer);
                    Irqfd irqfd = guest.vm().assignIrqfd(event, gsi)) {
                assertThat(port.event()).isEqualTo(answer);
                guest.boot();
                guest.release();
                for (int i = 0; i < COUNT; i++) {
                    boolean ofProcess = random.nextInt(3) == 0;
                    boolean isMasked = ofProcess || random.nextInt(8) == 0;
                    if (isMasked) {
                        irqfd.mask();
                        masked++;
                    }
                    boolean moves = random.nextInt(16) == 0;
                    if (moves && !isMasked) {
                        now = reroute(guest, gsi, random);
                    }
                    event.signal();
                    if (moves && isMasked) {
                        now = reroute(guest, gsi, random);
                    }
                    if (ofProcess) {
                        assertThat(event.drain()).isEqualTo(1);
                        guest.vm().signal(MsiMessage.to(Guest.VCPU, VECTORS.get(now)));
                        inProcess++;
                    }
                    sent[now]++;
                    if (isMasked) {
                        irqfd.unmask();
                    }
                    while (guest.handled(VECTORS.get(now)) < sent[now]) {
                        assertThat(Patience.USUAL.await(answer))
                                .as("interrupt %s of %s", i, VECTORS.get(now))
                                .isTrue();
                        answer.drain();
                    }
                }
            }
            for (int i = 0; i < sent.length; i++) {
                assertThat(guest.handled(VECTORS.get(i))).isEqualTo(sent[i]);
            }
        }
        System.out.println(COUNT + " interrupts, " + inProcess + " of them sent by this process, " + masked
                + " by a masked irqfd; the guest counted each once");
    }

    private static int reroute(Guest guest, Gsi gsi, SplittableRandom random) {
        int to = random.nextInt(VECTORS.size());
        guest.vm().routes().replace(gsi, MsiMessage.to(Guest.VCPU, VECTORS.get(to)));
        return to;
    }
}
