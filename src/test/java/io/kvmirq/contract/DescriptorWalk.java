/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.VcpuPhasesContract.CPU;
import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.contract.VcpuPhasesContract.Place;
import io.kvmirq.contract.VcpuPhasesContract.Runner;
import io.kvmirq.contract.VcpuPhasesContract.Watched;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.KernelPids;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.host.trace.TraceInstance;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoapicState;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Msrs;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.PredictedPid;
import io.kvmirq.mirror.Producer;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A vCPU that is brought to places, with a second one that sends to it, beside a mirror that hears of the tracepoints of its
 * thread. Each step ends with the LAPIC as new, so a step does not depend on those before it.
 */
final class DescriptorWalk implements AutoCloseable {
    static final Path UNIT = Path.of("/proc/kvmirq-unit");

    enum Sender {
        NOBODY,
        SIGNAL_MSI,
        IRQFD,
        /** The second vCPU writes its ICR. */
        IPI,
        /** An irqfd raises a line of the IOAPIC until the guest's EOI. */
        LEVEL,
        UNIT,
        URGENT_UNIT;

        boolean isUnit() {
            return this == UNIT || this == URGENT_UNIT;
        }
    }

    /** The inhibits of APIC virtualization that a VMM can cause with kvm_intel. */
    enum Inhibit {
        NONE,
        DEBUGGER(InhibitReason.BLOCKIRQ),
        AUTO_EOI(InhibitReason.HYPERV),
        /** It stays for the life of the VM. */
        MOVED_LAPIC(InhibitReason.APIC_BASE_MODIFIED);

        private final List<InhibitReason> reasons;

        Inhibit(InhibitReason... reasons) {
            this.reasons = List.of(reasons);
        }
    }

    /**
     * A step.
     *
     * @param isMoved whether the thread moves to the other CPU once the vCPU is there
     */
    record Step(Place place, boolean isMoved, Sender sender, int vector, Inhibit inhibit) {
        /** One step of 8 displaces the vCPU, because the process that does so starts slowly. */
        static Step random(Choices random, boolean isAssigned, boolean isLate) {
            int number = random.nextInt(8);
            Place place = number == 0 ? Place.DISPLACED : Place.values()[1 + number % 3];
            boolean moves = random.nextInt(4) == 0 && (place == Place.SPINNING || place == Place.HALTED);
            int kinds = Sender.values().length;
            Sender sender = Sender.values()[random.nextInt(isAssigned ? kinds : Sender.UNIT.ordinal())];
            int vector = FIRST_VECTOR + random.nextInt(256 - FIRST_VECTOR);
            Inhibit inhibit = isLate
                    ? Inhibit.MOVED_LAPIC
                    : switch (random.nextInt(8)) {
                        case 0 -> Inhibit.DEBUGGER;
                        case 1 -> Inhibit.AUTO_EOI;
                        default -> Inhibit.NONE;
                    };
            // A debugger that blocks interrupts keeps a vCPU with a pending one from halting.
            boolean stays = place != Place.HALTED || inhibit != Inhibit.DEBUGGER;
            return new Step(place, moves, stays ? sender : Sender.NOBODY, vector, inhibit);
        }

        @Override
        public String toString() {
            return (isMoved ? "moved " : "") + place + ", " + sender + " 0x" + Integer.toHexString(vector)
                    + (inhibit == Inhibit.NONE ? "" : ", " + inhibit);
        }
    }

