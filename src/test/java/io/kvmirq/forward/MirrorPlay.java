/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.fake.FakeExit.hlt;
import static io.kvmirq.fake.FakeExit.ioOut;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.fake.FakeIrte;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
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
import io.kvmirq.mirror.VcpuStage;
import io.kvmirq.testing.Choices;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.FutureTask;
import java.util.function.BiFunction;
import java.util.stream.IntStream;

/**
 * A random program of a VMM on the fake. A mirror is told of it in one of three ways, and each field that it predicts is
 * compared with the fake's hardware after each step.
 */
final class MirrorPlay implements AutoCloseable {
    static final int VCPUS = 4;
    private static final int VECTORS = 3;
    private static final int HIGHEST_ID = 11;
    /** The physical APIC ids of the fake's processors. */
    private static final int[] APIC_IDS = {0, 2, 4, 6};

    private static final long LOGICAL = 0xfee00004L;
    /** In IA32_APIC_BASE. */
    private static final int X2APIC = 1 << 10;

    /** The source of the events about vCPUs and inhibits. The library always tells the rest. */
    enum Feed {
        /** The program itself, which misses nothing. */
        EVENTS,
        /** The fake's tracepoints. */
        TRACE,
        /** The library's vCPUs. The program tells of inhibits. */
        LIBRARY
    }

    /** Kinds of steps that a search can leave out. */
    enum Kind {
        LATE_VCPUS,
        INHIBITS,
        LDRS,
        /** Mode x2APIC, and the cluster model of logical ids. */
        MODES,
        SOFTWARE,
        IDS,
        FILES;

        static final Set<Kind> ALL = Collections.unmodifiableSet(EnumSet.allOf(Kind.class));
    }

    private final Counts counts;
    private final Feed feed;
    private final Set<Kind> kinds;
    private final Choices random;
    private final boolean isIntel;
    private final boolean namesInhibits;
    private final FakeKernel fake;
    private final FakePciDevice hardware;
    private final Kernel kernel;
    private final Vm vm;
    private final KvmVfio files;
    private final VfioDevice device;
    private final Mirror mirror;
    private final Forwarding forwarding;
    private final Optional<TracedSchedule> trace;
    /** The ids of all vCPUs, in the order of creation. */
    private final List<VcpuId> ids;

    private final List<Vcpu> vcpus = new ArrayList<>();
    private final Map<Integer, ForwardedIrq> irqs = new HashMap<>();
    private final Map<VcpuId, Event> told = new HashMap<>();
    /** The vCPUs whose thread returned from KVM_RUN and was not loaded since. */
    private final Set<VcpuId> outside = new HashSet<>();
    /** The vCPUs that may not have applied the inhibits: their entries still follow the former ones. */
    private final Set<VcpuId> pending = new HashSet<>();
    /** The runs that sleep, of the library's vCPUs. */
    private final Map<VcpuId, FutureTask<?>> asleep = new HashMap<>();

    private Optional<VfioDevice> other = Optional.empty();
    private final Set<InhibitReason> inhibits = EnumSet.noneOf(InhibitReason.class);
    private boolean moved;
    private int port = 0x80;

