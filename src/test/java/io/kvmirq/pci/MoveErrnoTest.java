/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.ENABLE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.fake.Faults;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Mechanism;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The kernel refuses each call of a move in turn, while the device sends before each call of it: the vector is where it
 * was, open, and the ledger has lost no message. A signal is not refused: write(2) refuses it only while the eventfd
 * has one.
 */
class MoveErrnoTest {
    private static final int VECTOR = 0x40;
    private static final String TARGET = "1:0x40";
    private static final String SIGNAL = "eventfdSignal";

    @ParameterizedTest
    @MethodSource("io.kvmirq.pci.MessageReport#profiles")
    void refusedCallOfAMoveLosesNoMessage(String profile) {
        for (Mechanism from : List.of(Mechanism.IRQFD, Mechanism.USERSPACE)) {
            List<String> calls = move(profile, from, 0);
            assertThat(calls).isNotEmpty();
            for (int refused = 1; refused <= calls.size(); refused++) {
                if (!calls.get(refused - 1).equals(SIGNAL)) {
                    move(profile, from, refused);
                }
            }
        }
    }

    /**
     * @param refused the call of the move that the kernel refuses, counted from 1; 0 for none
     * @return the calls of the move
     */
    private static List<String> move(String profile, Mechanism from, int refused) {
        try (MessagesWorld world = new MessagesWorld(profile)) {
            world.entry(0, 1, VECTOR);
            world.msix.writeMessageControl(ENABLE);
            world.mask(0, false);
            ForwardedIrq irq = world.forwarded(0).orElseThrow();
            if (from == Mechanism.USERSPACE) {
                MessagesWorld.move(irq);
            }
            int[] sent = {0};
            world.firing.before(() -> {
                sent[0]++;
                world.hardware.sendMessage(0);
            });
            if (refused > 0) {
                world.faults.fail(Faults.ANY, refused, Errno.ENOMEM);
            }
            world.faults.listen();
            @Nullable Throwable failed = catchThrowable(() -> MessagesWorld.move(irq));
            List<String> calls = world.faults.calls();
            world.faults.clear();
            world.firing.before(() -> {});
            String step = "call " + refused + " of a move from " + from + ", " + calls;
            if (failed != null) {
                assertThat(failed).as(step).isInstanceOf(KernelException.class);
                assertThat(irq.mechanism()).as(step).isEqualTo(from);
            }
            assertThat(irq.isMasked()).as(step).isFalse();
            if (sent[0] > 0) {
                assertThat(world.taken()).as(step).contains(TARGET);
            }
            world.hardware.sendMessage(0);
            assertThat(world.taken()).as(step).containsExactly(TARGET);
            assertThat(world.fake.messages().waiting()).as(step).isEmpty();
            assertThat(world.fake.messages().counts().lost()).as(step).isZero();
            return calls;
        }
    }
}
