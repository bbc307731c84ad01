/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.to;
import static io.kvmirq.forward.ForwardWorld.vector;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Posting;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Several vectors are masked, rerouted and ended at once, and vectors begin masked. */
class ForwardedChangeTest {
    private final ForwardWorld world = new ForwardWorld("6.12");
    private final EventLoop loop = EventLoop.create(world.kernel);
    private final Forwarding forwarding = Forwarding.builder(world.vm, world.device)
            .userspace(Userspace.into(world.vm, loop))
            .build();

    @AfterEach
    void close() {
        forwarding.close();
        loop.close();
        world.closeAndExpectNothingLeft();
    }

    private List<ForwardedIrq> four() {
        return forwarding.forwardAll(world.device.msix(0, 4), i -> to(i % 2, 0x30 + i));
    }

    private void sendAll() {
        for (int i = 0; i < 4; i++) {
            world.hardware.sendMessage(i);
        }
    }

    /** Which of the vectors from {@code first} on some vCPU has requested. */
    private List<Integer> requested(int first) {
        return List.of(0, 1, 2, 3).stream()
                .filter(i -> (i % 2 == 0 ? world.first : world.second).x86().isRequested(vector(first + i)))
                .toList();
    }

    // Routes

    @Test
    void reroutedVectorsCostOneCommitAndArriveElsewhere() {
        List<ForwardedIrq> irqs = four();
        long commits = world.vm.routes().commits();
        forwarding.reroute(irqs, i -> to(i % 2, 0x80 + i));
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        sendAll();
        assertThat(requested(0x80)).containsExactly(0, 1, 2, 3);
        assertThat(requested(0x30)).isEmpty();
        assertThat(irqs)
                .extracting(ForwardedIrq::message)
                .map(message -> message.orElseThrow())
                .containsExactly(to(0, 0x80), to(1, 0x81), to(0, 0x82), to(1, 0x83));
    }

    @Test
    void onlyChangedMessagesAreCommitted() {
        List<ForwardedIrq> irqs = four();
        world.faults.listen();
        forwarding.reroute(irqs, i -> to(i % 2, 0x30 + i));
        assertThat(world.faults.calls()).isEmpty();
        forwarding.reroute(irqs, i -> i == 2 ? message(0x90) : to(i % 2, 0x30 + i));
        assertThat(world.faults.calls()).containsExactly("routesSet");
        sendAll();
        assertThat(world.first.x86().isRequested(vector(0x90))).isTrue();
        assertThat(requested(0x30)).containsExactly(0, 1, 3);
    }

    @Test
    void refusedMessagesLeaveAllAsTheyWere() {
        List<ForwardedIrq> irqs = four();
        world.faults.fail("routesSet", 1, Errno.EINVAL);
        assertThatThrownBy(() -> forwarding.reroute(irqs, i -> to(i % 2, 0x80 + i)))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("EINVAL");
        assertThat(irqs.get(3).message()).contains(to(1, 0x33));
        sendAll();
        assertThat(requested(0x30)).containsExactly(0, 1, 2, 3);
    }

    @Test
    void routesOfMaskedAndOfRelayedVectorsChangeWithTheOthers() {
        List<ForwardedIrq> irqs = four();
        irqs.get(1).mask();
        irqs.get(2).moveTo(Mechanism.USERSPACE);
        forwarding.reroute(irqs, i -> to(i % 2, 0x80 + i));
        sendAll();
        loop.pollNanos(0);
        assertThat(requested(0x80)).containsExactly(0, 2, 3);
        assertThat(irqs.get(1).isPending()).isTrue();
        irqs.get(1).unmask();
        assertThat(requested(0x80)).containsExactly(0, 1, 2, 3);
        irqs.get(2).moveTo(Mechanism.IRQFD);
        world.hardware.sendMessage(2);
        assertThat(requested(0x30)).isEmpty();
    }

    @Test
    void lineIsRefusedBeforeAnythingChanges() {
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        assertThatThrownBy(() -> forwarding.reroute(List.of(line), i -> message(0x30)))
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessageContaining("is a line and has no message");
        assertThat(line.message()).isEmpty();
    }