    /** @param tracing makes the reader of a trace, from the fake and its future vCPUs by thread */
    MirrorPlay(
            String profile,
            Feed feed,
            Set<Kind> kinds,
            Choices random,
            Counts counts,
            BiFunction<FakeKernel, Map<Integer, VcpuId>, TracedSchedule> tracing) {
        this.counts = counts;
        this.feed = feed;
        this.kinds = kinds;
        this.random = random;
        this.isIntel = profile.contains("vtd");
        this.namesInhibits = !profile.startsWith("6.1,");
        this.fake = new FakeKernel(Profile.parse(profile));
        this.hardware = device("0000:3b:00.0", 15);
        device("0000:3c:00.0", 16);
        this.kernel = fake.open();
        this.vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        vm.x86().createPit();
        vm.x86().setPitReinjection(false);
        this.files = KvmVfio.create(vm);
        this.device = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"));
        device.config().enableBusMaster();
        List<VcpuId> all = new ArrayList<>(
                IntStream.rangeClosed(0, HIGHEST_ID).mapToObj(VcpuId::new).toList());
        if (kinds.contains(Kind.IDS)) {
            for (int i = all.size() - 1; i > 0; i--) {
                Collections.swap(all, i, random.nextInt(i + 1));
            }
        }
        this.ids = List.copyOf(all.subList(0, VCPUS));
        this.mirror = Mirror.create(host());
        mirror.apply(new Event.IrqchipCreated(Event.Irqchip.FULL));
        if (profile.contains("inhibited")) {
            inhibits.add(InhibitReason.HYPERV);
            mirror.apply(new Event.Inhibited(inhibits));
        }
        Map<Integer, VcpuId> threads = new HashMap<>();
        for (int i = 0; i < VCPUS; i++) {
            threads.put(TracedSchedule.PROCESS + 1 + i, ids.get(i));
        }
        this.trace = feed == Feed.TRACE ? Optional.of(tracing.apply(fake, threads)) : Optional.empty();
        this.forwarding = Forwarding.builder(vm, device).mirror(mirror).build();
        int first = kinds.contains(Kind.LATE_VCPUS) ? random.nextInt(VCPUS) : VCPUS;
        for (int i = 0; i < first; i++) {
            addVcpu();
        }
        counts.programs++;
        tell();
    }

    private FakePciDevice device(String address, int group) {
        return fake.pciDevice(address, group)
                .msix(VECTORS)
                .express()
                .resettable()
                .add();
    }

    /** The host, as a program reads it from the host's files. */
    private MirrorHost host() {
        HostFacts facts = new HostFacts(fake.hostFiles());
        assertThat(facts.posting().unreadable()).isEmpty();
        return MirrorHost.x86(
                facts.posting().host().orElseThrow(),
                facts.posting().avicKernel().orElseThrow());
    }

    private void addVcpu() {
        VcpuId id = ids.get(vcpus.size());
        Vcpu vcpu = vm.createVcpu(id);
        vcpus.add(vcpu);
        vcpu.x86().enableLapic();
        vcpu.setState(VcpuState.RUNNABLE);
        if (kinds.contains(Kind.MODES)) {
            vcpu.x86().useHostCpuid();
        }
        giveLogicalId(vcpu, 1 << vcpus.size() - 1, LapicPage.DFR_FLAT);
    }

    private void giveLogicalId(Vcpu vcpu, int id, int format) {
        vcpu.x86().setLapic(vcpu.x86().lapic().set(X86Lapic.Name.LDR, id << 24).set(X86Lapic.Name.DFR, format));
        look(vcpu.id());
        inhibitsMayChange();
    }

    /** KVM_GET_LAPIC loads a vCPU and puts it again, unless it runs or sleeps. */
    private void look(VcpuId id) {
        if (hardware(id).state() == FakeVcpu.State.PREEMPTED) {
            outside.add(id);
            tellIfTold(hardware(id), loaded(hardware(id)));
        }
    }

    /** From now on the entries of a vCPU follow at its next entry. */
    private void inhibitsMayChange() {
        if (!isIntel) {
            vcpus.forEach(vcpu -> pending.add(vcpu.id()));
        }
    }

    private FakeVcpu hardware(VcpuId id) {
        return fake.vcpus().stream()
                .filter(vcpu -> vcpu.id().equals(id))
                .findFirst()
                .orElseThrow();
    }

    private MsiMessage message() {
        int vector = 0x30 + random.nextInt(8);
        return switch (random.nextInt(9)) {
            case 0 -> MsiMessage.nmiTo(ids.get(random.nextInt(VCPUS)));
            case 1 -> ForwardWorld.to(HIGHEST_ID + 1, vector);
            case 2 -> new MsiMessage(0xfeeff000L, vector);
            case 3, 4 -> new MsiMessage(LOGICAL | 1 + random.nextInt(31) << 12, vector);
            default -> MsiMessage.to(ids.get(random.nextInt(VCPUS)), new InterruptVector(vector));
        };
    }