    static final VcpuId VCPU = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);
    private static final int MOST_RESTLESS = 1000;
    private static final int FIRST_VECTOR = 0x20;
    private static final int HANDLER = 0x3000;
    private static final int SENDING = 0x4000;
    private static final int STACK_OF_SECOND = 0x6000;
    /** Bytes of guest memory: the guest lets interrupts in, and the number that it took. */
    private static final int RELEASED = 0x2001;

    private static final int TAKEN = 0x2002;
    private static final long LAPIC = 0xfee00000L;
    private static final long OTHER_LAPIC = 0xfee01000L;
    private static final Gsi LINE = new Gsi(17);
    private static final Route.Pin PIN = new Route.Pin(LINE, Route.Chip.IOAPIC, LINE.number());
    /** The bytes of {@code struct kvm_guest_debug}, which begins with its flags. */
    private static final int GUEST_DEBUG = 72;

    private static final int GUESTDBG_ENABLE = 1;
    private static final int GUESTDBG_BLOCKIRQ = 1 << 20;
    private static final int HV_X64_MSR_SINT0 = 0x40000090;
    private static final long SINT_MASKED = 1 << 16;
    /** Vector 0x1f, which no step sends. */
    private static final long SINT_AUTO_EOI = 1 << 17 | 0x1f;

    private static final byte[] SPIN =
            bytes("inc byte [0x2000]; loop: cmp byte [0x2001], 0; je loop; sti; idle: jmp idle");
    private static final byte[] HALT = bytes("inc byte [0x2000]; idle: sti; hlt; jmp idle");
    private static final byte[] END = bytes("xor eax, eax; mov fs:[0xb0], eax; inc byte [0x2002]; iret");

    private final boolean isAssigned;
    private final Undo undo = new Undo();
    private final HostFacts host = new HostFacts(HostFiles.at(Path.of("/")));
    private final KernelPaths memory;
    private final Drift.Cpus cpus;
    private final Kernel kernel;
    private final Vm vm;
    private final GuestMemory guest;
    private final Vcpu vcpu;
    private final Vcpu second;
    private final OutputStream unit;
    private final X86Lapic clean;
    private final IoapicState ioapic;
    private final EventFd event;
    private final EventFd resample;
    private final Gsi message;
    private final long descriptor;
    private final Runner runner;
    private final Watched watched;
    private final Map<Integer, Integer> apicIds = VcpuPhasesContract.apicIds();
    private final Mirror mirror;
    private final List<String> differing = new ArrayList<>();
    private boolean isLapicMoved;
    /** The level-triggered vector of the IOAPIC, and the one whose EOI leaves the guest with APIC virtualization. */
    private int programmed;

    private int exiting;
    private boolean wasActive = true;
    private volatile Inhibit inhibit = Inhibit.NONE;
    private long fields;
    private long unknown;

    DescriptorWalk(boolean isAssigned) throws IOException, InterruptedException {
        this.isAssigned = isAssigned;
        mirror = mirror(LinuxVersion.parse(System.getProperty("os.version")).orElseThrow(), isAssigned);
        memory = undo.add(KernelPaths.open(HostFiles.at(Path.of("/")), KernelStructures.CORE));
        cpus = Drift.Cpus.read(host, memory);
        kernel = undo.add(Kernel.open(Backends.AUTO));
        vm = undo.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        guest = undo.add(vm.addMemory(0, 0x10000));
        vcpu = undo.add(vm.createVcpu(VCPU));
        second = undo.add(vm.createVcpu(SECOND));
        vcpu.x86().enableLapic();
        vcpu.enableCapability(Uapi.KVM_CAP_HYPERV_SYNIC);
        second.x86().enableLapic();
        reachLapic(vcpu, LAPIC);
        reachLapic(second, LAPIC);
        clean = vcpu.x86().lapic();
        ioapic = vm.x86().ioapic();
        event = undo.add(EventFd.create(kernel));
        resample = undo.add(EventFd.create(kernel));
        message = vm.routes().add(MsiMessage.to(VCPU, new InterruptVector(FIRST_VECTOR)));
        unit = undo.add(new FileOutputStream(UNIT.toFile()));
        if (isAssigned) {
            ask("start " + Integer.toHexString(Numbers.of(vm.fd())));
        }
        descriptor = KernelPids.first();
        guest.mapping().put(HANDLER, END);
        for (int vector = FIRST_VECTOR; vector < 256; vector++) {
            guest.mapping().put(vector * Integer.BYTES, new byte[] {0, (byte) (HANDLER >> Byte.SIZE), 0, 0});
        }
        runner = new Runner(vcpu, this::prepare);
        undo.add(runner::stop);
        watched = undo.add(new Watched(VcpuPhasesContract.known(TraceInstance.mounted()), runner.tid));
    }

    /** A mirror that knows one vCPU, and with an assignment a device's interrupt that is posted to it. */
    static Mirror mirror(LinuxVersion kernel, boolean isAssigned) {
        PostingHost host = PostingHost.of(Vendor.INTEL).withKernel(kernel);
        Mirror mirror = Mirror.create(new MirrorHost.X86(
                isAssigned ? host : host.without(PostingHost.Feature.POSTING_UNITS),
                Optional.empty(),
                Optional.of(false),
                Optional.of(false)));
        mirror.apply(new Event.IrqchipCreated(Event.Irqchip.FULL));
        mirror.apply(new Event.VcpuAdded(VCPU));
        if (isAssigned) {
            Gsi gsi = new Gsi(24);
            EventFdId eventFd = new EventFdId(1);
            mirror.apply(Event.RoutesCommitted.of(new Route.Msi(gsi, MsiMessage.to(VCPU, new InterruptVector(0x41)))));
            mirror.apply(new Event.ConsumerAdded(eventFd, gsi));
            mirror.apply(new Event.ProducerAdded(
                    eventFd, new Producer(PciAddress.parse("0000:00:02.0"), Producer.Kind.MSI_X, 0)));
        }
        return mirror;
    }

    /** In real mode FS keeps a base above 1 MiB until the guest loads it. */
    private static void reachLapic(Vcpu vcpu, long base) {
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        X86Segment before = system.segment(X86SystemRegisters.Segment.FS);
        vcpu.x86()
                .setSystemRegisters(system.setSegment(
                        X86SystemRegisters.Segment.FS,
                        new X86Segment(base, before.limit(), before.selector(), before.access())));
    }

    /** Before each KVM_RUN, in the thread of the vCPU. */
    private void prepare() {
        vcpu.x86().setLapic(clean);
        Inhibit now = inhibit;
        int debug = now == Inhibit.DEBUGGER ? GUESTDBG_ENABLE | GUESTDBG_BLOCKIRQ : 0;
        int result = Backends.ofThisMachine()
                .open("jni")
                .libc()
                .ioctl(
                        Numbers.of(vcpu.fd()),
                        Uapi.KVM_SET_GUEST_DEBUG,
                        Buffers.allocate(GUEST_DEBUG).putInt(0, debug));
        assertThat(result).isZero();
        vcpu.x86().setMsrs(new X86Msrs().set(HV_X64_MSR_SINT0, now == Inhibit.AUTO_EOI ? SINT_AUTO_EOI : SINT_MASKED));
        if (now == Inhibit.MOVED_LAPIC && !isLapicMoved) {
            X86SystemRegisters.Name base = X86SystemRegisters.Name.APIC_BASE;
            X86SystemRegisters system = vcpu.x86().systemRegisters();
            vcpu.x86().setSystemRegisters(system.set(base, system.get(base) - LAPIC + OTHER_LAPIC));
            reachLapic(vcpu, OTHER_LAPIC);
            isLapicMoved = true;
        }
    }

    private void ask(String line) throws IOException {
        unit.write(line.getBytes(StandardCharsets.US_ASCII));
    }

    long fields() {
        return fields;
    }

    long unknown() {
        return unknown;
    }

    /** Takes a step, and returns a sentence for each field that differs. */
    List<String> take(Step step) throws Exception {
        differing.clear();
        inhibit = step.inhibit();
        Optional<Irqfd> irqfd = connect(step);
        guest.mapping().put(RELEASED, new byte[2]);
        Optional<Process> hog = Optional.empty();
        try {
            hog = VcpuPhasesContract.reach(step.place(), runner, guest, step.place() == Place.HALTED ? HALT : SPIN);
            mirror.apply(new Event.Inhibited(inhibits()));
            if (step.isMoved()) {
                move(step.place());
            }
            scan();
            rest(step);
            compare(step + ", before", DescriptorFields.Expected.idle(predicted(), inhibits()));
            if (step.sender() != Sender.NOBODY) {
                send(step);
            }
        } finally {
            if (hog.isPresent()) {
                hog.get().destroyForcibly().waitFor();
            }
            runner.leave();
            irqfd.ifPresent(Irqfd::close);
            event.drain();
            resample.drain();
            if (step.isMoved()) {
                moveThis(1 - CPU);
                Affinity.set(runner.tid, CPU);
            }
        }
        return List.copyOf(differing);
    }

    private Optional<Irqfd> connect(Step step) {
        InterruptVector vector = new InterruptVector(step.vector());
        if (step.sender() == Sender.IRQFD) {
            vm.routes().replace(message, MsiMessage.to(VCPU, vector));
            return Optional.of(vm.assignIrqfd(event, message));
        }
        if (step.sender() == Sender.LEVEL) {
            vm.x86().setIoapic(IoapicState.fromBytes(ioapic.bytes()).levelPin(PIN, vector));
            programmed = step.vector();
            return Optional.of(vm.assignLevelIrqfd(event, resample, LINE));
        }
        return Optional.empty();
    }

    /**
     * KVM scans the IOAPIC at the vCPU's next entry, and writes the EOI-exit bitmap only if APIC virtualization was on, because
     * it applies the inhibits later in the same entry: {@code vcpu_enter_guest()} of x86.c, {@code vmx_load_eoi_exitmap()}.
     */
    private void scan() {
        if (wasActive) {
            exiting = programmed;
        }
        wasActive = inhibits().isEmpty();
    }

    /** Whether the IOAPIC hears of the EOI. */
    private boolean isHeard(int vector) {
        return !inhibits().isEmpty() || exiting == vector;
    }

    private Set<InhibitReason> inhibits() {
        Set<InhibitReason> all = EnumSet.noneOf(InhibitReason.class);
        all.addAll(inhibit.reasons);
        if (isLapicMoved) {
            all.addAll(Inhibit.MOVED_LAPIC.reasons);
        }
        return all;
    }

    /** A running vCPU has the CPU for itself. Another stays where it was until it wakes. */
    private void move(Place place) throws IOException {
        Affinity.set(runner.tid, 1 - CPU);
        if (place == Place.SPINNING) {
            moveThis(CPU);
        }
    }

    private void moveThis(int cpu) throws IOException {
        Affinity.setOfOthers(runner.tid, cpu);
    }

    private Optional<PredictedPid> predicted() {
        return mirror.now().pid(VCPU).known();
    }

    private void compare(String when, DescriptorFields.Expected expected) {
        KernelVcpu read = memory.vcpus(host, thread -> true)
                .known()
                .orElseThrow()
                .get(0)
                .known()
                .orElseThrow()
                .get(0);
        DescriptorFields.Result result = DescriptorFields.compare(when, expected, read);
        fields += result.compared();
        unknown += result.unknown();
        differing.addAll(result.differing());
        for (Drift field : Drift.find(read, cpus)) {
            if (field.verdict() == Drift.Verdict.DIFFER) {
                differing.add(when + ": doctor says " + field);
            }
        }
    }

    private void send(Step step) throws Exception {
        boolean suppresses = predicted().filter(PredictedPid::sn).isPresent();
        switch (step.sender()) {
            case SIGNAL_MSI -> vm.signal(MsiMessage.to(VCPU, new InterruptVector(step.vector())));
            case IRQFD, LEVEL -> event.signal();
            case IPI -> sendIpi(step.vector());
            default ->
                ask("post " + Long.toHexString(descriptor) + " " + Integer.toHexString(step.vector())
                        + (step.sender() == Sender.URGENT_UNIT ? " 1" : " 0"));
        }
        boolean takes = step.place() == Place.HALTED;
        if (takes) {
            awaitTaken();
        }
        rest(step);
        List<Integer> vector = List.of(step.vector());
        boolean posts = inhibits().isEmpty() || step.sender().isUnit();
        boolean stays = step.place() == Place.DISPLACED || step.place() == Place.OUTSIDE;
        compare(
                step + ", after",
                new DescriptorFields.Expected(
                        predicted(),
                        stays && posts ? vector : List.of(),
                        stays && posts && (step.sender() != Sender.UNIT || !suppresses),
                        takes || stays && posts ? List.of() : vector,
                        List.of(),
                        inhibits()));
        if (step.sender() == Sender.LEVEL) {
            compareLine(step, takes);
            if (step.place() == Place.SPINNING && inhibit != Inhibit.DEBUGGER) {
                guest.mapping().put(RELEASED, new byte[] {1});
                awaitTaken();
                rest(step);
                compare(step + ", after EOI", DescriptorFields.Expected.idle(predicted(), inhibits()));
                compareLine(step, true);
            }
        }
    }

    private void awaitTaken() {
        runner.until(() -> guest.mapping().getByte(TAKEN) != 0);
    }

    /** An EOI of which the IOAPIC hears ends the request there, and lowers the line. */
    private void compareLine(Step step, boolean hasSentEoi) {
        boolean hasEnded = hasSentEoi && isHeard(step.vector());
        long signals = resample.drain();
        boolean waits = !isEnded();
        fields += 2;
        if (signals != (hasEnded ? 1 : 0) || waits == hasEnded) {
            differing.add(step + ": " + signals + " signals of the resamplefd, remote IRR " + waits
                    + (hasEnded ? " after an EOI" : " before one"));
        }
    }

    private void sendIpi(int vector) throws InterruptedException {
        guest.mapping()
                .put(
                        SENDING,
                        bytes("xor eax, eax; mov fs:[0x310], eax; mov eax, " + vector
                                + "; mov fs:[0x300], eax; out 0x82, al"));
        second.setState(VcpuState.RUNNABLE);
        second.x86().startAt(SENDING, STACK_OF_SECOND);
        assertThat(second.run().reason()).isEqualTo(VcpuExit.Reason.IO);
    }

    /** Tells the mirror all that happened, until the vCPU is where it should be and rests. */
    private void rest(Step step) throws IOException {
        boolean rests = false;
        int cpu = step.isMoved() ? 1 - CPU : CPU;
        for (int i = 0; !rests && i < MOST_RESTLESS; i++) {
            List<Event> since = watched.read(apicIds);
            mirror.apply(since);
            rests = since.isEmpty()
                    && watched.isQuiet()
                    && watched.phase().equals(VcpuPhasesContract.expected(step.place(), cpu));
        }
        assertThat(rests).as("%s: %s", step, watched.phase()).isTrue();
    }

    /** Whether the last level-triggered interrupt of the IOAPIC has ended there. */
    boolean isEnded() {
        return !vm.x86().ioapic().isRemoteIrrSet(PIN);
    }

    void end() throws Exception {
        runner.end();
    }

    @Override
    public void close() {
        undo.close();
    }
}
