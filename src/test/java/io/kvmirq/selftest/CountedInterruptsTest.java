/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.testing.RealKvm;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/**
 * A guest on the real KVM counts each interrupt, while its sender moves between the irqfd and this process, masks it and
 * reroutes it. {@code -Dkvmirq.test.counted=1000000} sends a million.
 */
@RealKvm(fullIrqchip = true)
class CountedInterruptsTest {
    private static final int COUNT = Integer.getInteger("kvmirq.test.counted", 3000);
    private static final int INTERRUPTS = 3;

    @Test
    void guestCountsEachInterruptOnce() {
        SplittableRandom random = new SplittableRandom(1);
        int[] sent = new int[INTERRUPTS];
        int inProcess = 0;
        int masked = 0;
        try (Kernel kernel = Kernel.open();
                Guest guest = new Guest(kernel, Irqchip.FULL);
                EventFd event = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel)) {
            IntStream.range(0, INTERRUPTS).forEach(guest::handle);
            int now = 0;
            Gsi gsi = guest.route(now);
            try (IoEventFd port = guest.vm().assignIoEventFd(guest.board().answer(), answer);
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
                        guest.vm().signal(guest.board().message(now));
                        inProcess++;
                    }
                    sent[now]++;
                    if (isMasked) {
                        irqfd.unmask();
                    }
                    while (guest.handled(now) < sent[now]) {
                        assertThat(Patience.USUAL.await(answer))
                                .as("interrupt %s of %s", i, now)
                                .isTrue();
                        answer.drain();
                    }
                }
            }
            for (int i = 0; i < sent.length; i++) {
                assertThat(guest.handled(i)).isEqualTo(sent[i]);
            }
        }
        System.out.println(COUNT + " interrupts, " + inProcess + " of them sent by this process, " + masked
                + " by a masked irqfd; the guest counted each once");
    }

    private static int reroute(Guest guest, Gsi gsi, SplittableRandom random) {
        int to = random.nextInt(INTERRUPTS);
        guest.reroute(gsi, to);
        return to;
    }
}
