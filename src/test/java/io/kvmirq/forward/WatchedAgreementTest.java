/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.fake.FakeExit.hlt;
import static io.kvmirq.fake.FakeExit.ioOut;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.fake.FakeIrte;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.mirror.PredictedPid;
import io.kvmirq.mirror.VcpuStage;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The mirror of a forwarding, told by the library alone, beside the hardware of the fake, through random programs of a
 * VMM: each field of an entry and of a descriptor is unknown or equal. {@link MirrorAgreementTest} compares with
 * schedules that a tracer tells, and says what such agreement shows.
 */
class WatchedAgreementTest {
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.programs", 40);
    private static final int STEPS = 40;
    private static final int CPUS = 4;
    /** The bit of a message's address. */
    private static final long LOGICAL = 1 << 2;

    /** Fields that were compared, so that "unknown" does not pass for agreement. */
    private static final class Seen {
        private int descriptors;
        private int entries;
        private int inRun;
        private int logical;
    }

    private static final class Play implements AutoCloseable {
        private final ForwardWorld world;
        private final Forwarding forwarding;
        private final Mirror mirror;
        private final Random random;
        private final boolean inhibits;
        private final Seen seen;
        private final Map<Integer, ForwardedIrq> irqs = new HashMap<>();
        private final Map<Integer, FutureTask<VcpuExit.Reason>> asleep = new HashMap<>();
        private boolean inhibited;

        Play(String profile, long seed, Seen seen) {
            this.world = new ForwardWorld(profile);
            this.random = new Random(seed);
            this.seen = seen;
            this.inhibits = profile.endsWith("amd-avic");
            if (inhibits) {
                world.vm.createPit();
                world.vm.setPitReinjection(false);
            }
            world.second.setState(VcpuState.RUNNABLE);
            giveLogicalId(world.first, 0x1);
            giveLogicalId(world.second, 0x2);
            this.forwarding = Forwarding.of(world.vm, world.device);
            this.mirror = forwarding.mirror();
            if (profile.contains("inhibited")) {
                mirror.apply(new Event.Inhibited(EnumSet.of(InhibitReason.HYPERV)));
            }
        }

        private Vcpu vcpu(int number) {
            return number == 0 ? world.first : world.second;
        }

        private FakeVcpu hardware(int number) {
            return world.fake.vcpus().get(number);
        }

        private MsiMessage message() {
            int vector = 0x30 + random.nextInt(8);
            return switch (random.nextInt(6)) {
                case 0 -> MsiMessage.nmiTo(new VcpuId(random.nextInt(2)));
                case 1 -> new MsiMessage(0xfee00000L | 1 + random.nextInt(3) << 12 | LOGICAL, vector);
                default -> ForwardWorld.to(random.nextInt(2), vector);
            };
        }

        private static void giveLogicalId(Vcpu vcpu, int id) {
            vcpu.setLapic(vcpu.lapic().set(X86Lapic.Name.LDR, id << 24).set(X86Lapic.Name.DFR, -1));
        }

        String step() throws ExecutionException, InterruptedException {
            int number = random.nextInt(2);
            int vector = random.nextInt(2);
            ForwardedIrq irq = irqs.get(vector);
            switch (random.nextInt(11)) {
                case 0, 1 -> {
                    return run(number);
                }
                case 2 -> {
                    return asleep.containsKey(number) ? wake(number) : sleep(number);
                }
                case 3 -> {
                    if (!asleep.containsKey(number)) {
                        int cpu = random.nextInt(CPUS);
                        hardware(number).load(cpu);
                        return "on cpu " + cpu + ", " + run(number);
                    }
                }
                case 4 -> {
                    if (!asleep.containsKey(number)) {
                        vcpu(number).lapic();
                        return "vcpu " + number + " is looked at";
                    }
                }
                case 5 -> {
                    if (inhibits && asleep.isEmpty()) {
                        return inhibit(!inhibited);
                    }
                }
                case 6 -> {
                    if (irq != null) {
                        irq.reroute(message());
                        return "reroute " + vector;
                    }
                }
                case 7 -> {
                    if (irq != null && irq.isMasked()) {
                        irq.unmask();
                        return "unmask " + vector;
                    }
                    if (irq != null) {
                        irq.mask();
                        return "mask " + vector;
                    }
                }
                case 8 -> {
                    if (irq != null) {
                        irq.close();
                        irqs.remove(vector);
                        return "close " + vector;
                    }
                }
                default -> {
                    if (irq == null) {
                        irqs.put(vector, forwarding.forward(world.device.msix().get(vector), message()));
                        return "forward " + vector;
                    }
                }
            }
            return "nothing";
        }

        private String run(int number) {
            if (asleep.containsKey(number)) {
                return "nothing";
            }
            vcpu(number).moveHere();
            world.fake.vcpu(number).exits(ioOut(0x3f8, 1, 'A'));
            assertThat(vcpu(number).run().reason()).isEqualTo(VcpuExit.Reason.IO);
            return "run " + number;
        }