    /** The next step, in words. */
    String step() throws Exception {
        String step = chosen();
        settle();
        tell();
        return step;
    }

    private String chosen() throws Exception {
        int number = random.nextInt(VECTORS);
        ForwardedIrq irq = irqs.get(number);
        switch (random.nextInt(10)) {
            case 0, 1 -> {
                if (irq == null) {
                    irqs.put(number, forwarding.forward(device.msix().get(number), message()));
                    return "forward " + irqs.get(number).message() + " by " + number;
                }
                irq.reroute(message());
                return "reroute " + number + " to " + irq.message();
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
            case 4, 5, 6 -> {
                return vcpus.isEmpty() ? "nothing" : move(vcpus.get(random.nextInt(vcpus.size())));
            }
            case 7 -> {
                if (irq != null && asleep.isEmpty()) {
                    send(number, irq);
                    return "send " + number;
                }
            }
            default -> {
                Kind kind = Kind.values()[random.nextInt(Kind.values().length)];
                return kinds.contains(kind) ? step(kind) : "nothing";
            }
        }
        return "nothing";
    }

    private String step(Kind kind) {
        switch (kind) {
            case LATE_VCPUS -> {
                if (vcpus.size() < VCPUS) {
                    addVcpu();
                    return "create " + ids.get(vcpus.size() - 1);
                }
            }
            case INHIBITS -> {
                return inhibit();
            }
            case LDRS -> {
                int number = random.nextInt(VCPUS);
                if (number < vcpus.size() && !asleep.containsKey(ids.get(number))) {
                    int id = random.nextBoolean() ? 1 << random.nextInt(VCPUS) : 1 + random.nextInt(15);
                    giveLogicalId(vcpus.get(number), id, LapicPage.DFR_FLAT);
                    return "logical id " + id + " for " + ids.get(number);
                }
            }
            case MODES -> {
                int number = random.nextInt(VCPUS);
                if (number < vcpus.size() && !asleep.containsKey(ids.get(number))) {
                    return changeMode(vcpus.get(number));
                }
            }
            case SOFTWARE -> {
                return asleep.isEmpty() ? signal() : "nothing";
            }
            case FILES -> {
                other.ifPresent(VfioDevice::close);
                other = other.isPresent()
                        ? Optional.empty()
                        : Optional.of(VfioDevice.open(kernel, PciAddress.parse("0000:3c:00.0"), files));
                return other.isPresent() ? "file added" : "file removed";
            }
            case IDS -> {}
        }
        return "nothing";
    }

    private String changeMode(Vcpu vcpu) {
        if (random.nextBoolean()) {
            int id = 1 + random.nextInt(31);
            giveLogicalId(vcpu, id, LapicPage.DFR_CLUSTER);
            return "cluster id " + id + " for " + vcpu.id();
        }
        X86SystemRegisters registers = vcpu.x86().systemRegisters();
        vcpu.x86().setSystemRegisters(registers.set(Name.APIC_BASE, registers.get(Name.APIC_BASE) | X2APIC));
        vcpu.x86().setLapic(vcpu.x86().lapic());
        look(vcpu.id());
        inhibitsMayChange();
        return "x2APIC mode for " + vcpu.id();
    }

    private void send(int number, ForwardedIrq irq) {
        PredictedIrq predicted = mirror.now().of(irq.event().id()).orElseThrow();
        boolean known = pending.isEmpty() && !(predicted.posting() instanceof Posting.Unknown);
        boolean toHost = hardware.sendMessage(number);
        if (known) {
            assertThat(toHost)
                    .as(predicted.posting().text())
                    .isEqualTo(!(predicted.posting() instanceof Posting.Posted));
        }
        int data = irq.message().orElseThrow().data();
        if (toHost && !irq.isMasked() && data < 0x100) {
            predicted.destination().known().ifPresent(to -> assertThat(
                            hardware(to).isRequested(new InterruptVector(data)))
                    .as("%s through KVM to %s", irq.message(), to)
                    .isTrue());
        }
    }

    /** On Intel a request of software for a vCPU outside the guest sets PIR and ON. */
    private String signal() {
        MsiMessage message = message();
        vm.signal(message);
        InterruptVector vector = new InterruptVector(message.data() & 0xff);
        for (Vcpu vcpu : vcpus) {
            FakeVcpu taker = hardware(vcpu.id());
            boolean posts = isIntel && !moved && taker.state() != FakeVcpu.State.IN_GUEST;
            if (posts && vector.number() != 0 && message.equals(MsiMessage.to(vcpu.id(), vector))) {
                assertThat(taker.descriptor().orElseThrow().isRequested(vector))
                        .as("%s of %s", vector, vcpu)
                        .isTrue();
            }
        }
        return "signal " + message;
    }

    private String inhibit() {
        if (isIntel) {
            if (vcpus.isEmpty() || !asleep.isEmpty()) {
                return "nothing";
            }
            Vcpu vcpu = vcpus.get(0);
            X86SystemRegisters registers = vcpu.x86().systemRegisters();
            vcpu.x86().setSystemRegisters(registers.set(Name.APIC_BASE, registers.get(Name.APIC_BASE) ^ 0x1000));
            moved = true;
            inhibits.add(InhibitReason.APIC_BASE_MODIFIED);
            tellInhibits();
            return "move a LAPIC";
        }
        boolean on = inhibits.add(InhibitReason.PIT_REINJ);
        if (!on) {
            inhibits.remove(InhibitReason.PIT_REINJ);
        }
        vm.x86().setPitReinjection(on);
        inhibitsMayChange();
        tellInhibits();
        return on ? "inhibit" : "permit";
    }

    /** Before 6.11 the trace has the reasons without their names, and before the first change it has none. */
    private void tellInhibits() {
        if (feed != Feed.TRACE || !namesInhibits) {
            mirror.apply(new Event.Inhibited(inhibits));
        }
    }

    private String move(Vcpu vcpu) throws Exception {
        VcpuId id = vcpu.id();
        FakeVcpu moving = hardware(id);
        if (feed == Feed.LIBRARY) {
            return switch (random.nextInt(4)) {
                case 0 -> asleep.containsKey(id) ? wake(vcpu) : sleep(vcpu);
                case 1 -> {
                    if (asleep.containsKey(id)) {
                        yield "nothing";
                    }
                    moving.load(random.nextInt(APIC_IDS.length));
                    yield "on cpu " + moving.cpu() + ", " + run(vcpu);
                }
                default -> asleep.containsKey(id) ? "nothing" : run(vcpu);
            };
        }
        return switch (random.nextInt(6)) {
            case 0 -> {
                moving.load(random.nextInt(APIC_IDS.length));
                outside.remove(id);
                yield id + " on cpu " + moving.cpu();
            }
            case 1, 2 -> {
                enter(moving);
                yield id + " enters";
            }
            case 3 -> {
                moving.preempt();
                outside.remove(id);
                tellIfTold(moving, loaded(moving));
                yield id + " preempted";
            }
            case 4 -> {
                boolean sleeps = moving.block();
                outside.remove(id);
                tellIfTold(moving, loaded(moving));
                yield id + (sleeps ? " sleeps" : " stays awake");
            }
            default -> run(vcpu);
        };
    }

    private void enter(FakeVcpu moving) {
        moving.enterGuest();
        outside.remove(moving.id());
        entered(moving);
    }

    private void entered(FakeVcpu moving) {
        pending.remove(moving.id());
        tellIfTold(moving, loaded(moving));
        if (feed == Feed.EVENTS) {
            mirror.apply(new Event.GuestEntered(moving.id()));
        }
    }

    /** Runs a vCPU until it writes to a port other than the last one. */
    private String run(Vcpu vcpu) {
        vcpu.moveHere();
        fake.vcpu(vcpu.id().number()).exits(ioOut(port, 1, 'A'));
        port ^= 1;
        vcpu.run();
        entered(hardware(vcpu.id()));
        outside.add(vcpu.id());
        return vcpu.id() + " runs and exits";
    }

    private String sleep(Vcpu vcpu) {
        FutureTask<?> run = new FutureTask<>(() -> {
            vcpu.moveHere();
            return vcpu.run().reason();
        });
        fake.vcpu(vcpu.id().number()).exits(hlt(), ioOut(port, 1, 'A'));
        port ^= 1;
        new Thread(run, "runner").start();
        asleep.put(vcpu.id(), run);
        return vcpu.id() + " halts in KVM_RUN";
    }

    /** Waits until each run sleeps again that a step has woken, or has ended. */
    private void settle() throws Exception {
        for (Vcpu vcpu : vcpus) {
            FutureTask<?> run = asleep.get(vcpu.id());
            while (run != null && !run.isDone() && hardware(vcpu.id()).state() != FakeVcpu.State.BLOCKED) {
                Thread.onSpinWait();
            }
            if (run != null && run.isDone()) {
                wake(vcpu);
            }
        }
    }

    private String wake(Vcpu vcpu) throws Exception {
        FutureTask<?> run = asleep.remove(vcpu.id());
        if (!run.isDone()) {
            vm.signal(MsiMessage.to(vcpu.id(), new InterruptVector(0x50)));
        }
        run.get();
        vcpu.moveHere();
        entered(hardware(vcpu.id()));
        return vcpu.id() + " wakes and exits";
    }

    /** Lets each vCPU apply the inhibits, so that entries of a window are compared too. */
    void end() throws Exception {
        for (Vcpu vcpu : vcpus) {
            if (asleep.containsKey(vcpu.id())) {
                wake(vcpu);
            }
            run(vcpu);
        }
        tell();
    }

    /** Tells the state of each vCPU, as a tracer of the host's scheduler would. */
    private void tell() {
        if (trace.isPresent()) {
            mirror.apply(trace.get().events());
        }
        if (feed == Feed.EVENTS) {
            for (FakeVcpu vcpu : fake.vcpus()) {
                if (vcpu.cpu().isPresent()) {
                    tellIfTold(vcpu, now(vcpu));
                }
            }
        }
    }

    private Event now(FakeVcpu vcpu) {
        return switch (vcpu.state()) {
            case LOADED, IN_GUEST -> loaded(vcpu);
            case PREEMPTED ->
                outside.contains(vcpu.id()) ? new Event.VcpuLeft(vcpu.id()) : new Event.VcpuPreempted(vcpu.id());
            case BLOCKED -> new Event.VcpuBlocked(vcpu.id());
        };
    }

    private static Event loaded(FakeVcpu vcpu) {
        return new Event.VcpuLoaded(
                vcpu.id(), new HostApicId(APIC_IDS[vcpu.cpu().orElseThrow()]));
    }

    private void tellIfTold(FakeVcpu vcpu, Event now) {
        if (feed == Feed.EVENTS && !now.equals(told.put(vcpu.id(), now))) {
            mirror.apply(now);
        }
    }

    void compare() {
        for (Map.Entry<Integer, ForwardedIrq> irq : irqs.entrySet()) {
            PredictedIrq predicted =
                    mirror.now().of(irq.getValue().event().id()).orElseThrow();
            compare(hardware.irte(irq.getKey()), predicted);
        }
        for (FakeVcpu vcpu : fake.vcpus()) {
            if (!pending.contains(vcpu.id())) {
                List<PredictedIrq> all = mirror.now().byVcpu(vcpu.id());
                int listed = (int) all.stream()
                        .filter(irq -> irq.vcpu().known().isPresent())
                        .count();
                assertThat(vcpu.listed().orElse(listed)).as("list of %s", vcpu).isBetween(listed, all.size());
            }
            if (isIntel) {
                compare(vcpu, mirror.now().pid(vcpu.id()).known());
            }
            if (asleep.containsKey(vcpu.id())) {
                assertThat(mirror.now().stage(vcpu.id())).contains(new VcpuStage.InRun());
            }
            assertThat(vcpu.brokenRules()).isEmpty();
        }
    }

    private void compare(FakeIrte real, PredictedIrq predicted) {
        if (predicted.posting() instanceof Posting.Unknown unknown) {
            counts.unknown(unknown.reason());
            return;
        }
        PredictedIrte entry = predicted.irte().known().orElseThrow();
        counts.forms.add(entry.getClass());
        String[] words = real.words().split(" ");
        assertThat(entry.agrees(word(words[1]), word(words[2])))
                .as("%s beside %s", entry, real)
                .isTrue();
        counts.predicted++;
        if (entry instanceof PredictedIrte.AmdGuest guest) {
            counts.field(guest.isRun().isPresent(), "IsRun");
            counts.field(guest.gaLogIntr().isPresent(), "GALogIntr");
        }
        if (predicted.posting() instanceof Posting.Posted posted) {
            assertThat(posted.note().isPresent() || !moved).as(posted.text()).isTrue();
            assertThat(real.form()).isEqualTo(FakeIrte.Form.POSTED);
            assertThat(posted.what())
                    .isEqualTo(new Posting.ToVcpu(
                            real.vcpu().orElseThrow(), real.guestVector().orElseThrow()));
        } else {
            assertThat(real.form()).as(predicted.posting().text()).isEqualTo(FakeIrte.Form.REMAPPED);
        }
    }

    private void compare(FakeVcpu vcpu, Optional<PredictedPid> predicted) {
        if (predicted.isEmpty()) {
            String stage = mirror.now().stage(vcpu.id()).map(Object::toString).orElse("never scheduled");
            counts.unknown("PID, " + stage.replaceAll("id .*", "id") + (other.isPresent() ? ", file" : "")
                    + (irqs.isEmpty() ? ", no irqfd" : ""));
            return;
        }
        PredictedPid pid = predicted.get();
        long control = vcpu.descriptor().orElseThrow().control();
        assertThat(PostedInterruptDescriptor.NV.of(control))
                .as("NV of %s", vcpu)
                .isEqualTo(pid.nv());
        assertThat(PostedInterruptDescriptor.SN.isSet(control))
                .as("SN of %s", vcpu)
                .isEqualTo(pid.sn());
        pid.cpu().ifPresent(cpu -> assertThat(PostedInterruptDescriptor.NDST.of(control))
                .as("NDST of %s", vcpu)
                .isEqualTo(cpu));
        counts.predicted += 2;
        counts.field(pid.cpu().isPresent(), "NDST");
    }

    private static long word(String hex) {
        return Long.parseUnsignedLong(hex.substring(2), 16);
    }

    @Override
    public void close() {
        forwarding.close();
        assertThat(mirror.now().irqs()).isEmpty();
        kernel.close();
    }

    /** Compared fields, so that "unknown" does not pass for agreement. */
    static final class Counts {
        long programs;
        long predicted;
        final Map<String, Long> unknown = new HashMap<>();
        final Set<Class<? extends PredictedIrte>> forms = new HashSet<>();

        private void unknown(String reason) {
            unknown.merge(reason.replaceAll("0x\\w+", "N"), 1L, Long::sum);
        }

        private void field(boolean known, String name) {
            predicted += known ? 1 : 0;
            if (!known) {
                unknown(name);
            }
        }

        @Override
        public String toString() {
            long not = unknown.values().stream().mapToLong(Long::longValue).sum();
            return programs + " programs, " + (predicted + not) + " comparisons, " + predicted + " predicted, " + not
                    + " unknown " + unknown;
        }
    }
}