    @Test
    void vectorsOfTwoRangesThatEndTogetherHaveNoTrigger() {
        List<ForwardedIrq> irqs = forwarding.forwardAll(world.device.msix(0, 5), i -> to(i % 2, 0x30 + i));
        forwarding.close(List.of(irqs.get(0), irqs.get(1), irqs.get(3)));
        for (int vector = 0; vector < 5; vector++) {
            assertThat(world.hardware.sendMessage(vector))
                    .as("vector %d has a trigger", vector)
                    .isEqualTo(vector == 2 || vector == 4);
        }
    }

    // Masks

    @Test
    void whatMaskedVectorsSendArrivesWhenTheyAreUnmasked() {
        List<ForwardedIrq> irqs = four();
        forwarding.mask(irqs.subList(0, 3));
        forwarding.mask(irqs.subList(0, 3));
        assertThat(irqs.get(0).isPending()).isFalse();
        sendAll();
        assertThat(requested(0x30)).containsExactly(3);
        assertThat(irqs).extracting(ForwardedIrq::isPending).containsExactly(true, true, true, false);
        forwarding.unmask(irqs);
        assertThat(requested(0x30)).containsExactly(0, 1, 2, 3);
        assertThat(irqs).extracting(ForwardedIrq::isPending).containsOnly(false);
    }

    @Test
    void oneThatCannotBeUnmaskedKeepsTheOthersMasked() {
        List<ForwardedIrq> irqs = four();
        forwarding.mask(irqs.subList(1, 4));
        world.faults.fail("irqfdAssign", 3, Errno.EBUSY);
        assertThatThrownBy(() -> forwarding.unmask(irqs))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("EBUSY");
        assertThat(irqs).extracting(ForwardedIrq::isMasked).containsExactly(false, true, true, true);
        sendAll();
        assertThat(requested(0x30)).containsExactly(0);
        forwarding.unmask(irqs);
        assertThat(requested(0x30)).containsExactly(0, 1, 2, 3);
    }

    @ParameterizedTest
    @ValueSource(strings = {"EIO", "ENOMEM", "EBADF"})
    void oneThatCannotBeMaskedLeavesTheOthersOpen(String errno) {
        List<ForwardedIrq> irqs = four();
        irqs.get(0).mask();
        world.faults.fail("irqfdDeassign", 3, Errno.parse(errno).orElseThrow());
        assertThatThrownBy(() -> forwarding.mask(irqs))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining(errno);
        assertThat(irqs).extracting(ForwardedIrq::isMasked).containsExactly(true, false, false, false);
        sendAll();
        assertThat(requested(0x30)).containsExactly(1, 2, 3);
        forwarding.mask(irqs);
        assertThat(irqs).extracting(ForwardedIrq::isMasked).containsOnly(true);
        forwarding.unmask(irqs);
        assertThat(requested(0x30)).containsExactly(0, 1, 2, 3);
    }

    @Test
    void closedOneIsRefusedAndNoneIsMasked() {
        List<ForwardedIrq> irqs = four();
        irqs.get(3).close();
        for (Runnable change : List.<Runnable>of(
                () -> forwarding.mask(irqs),
                () -> forwarding.unmask(irqs),
                () -> forwarding.reroute(irqs, i -> message(0x70 + i)))) {
            assertThatThrownBy(change::run)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("is closed: it was used after close(); create or open another");
        }
        assertThat(irqs).extracting(ForwardedIrq::isMasked).containsOnly(false);
    }