        private String sleep(int number) {
            FutureTask<VcpuExit.Reason> run = new FutureTask<>(() -> {
                vcpu(number).moveHere();
                return vcpu(number).run().reason();
            });
            world.fake.vcpu(number).exits(hlt());
            new Thread(run, "runner").start();
            while (hardware(number).state() != FakeVcpu.State.BLOCKED && !run.isDone()) {
                Thread.onSpinWait();
            }
            asleep.put(number, run);
            return "sleep " + number;
        }

        private String wake(int number) throws ExecutionException, InterruptedException {
            world.fake.vcpu(number).exits(ioOut(0x3f8, 1, 'B'));
            world.vm.signal(ForwardWorld.to(number, 0x50));
            asleep.remove(number).get();
            vcpu(number).moveHere();
            return "wake " + number;
        }

        /** A vCPU follows when it next enters the guest, and the mirror predicts the state after that. */
        private String inhibit(boolean on) {
            inhibited = on;
            world.vm.setPitReinjection(on);
            mirror.apply(new Event.Inhibited(
                    on ? EnumSet.of(InhibitReason.PIT_REINJ) : EnumSet.noneOf(InhibitReason.class)));
            return "inhibit " + on + ", " + run(0) + ", " + run(1);
        }

        /** Between two looks the mirror reads phases only when it is told of a step. */
        boolean looks() {
            return random.nextInt(3) > 0;
        }

        void compare() {
            irqs.forEach((vector, irq) -> {
                FakeIrte real = world.hardware.irte(vector);
                PredictedIrq predicted = mirror.now().of(irq.event().id()).orElseThrow();
                if (predicted.posting() instanceof Posting.Unknown) {
                    return;
                }
                PredictedIrte entry = predicted.irte().orElseThrow();
                seen.logical += (irq.message().orElseThrow().address() & LOGICAL) != 0 ? 1 : 0;
                String[] words = real.words().split(" ");
                assertThat(entry.agrees(word(words[1]), word(words[2])))
                        .as("%s beside %s", entry, real)
                        .isTrue();
                if (predicted.posting() instanceof Posting.Posted posted) {
                    assertThat(posted.what())
                            .isEqualTo(new Posting.ToVcpu(
                                    real.vcpu().orElseThrow(),
                                    real.guestVector().orElseThrow()));
                }
                if (entry instanceof PredictedIrte.AmdGuest guest) {
                    boolean inRun = asleep.containsKey(guest.vcpu().number());
                    assertThat(guest.isRun().isPresent() && inRun).isFalse();
                    seen.entries += guest.isRun().isPresent() ? 1 : 0;
                }
            });
            for (int number = 0; number < 2; number++) {
                VcpuId id = new VcpuId(number);
                Optional<PredictedPid> pid = mirror.now().pid(id);
                if (asleep.containsKey(number)) {
                    assertThat(mirror.now().stage(id)).contains(new VcpuStage.InRun());
                    assertThat(pid).isEmpty();
                    seen.inRun++;
                }
                if (pid.isPresent()) {
                    long control = hardware(number).descriptor().orElseThrow().control();
                    assertThat(PostedInterruptDescriptor.NV.of(control))
                            .as("NV of %s", id)
                            .isEqualTo(pid.get().nv());
                    assertThat(PostedInterruptDescriptor.SN.isSet(control))
                            .as("SN of %s", id)
                            .isEqualTo(pid.get().sn());
                    seen.descriptors++;
                }
                assertThat(hardware(number).brokenRules()).isEmpty();
            }
        }

        private static long word(String hex) {
            return Long.parseUnsignedLong(hex.substring(2), 16);
        }

        void end() throws ExecutionException, InterruptedException {
            for (int number = 0; number < 2; number++) {
                if (asleep.containsKey(number)) {
                    wake(number);
                }
                vcpu(number).moveHere();
            }
        }

        @Override
        public void close() {
            forwarding.close();
            world.close();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.12,amd-avic", "avic-inhibited"})
    void eachFieldIsUnknownOrThatOfTheHardware(String profile) throws Exception {
        Seen seen = new Seen();
        for (long seed = 0; seed < PROGRAMS; seed++) {
            StringBuilder steps = new StringBuilder(profile + ", seed " + seed + ":");
            try (Play play = new Play(profile, seed, seen)) {
                for (int i = 0; i < STEPS; i++) {
                    steps.append(' ').append(play.step()).append(';');
                    if (play.looks()) {
                        assertThat(play).as("%s", steps).satisfies(Play::compare);
                    }
                }
                play.end();
            }
        }
        assertThat(seen.inRun).isPositive();
        assertThat(seen.logical).as("logical messages").isPositive();
        assertThat(seen.descriptors > 0).as("descriptors").isEqualTo(profile.contains("vtd"));
        assertThat(seen.entries > 0).as("entries in guest mode").isEqualTo(profile.endsWith("amd-avic"));
    }
}
