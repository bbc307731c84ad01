/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.fake.file.Bypass;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.file.MessageHostIrq;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The irqbypass of an eventfd. */
class BypassTest {
    private final FakeHost host = new FakeHost(Profile.V7_1.build(), false);
    private final Bypass bypass = new EventFile(host, 0, false, false).bypass();
    private final MessageHostIrq first = producer(1);
    private final MessageHostIrq second = producer(2);
    private final List<String> calls = new ArrayList<>();
    private final Consumer irqfd = new Consumer("irqfd", true);
    private final Consumer other = new Consumer("other", true);

    private static MessageHostIrq producer(int number) {
        return new MessageHostIrq(number, IrqHardware.TO_HOST.allocate(0));
    }

    private final class Consumer implements Bypass.Consumer {
        private final String name;
        private final boolean connects;

        Consumer(String name, boolean connects) {
            this.name = name;
            this.connects = connects;
        }

        @Override
        public boolean connect(MessageHostIrq producer) {
            calls.add(name + " + " + producer.number());
            return connects;
        }

        @Override
        public void disconnect(MessageHostIrq producer) {
            calls.add(name + " - " + producer.number());
        }
    }

    @Test
    void whoComesSecondConnectsAndWhoGoesFirstDisconnects() {
        bypass.add(first);
        bypass.add(irqfd);
        bypass.remove(first);
        bypass.remove(irqfd);
        assertThat(calls).containsExactly("irqfd + 1", "irqfd - 1");
        calls.clear();
        bypass.add(other);
        bypass.add(second);
        bypass.remove(other);
        bypass.remove(second);
        assertThat(calls).containsExactly("other + 2", "other - 2");
        assertThat(host.rules().used()).containsExactly(IrqfdAnswer.BYPASS_CONNECTS);
    }

    @Test
    void secondOfOneKindIsNotConnectedAndItsEndChangesNothing() {
        bypass.add(first);
        bypass.add(second);
        bypass.add(irqfd);
        bypass.add(other);
        bypass.remove(second);
        bypass.remove(other);
        assertThat(calls).containsExactly("irqfd + 1");
        assertThat(host.rules().used()).containsExactly(IrqfdAnswer.BYPASS_CONNECTS, IrqfdAnswer.BYPASS_BUSY);
    }

    /** As of Linux: the one that came first stays, and the next may connect to it. */
    @Test
    void whoFailsToConnectIsNotRegistered() {
        bypass.add(new Consumer("fails", false));
        bypass.add(first);
        bypass.add(second);
        assertThat(calls).containsExactly("fails + 1", "fails + 2");
        bypass.remove(first);
        assertThat(calls).hasSize(2);
    }
}
