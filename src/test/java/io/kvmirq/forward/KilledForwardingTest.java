/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.NIC;
import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.VECTORS;
import static io.kvmirq.forward.ForwardWorld.to;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A process that forwards is killed before any of its kernel calls. Its descriptors are closed in any order. */
class KilledForwardingTest {
    private static final int ROUNDS = 50;
    private static final int MOST_CALLS = 120;

    private static final class Killed extends Error {
        private static final long serialVersionUID = 1;
    }

    private static void kill(ForwardWorld world, long order) {
        List<Integer> open = IntStream.range(world.firstFreeDescriptor, world.firstFreeDescriptor + 64)
                .boxed()
                .collect(Collectors.toCollection(ArrayList::new));
        Collections.shuffle(open, new Random(order));
        open.forEach(world.fake.backend().libc()::close);
        throw new Killed();
    }

    private static void useMessages(ForwardWorld world, Choices random) {
        Forwarding forwarding = Forwarding.create(world.vm, world.device);
        List<ForwardedIrq> irqs = forwarding.forwardAll(world.device.msix(0, VECTORS), i -> to(i % 2, 0x30 + i));
        while (random.step(MOST_CALLS)) {
            ForwardedIrq irq = irqs.get(random.nextInt(VECTORS));
            world.hardware.sendMessage(random.nextInt(VECTORS));
            int what = random.nextInt(3);
            random.note("use " + what);
            switch (what) {
                case 0 -> irq.mask();
                case 1 -> irq.unmask();
                default -> irq.reroute(to(random.nextInt(2), 0x40 + random.nextInt(64)));
            }
        }
        forwarding.close();
    }

    private static void useLine(ForwardWorld world, Choices random) {
        Forwarding forwarding = Forwarding.create(world.vm, world.device);
        world.hardware.requestService();
        while (random.step(MOST_CALLS / 6)) {
            ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
            if (random.nextBoolean()) {
                line.mask();
                line.unmask();
            }
            line.close();
        }
    }

    @ParameterizedTest
    @CsvSource({"6.1, false", "6.12, false", "6.18, false", "vtd-posting, false", "6.1, true", "6.18, true"})
    void nextProcessForwardsAtOnce(String profile, boolean line) {
        int[] killed = {0};
        Search.run(profile + " killed", 0, ROUNDS, random -> {
            ForwardWorld world = new ForwardWorld(profile);
            long order = random.nextLong();
            world.faults.delay(Faults.ANY, 1 + random.nextInt(MOST_CALLS), () -> kill(world, order));
            try {
                if (line) {
                    useLine(world, random);
                } else {
                    useMessages(world, random);
                }
            } catch (Killed dead) {
                killed[0]++;
                nextProcess(world, line);
            }
        });
        assertThat(killed[0]).isGreaterThan(ROUNDS / 2);
    }

    private static void nextProcess(ForwardWorld world, boolean line) {
        assertThat(world.lowestFreeDescriptor()).isEqualTo(world.firstFreeDescriptor);
        try (Kernel next = world.fake.open();
                Vm vm = Vm.create(next);
                KvmVfio kvmVfio = KvmVfio.create(vm);
                VfioDevice device = VfioDevice.open(next, NIC, kvmVfio);
                EventFd event = EventFd.create(next)) {
            vm.x86().createIrqchip();
            assertThat(world.hardware.sendMessage(0)).as("bus mastering is off").isFalse();
            device.config().enableBusMaster();
            assertThat(world.hardware.sendMessage(0))
                    .as("a vector is left armed")
                    .isFalse();
            if (line) {
                try (ArmedLine armed = device.intx().arm(event)) {
                    world.hardware.requestService();
                    assertThat(event.drain()).as("the line is not stuck").isEqualTo(1);
                    world.hardware.serve();
                    armed.unmask();
                    assertThat(event.drain()).isZero();
                }
            }
            try (Forwarding again = Forwarding.create(vm, device)) {
                if (line) {
                    again.forward(device.intx(), PIN);
                } else {
                    List<ForwardedIrq> irqs = again.forwardAll(device.msix(0, VECTORS), i -> to(0, 0x30 + i));
                    irqs.get(7).mask();
                    world.hardware.sendMessage(7);
                    assertThat(irqs.get(7).event().drain()).isEqualTo(1);
                }
            }
        }
    }
}
