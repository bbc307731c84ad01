/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.fake.FakeIrte;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86SystemRegisters.Name;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HostApicId;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.mirror.PredictedPid;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.function.Function;

/** A forwarded device, and what has been told of the vCPUs. */
class MirrorPlay implements AutoCloseable {
    /** The physical APIC ids of the fake's processors. */
    private static final int[] APIC_IDS = {0, 2, 4, 6};

    private final ForwardWorld world;
    private final Mirror mirror;
    private final Forwarding forwarding;
    private final Random random;
    private final Map<Integer, ForwardedIrq> irqs = new HashMap<>();
    private final Map<VcpuId, Event> told = new HashMap<>();
    private final Set<Class<? extends PredictedIrte>> forms;
    private final Optional<TracedSchedule> trace;
    private final boolean isIntel;
    private final boolean mayBeUnknown;
    private boolean timer;
    private boolean moved;
    private long known;

    /** The vCPUs are told from the fake's state. */
    MirrorPlay(String profile, long seed, Set<Class<? extends PredictedIrte>> forms) {
        this(profile, seed, forms, fake -> Optional.empty());
    }

    /** @param tracing of the fake, from whose trace the vCPUs and the inhibits are told */
    MirrorPlay(
            String profile,
            long seed,
            Set<Class<? extends PredictedIrte>> forms,
            Function<FakeKernel, Optional<TracedSchedule>> tracing) {
        this.world = new ForwardWorld(profile);
        this.random = new Random(seed);
        this.forms = forms;
        this.isIntel = profile.contains("vtd");
        this.mayBeUnknown = profile.startsWith("6.12") && !isIntel;
        this.mirror = Mirror.of(host(world));
        mirror.apply(new Event.IrqchipCreated(Event.Irqchip.FULL));
        if (profile.contains("inhibited")) {
            mirror.apply(new Event.Inhibited(EnumSet.of(InhibitReason.HYPERV)));
        }
        this.forwarding =
                Forwarding.builder(world.vm, world.device).mirror(mirror).build();
        this.trace = tracing.apply(world.fake);
        tell();
    }

    /** The host, as a program reads it from the host's files. */
    private static MirrorHost host(ForwardWorld world) {
        HostFacts facts = new HostFacts(world.fake.hostFiles());
        assertThat(facts.posting().unreadable()).isEmpty();
        return MirrorHost.x86(
                facts.posting().host().orElseThrow(),
                facts.posting().avicKernel().orElseThrow());
    }

    private MsiMessage message() {
        int vector = 0x30 + random.nextInt(8);
        return switch (random.nextInt(8)) {
            case 0 -> MsiMessage.nmiTo(new VcpuId(random.nextInt(2)));
            case 1 -> ForwardWorld.to(7, vector);
            case 2 -> new MsiMessage(0xfeeff000L, vector);
            default -> ForwardWorld.to(random.nextInt(2), vector);
        };
    }

    String step() {
        int number = random.nextInt(ForwardWorld.VECTORS);
        ForwardedIrq irq = irqs.get(number);
        FakeVcpu vcpu = world.fake.vcpus().get(random.nextInt(2));
        switch (random.nextInt(trace.isPresent() ? 12 : 9)) {
            case 0, 1 -> {
                if (irq == null) {
                    irqs.put(number, forwarding.forward(world.device.msix().get(number), message()));
                    return "forward " + number;
                }
                irq.reroute(message());
                return "reroute " + number;
            }
            case 2 -> {
                if (irq != null && irq.isMasked()) {
                    irq.unmask();
                    return "unmask " + number;
                }
                if (irq != null) {
                    irq.mask();
                    return "mask " + number;
                }
            }
            case 3 -> {
                if (irq != null && random.nextInt(3) == 0) {
                    irq.close();
                    irqs.remove(number);
                    return "close " + number;
                }
            }
            case 4 -> {
                int cpu = random.nextInt(APIC_IDS.length);
                vcpu.load(cpu);
                return vcpu + " on cpu " + cpu;
            }
            case 5 -> {
                vcpu.enterGuest();
                return vcpu + " enters";
            }
            case 6 -> {
                vcpu.preempt();
                if (trace.isEmpty()) {
                    // It was loaded for a moment.
                    told(vcpu, loaded(vcpu));
                }
                return vcpu + " preempted";
            }
            case 7 -> {
                vcpu.block();
                return vcpu + " blocks";
            }
            case 9 -> {
                return inhibit();
            }
            case 10 -> {
                // The second waits for a start-up message.
                world.fake.vcpu(0).exits(FakeExit.ioOut(0x80, 1, 0));
                world.first.run();
                return "vcpu 0 runs and exits";
            }
            default -> {
                if (irq != null) {
                    send(number, irq);
                    return "send " + number;
                }
            }
        }
        return "nothing";
    }