    @Test
    void vectorsOfOthersAndTwiceGivenOnesAreRefused() {
        List<ForwardedIrq> irqs = four();
        ForwardedIrq irq = irqs.get(0);
        assertThatThrownBy(() -> forwarding.mask(List.of(irq, irq)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageEndingWith("is listed twice: list each interrupt once");
        assertThat(irq.isMasked()).isFalse();
        try (Forwarding other = Forwarding.create(world.vm, world.device)) {
            for (Runnable change :
                    List.<Runnable>of(() -> other.mask(irqs), () -> other.unmask(irqs), () -> other.close(irqs))) {
                assertThatThrownBy(change::run)
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageEndingWith("change it with the forwarding that created it");
            }
        }
        sendAll();
        assertThat(requested(0x30)).containsExactly(0, 1, 2, 3);
    }

    // Begin and end

    @Test
    void vectorsBeginMasked() {
        world.faults.listen();
        List<ForwardedIrq> irqs = forwarding.forwardMasked(world.device.msix(0, 4), i -> to(i % 2, 0x30 + i));
        assertThat(world.faults.calls()).contains("vfioIrqsSet", "routesSet").doesNotContain("irqfdAssign");
        assertThat(irqs).extracting(ForwardedIrq::isMasked).containsOnly(true);
        assertThat(irqs.get(0).predicted()).isInstanceOf(Posting.NotPosted.class);
        sendAll();
        assertThat(requested(0x30)).isEmpty();
        forwarding.unmask(irqs);
        assertThat(requested(0x30)).containsExactly(0, 1, 2, 3);
    }

    private Userspace into(List<MsiMessage> injected) {
        return new Userspace(loop, new Userspace.Injector() {
            @Override
            public void message(MsiMessage message) {
                injected.add(message);
            }

            @Override
            public void line(Gsi gsi, boolean high) {
                throw new AssertionError(gsi);
            }
        });
    }

    /** A VM without irqchip in the kernel: this process injects. */
    @Test
    void relayedVectorsBeginMasked() {
        try (Vm vm = Vm.create(world.kernel)) {
            List<MsiMessage> injected = new ArrayList<>();
            try (Forwarding relayed = Forwarding.builder(vm, world.device)
                    .userspace(into(injected))
                    .build()) {
                List<ForwardedIrq> irqs = relayed.forwardMasked(world.device.msix(0, 2), i -> message(0x30 + i));
                world.hardware.sendMessage(1);
                loop.pollNanos(0);
                assertThat(injected).isEmpty();
                assertThat(irqs.get(1).isPending()).isTrue();
                relayed.unmask(irqs);
                loop.pollNanos(0);
                assertThat(injected).containsExactly(message(0x31));
            }
        }
    }

    @Test
    void relayThatCannotStartLeavesNoneOfTheOthers() {
        try (Vm vm = Vm.create(world.kernel);
                Forwarding relayed = Forwarding.builder(vm, world.device)
                        .userspace(into(new ArrayList<>()))
                        .build()) {
            // Two registrations are made paused, then started.
            world.faults.fail("epollCtl", 4, Errno.ENOMEM);
            assertThatThrownBy(() -> relayed.forwardAll(world.device.msix(0, 2), i -> message(0x30 + i)))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("ENOMEM");
            assertThat(relayed.irqs()).isEmpty();
            assertThat(world.device.msix().get(0).enabledKind()).isEmpty();
        }
    }

    @Test
    void endOfSeveralIsOneCallOfEachKind() {
        List<ForwardedIrq> irqs = four();
        long commits = world.vm.routes().commits();
        long changes = world.device.irqChanges();
        forwarding.close(irqs.subList(1, 3));
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(world.device.irqChanges() - changes).isEqualTo(1);
        assertThat(forwarding.irqs()).containsExactly(irqs.get(0), irqs.get(3));
        sendAll();
        assertThat(requested(0x30)).containsExactly(0, 3);
        forwarding.close(irqs.subList(1, 3));
    }

    /** The last ones are all that are left: then the device has no vectors enabled. */
    @Test
    void vectorsThatEndInTwoStepsLeaveTheDeviceDisabled() {
        List<ForwardedIrq> irqs = four();
        forwarding.close(irqs.subList(0, 2));
        assertThat(world.device.msix().get(0).enabledKind()).isPresent();
        forwarding.close(irqs.subList(2, 4));
        assertThat(world.device.msix().get(0).enabledKind()).isEmpty();
    }

    @Test
    void routesOfTheVmAreThoseOfTheMessages() {
        List<ForwardedIrq> irqs = four();
        forwarding.reroute(irqs, i -> to(1, 0xa0 + i));
        for (ForwardedIrq irq : irqs) {
            assertThat(world.vm.routes().of(irq.gsi().orElseThrow()))
                    .containsExactly(
                            new Route.Msi(irq.gsi().orElseThrow(), irq.message().orElseThrow()));
        }
    }
}
