/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Whatever the schedule, the guests take exactly the interrupts that the device sent. */
class PostingSchedulesTest {
    private static final int SCHEDULES = 100;
    private static final int STEPS = 60;
    private static final int VCPUS = 3;
    private static final int CPUS = 4;
    private static final List<String> WORDS =
            List.of("fire", "fire", "fire", "mask", "direct", "load", "preempt", "block", "take", "take");
    private static final MsiMessage BROADCAST = new MsiMessage(0xfeeff000L, 0x4f);

    /** An interrupt that a guest is to take: a vector of the device, and the vCPU that it was directed to. */
    private record Outstanding(int vector, int vcpu) {}

    private static InterruptVector guestVector(int vector) {
        return new InterruptVector(0x41 + vector);
    }

    /** A run, and what it should lead to. */
    private static final class Schedule {
        private final PostingSetup setup;
        private final Choices random;
        private final List<Irqfd> irqfds = new ArrayList<>();
        private final List<Gsi> gsis = new ArrayList<>();
        /** By vector of the device: the vCPU of its route, or -1 while the route is no single vCPU. */
        private final int[] directed = new int[PostingSetup.VECTORS];

        private final boolean[] masked = new boolean[PostingSetup.VECTORS];
        private final boolean[] held = new boolean[PostingSetup.VECTORS];
        private final Set<Outstanding> outstanding = new HashSet<>();
        private int sent;
        private int taken;

        Schedule(PostingSetup setup, Choices random) {
            this.setup = setup;
            this.random = random;
            List<EventFd> events =
                    Stream.generate(setup::event).limit(PostingSetup.VECTORS).toList();
            for (int i = 0; i < PostingSetup.VECTORS; i++) {
                gsis.add(setup.vm.routes().add(MsiMessage.to(new VcpuId(0), guestVector(i))));
                irqfds.add(setup.irqfd(events.get(i), gsis.get(i)));
            }
            setup.undo.add(setup.device.msix(0, PostingSetup.VECTORS).arm(events));
        }

        private void step() {
            int vector = random.nextInt(PostingSetup.VECTORS);
            int vcpu = random.nextInt(VCPUS);
            int what = random.nextInt(WORDS.size());
            random.note(WORDS.get(what) + " " + vector + " " + vcpu);
            switch (what) {
                case 0, 1, 2 -> fire(vector);
                case 3 -> mask(vector, !masked[vector]);
                case 4 -> direct(vector, vcpu);
                case 5 -> setup.vcpu(vcpu).load(random.nextInt(CPUS));
                case 6 -> setup.vcpu(vcpu).preempt();
                case 7 -> setup.vcpu(vcpu).block();
                default -> take(vcpu);
            }
            assertThat(setup.brokenRules()).isEmpty();
            for (Outstanding waiting : outstanding) {
                assertThat(setup.vcpu(waiting.vcpu).isRequested(guestVector(waiting.vector)))
                        .as(waiting.toString())
                        .isTrue();
                assertThat(setup.vcpu(waiting.vcpu).state())
                        .as(waiting.toString())
                        .isNotEqualTo(FakeVcpu.State.BLOCKED);
            }
        }

        private void fire(int vector) {
            if (!masked[vector] && directed[vector] < 0) {
                return;
            }
            setup.hardware.sendMessage(vector);
            if (masked[vector]) {
                held[vector] = true;
            } else {
                arrives(vector);
            }
        }

        private void arrives(int vector) {
            sent += outstanding.add(new Outstanding(vector, directed[vector])) ? 1 : 0;
        }

        private void mask(int vector, boolean on) {
            if (on) {
                irqfds.get(vector).mask();
            } else if (directed[vector] >= 0) {
                irqfds.get(vector).unmask();
                if (held[vector]) {
                    held[vector] = false;
                    arrives(vector);
                }
            } else {
                return;
            }
            masked[vector] = on;
        }

        /** To one vCPU, or for a while to all. */
        private void direct(int vector, int vcpu) {
            boolean all = random.nextInt(4) == 0;
            directed[vector] = all ? -1 : vcpu;
            setup.vm
                    .routes()
                    .replace(gsis.get(vector), all ? BROADCAST : MsiMessage.to(new VcpuId(vcpu), guestVector(vector)));
        }

        private void take(int vcpu) {
            setup.vcpu(vcpu).enterGuest();
            Optional<InterruptVector> next = setup.vcpu(vcpu).takeInterrupt();
            while (next.isPresent()) {
                int vector = next.get().number() - guestVector(0).number();
                assertThat(outstanding.remove(new Outstanding(vector, vcpu)))
                        .as("vector %d of vCPU %d was sent", vector, vcpu)
                        .isTrue();
                taken++;
                next = setup.vcpu(vcpu).takeInterrupt();
            }
        }

        private void end() {
            for (int i = 0; i < PostingSetup.VECTORS; i++) {
                direct(i, 0);
                while (directed[i] < 0) {
                    direct(i, 0);
                }
                if (masked[i]) {
                    mask(i, false);
                }
            }
            for (int i = 0; i < VCPUS; i++) {
                take(i);
            }
            assertThat(outstanding).isEmpty();
            assertThat(taken).isEqualTo(sent);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd", "vtd-posting", "amd-avic", "6.12,amd-avic", "avic-inhibited", "6.12,avic-inhibited"})
    void guestsTakeWhatTheDeviceSent(String profile) {
        int[] taken = {0};
        Search.run(profile, 0, SCHEDULES, random -> {
            try (PostingSetup setup = new PostingSetup(profile, VCPUS)) {
                Schedule schedule = new Schedule(setup, random);
                while (random.step(STEPS)) {
                    schedule.step();
                }
                schedule.end();
                taken[0] += schedule.taken;
            }
        });
        assertThat(taken[0]).isGreaterThan(SCHEDULES);
    }
}