    private void send(int number, ForwardedIrq irq) {
        Posting posting = irq.predicted();
        boolean toHost = world.hardware.sendMessage(number);
        assertThat(toHost).as(posting.text()).isEqualTo(!(posting instanceof Posting.Posted));
    }

    /** A timer begins or ends to inhibit AVIC. An entry follows when its vCPU next runs. A moved LAPIC inhibits APICv. */
    private String inhibit() {
        if (isIntel && timer) {
            moved = true;
            X86SystemRegisters registers = world.second.systemRegisters();
            world.second.setSystemRegisters(registers.set(Name.APIC_BASE, registers.get(Name.APIC_BASE) ^ 0x1000));
            return "move a LAPIC";
        }
        if (!timer) {
            world.vm.createPit();
        } else {
            world.vm.setPitReinjection(random.nextBoolean());
        }
        timer = true;
        world.fake.vcpus().forEach(FakeVcpu::enterGuest);
        return "inhibit";
    }

    /** How many fields of a schedule were predicted. */
    long known() {
        return known;
    }

    /** As a tracer of the host's scheduler would. */
    void tell() {
        if (trace.isPresent()) {
            mirror.apply(trace.get().events());
            return;
        }
        for (FakeVcpu vcpu : world.fake.vcpus()) {
            Event now =
                    switch (vcpu.state()) {
                        case LOADED, IN_GUEST -> loaded(vcpu);
                        case PREEMPTED -> new Event.VcpuPreempted(vcpu.id());
                        case BLOCKED -> new Event.VcpuBlocked(vcpu.id());
                    };
            told(vcpu, now);
        }
    }

    private static Event loaded(FakeVcpu vcpu) {
        return new Event.VcpuLoaded(
                vcpu.id(), new HostApicId(APIC_IDS[vcpu.cpu().orElseThrow()]));
    }

    private void told(FakeVcpu vcpu, Event now) {
        if (!now.equals(told.put(vcpu.id(), now))) {
            mirror.apply(now);
        }
    }

    void compare() {
        irqs.forEach((number, irq) -> {
            FakeIrte real = world.hardware.irte(number);
            PredictedIrq predicted = mirror.now().of(irq.event().id()).orElseThrow();
            if (predicted.posting() instanceof Posting.Unknown) {
                return;
            }
            PredictedIrte entry = predicted.irte().orElseThrow();
            forms.add(entry.getClass());
            known += entry instanceof PredictedIrte.AmdGuest guest
                            && guest.isRun().isPresent()
                    ? 1
                    : 0;
            String[] words = real.words().split(" ");
            assertThat(entry.agrees(word(words[1]), word(words[2])))
                    .as("%s beside %s", entry, real)
                    .isTrue();
            if (predicted.posting() instanceof Posting.Posted posted) {
                assertThat(real.form()).isEqualTo(FakeIrte.Form.POSTED);
                InterruptVector vector = real.guestVector().orElseThrow();
                assertThat(posted.what())
                        .isEqualTo(new Posting.ToVcpu(real.vcpu().orElseThrow(), vector));
                assertThat(posted.note().isPresent()).as(posted.text()).isEqualTo(moved);
            } else {
                assertThat(real.form()).isEqualTo(FakeIrte.Form.REMAPPED);
            }
        });
        for (FakeVcpu vcpu : world.fake.vcpus()) {
            int listed = mirror.now().byVcpu(vcpu.id()).size();
            // Up to 6.16 the list of an entry that was written in the window of an inhibit is unknown.
            assertThat(vcpu.listed().orElse(listed))
                    .as("list of %s", vcpu)
                    .isBetween(listed, mayBeUnknown ? Integer.MAX_VALUE : listed);
            mirror.now()
                    .pid(vcpu.id())
                    .ifPresent(pid ->
                            comparePid(pid, vcpu.descriptor().orElseThrow().control()));
            known += mirror.now().pid(vcpu.id()).isPresent() ? 1 : 0;
            assertThat(vcpu.brokenRules()).isEmpty();
        }
    }

    private static void comparePid(PredictedPid pid, long control) {
        assertThat(PostedInterruptDescriptor.NV.of(control)).isEqualTo(pid.nv());
        assertThat(PostedInterruptDescriptor.SN.isSet(control)).isEqualTo(pid.sn());
        OptionalInt cpu = pid.cpu();
        if (cpu.isPresent()) {
            assertThat(PostedInterruptDescriptor.NDST.of(control)).isEqualTo(cpu.getAsInt());
        }
    }

    private static long word(String hex) {
        return Long.parseUnsignedLong(hex.substring(2), 16);
    }

    @Override
    public void close() {
        forwarding.close();
        assertThat(mirror.now().irqs()).isEmpty();
        world.close();
    }
}
