/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.MessageHostIrq;
import io.kvmirq.fake.kvm.FakeIrqfd;
import io.kvmirq.fake.kvm.FakeRoutes;
import io.kvmirq.fake.kvm.VmInterrupts;
import io.kvmirq.fake.posting.PostingMachine;
import io.kvmirq.fake.x86.cpu.ReportedEvents;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** The interrupt state of an x86 VM: its interrupt controllers; source: virt/kvm/irqchip.c, arch/x86/kvm/irq.c. */
final class X86Vm extends VmInterrupts {
    static final int IOAPIC = 2;
    /** The default routes of the full irqchip: GSIs 0 to 23 go to the IOAPIC, 0 to 15 to the PICs too. */
    private static final FakeRoutes.Pins DEFAULTS = defaultRoutes();

    /** The interrupt controllers that the kernel emulates. */
    enum Irqchip {
        NONE("none"),
        SPLIT("split"),
        FULL("full");

        @SuppressWarnings("ImmutableEnumChecker") // made by List.of
        private final List<String> alone;

        @SuppressWarnings("ImmutableEnumChecker") // made by List.of
        private final List<String> withVcpus;

        Irqchip(String label) {
            this.alone = List.of(label, "no-vcpu");
            this.withVcpus = List.of(label, "vcpus");
        }

        /** Facts about a VM with this irqchip, as labels of {@code io.kvmirq.explain.Condition}. */
        List<String> facts(boolean vcpus) {
            return vcpus ? withVcpus : alone;
        }
    }

    private static final String NOT_TAKEN = "was raised but no LAPIC accepted its message";

    private final FakePics pics = new FakePics(this);
    private final FakeIoapic ioapic = new FakeIoapic(this);
    private final FakeLapics lapics = new FakeLapics(this);
    private final VmSettings settings = new VmSettings(host());
    /** The posting of the VM; empty on a host without posting hardware. */
    private final Optional<IrqPosting> posting;

    private Irqchip irqchip = Irqchip.NONE;
    /** The number of open files of the VM and its vCPUs. */
    private int holders = 1;

    private int reservedPins;
    private Optional<Pit> pit = Optional.empty();
    private int bootVcpu;
    private int vcpuIds;
    private ReportedEvents reportedEvents = new ReportedEvents(false, false);

    X86Vm(KernelOfFile host) {
        super(host);
        this.posting = host.hardware() instanceof PostingMachine machine
                ? Optional.of(new IrqPosting(this, machine))
                : Optional.empty();
    }

    ReportedEvents reportedEvents() {
        return reportedEvents;
    }

    void report(ReportedEvents events) {
        reportedEvents = events;
    }

    Irqchip irqchip() {
        return irqchip;
    }

    void createFullIrqchip() {
        irqchip = Irqchip.FULL;
        permitPosting();
        setRoutes(DEFAULTS.routes());
    }

    /** @param pins the number of GSIs from 0 that are reserved for the VMM's IOAPIC; the kernel stores 8 bits */
    void createSplitIrqchip(int pins) {
        irqchip = Irqchip.SPLIT;
        reservedPins = pins & 0xff;
        permitPosting();
    }

    private void permitPosting() {
        posting.ifPresent(irqs -> irqs.setInhibit(InhibitReason.ABSENT, false));
    }

    Optional<IrqPosting> posting() {
        return posting;
    }

    FakeLapics lapics() {
        return lapics;
    }

    VmSettings settings() {
        return settings;
    }

    Optional<Pit> pit() {
        return pit;
    }

    private void setReinjecting(boolean on) {
        lapics.wantScan();
        posting.ifPresent(irqs -> irqs.setReinjecting(on));
    }

    void createPit(boolean withSpeaker) {
        pit = Optional.of(new Pit(host().time(), withSpeaker, this::setReinjecting));
    }

    /** Whether a vCPU is the boot vCPU, which starts runnable and takes the interrupts of the PICs. */
    boolean isBootVcpu(int id) {
        return id == bootVcpu;
    }

    int bootVcpu() {
        return bootVcpu;
    }

    /** The limit of vCPU ids: set by the VMM, or else by the first vCPU; 0 if not set yet. */
    int vcpuIds() {
        return vcpuIds;
    }

    /** Sets the limit if there is none yet. Returns it. */
    int limitVcpuIds(int limit) {
        vcpuIds = vcpuIds == 0 ? limit : vcpuIds;
        return vcpuIds;
    }

    void bootVcpu(int id) {
        bootVcpu = id;
    }

    @Override
    protected Optional<Answer> refusesIrqfd(boolean resample) {
        if (irqchip == Irqchip.NONE) {
            return Optional.of(IrqfdAnswer.IRQFD_NEEDS_IRQCHIP);
        }
        return resample && irqchip != Irqchip.FULL
                ? Optional.of(IrqfdAnswer.IRQFD_RESAMPLE_NEEDS_FULL)
                : Optional.empty();
    }

    @Override
    protected Optional<Answer> refusesRoutes() {
        return irqchip == Irqchip.NONE ? Optional.of(InterruptAnswer.ROUTES_NEED_IRQCHIP) : Optional.empty();
    }

    @Override
    public Optional<Answer> refusesPin(int chip, int pin) {
        int pins = chip == IOAPIC ? FakeIoapic.PINS : FakePic.PINS;
        boolean exists = irqchip == Irqchip.FULL && chip >= 0 && chip <= IOAPIC && pin >= 0 && pin < pins;
        return exists ? Optional.empty() : Optional.of(InterruptAnswer.ROUTE_PIN);
    }

    @Override
    public Optional<Answer> refusesMessage(Object message) {
        return ((ApicMessage) message).isInvalid(lapics.has32BitIds())
                ? Optional.of(InterruptAnswer.ROUTE_HIGH_ADDRESS)
                : Optional.empty();
    }

    @Override
    public ApicMessage message(long address, int data, OptionalInt device) {
        return ApicMessage.of(new CompatibilityMsi(address, data));
    }

    /** Whether there are Hyper-V interfaces. Debian builds them in; the kernel with kvm_pvm lacks them. */
    @Override
    public boolean hasSynthetic() {
        return !host().build().pvm();
    }

    @Override
    public FakeRoutes.Pins known() {
        return irqchip == Irqchip.FULL ? DEFAULTS : super.known();
    }

    private static FakeRoutes.Pins defaultRoutes() {
        FakeRoutes.Pins routes = new FakeRoutes.Pins(FakeIoapic.PINS + 2 * FakePic.PINS);
        for (int gsi = 0; gsi < FakeIoapic.PINS; gsi++) {
            routes.add(gsi, IOAPIC, gsi);
            if (gsi < 2 * FakePic.PINS) {
                routes.add(gsi, gsi / FakePic.PINS, gsi % FakePic.PINS);
            }
        }
        return routes;
    }

    private static @Nullable ApicMessage message(FakeRoutes.Target target) {
        return (ApicMessage) target.message();
    }

    @Override
    protected void routesChanged() {
        if (irqchip == Irqchip.SPLIT) {
            lapics.wantScan();
        }
    }

    @Override
    protected void resamplersChanged() {
        lapics.wantScan();
    }

    // Posting

    @Override
    protected boolean hasBypass() {
        return posting.isPresent() && posting.get().posts();
    }

    @Override
    protected boolean connected(FakeIrqfd irqfd, MessageHostIrq producer) {
        return posting.orElseThrow().connect(irqfd, producer, message(irqfd));
    }

    @Override
    protected void rerouted(FakeIrqfd irqfd, MessageHostIrq producer) {
        posting.orElseThrow().update(irqfd, message(irqfd));
    }

    @Override
    protected void disconnected(FakeIrqfd irqfd, MessageHostIrq producer) {
        posting.orElseThrow().disconnect(irqfd);
    }

    /** Up to 6.16 a file of KVM-VFIO counts for posting as a connected irqfd does ({@code assigned_device_count}). */
    @Override
    protected void assigned() {
        if (hasBypass() && !host().build().isSince(6, 17)) {
            posting.orElseThrow().startBypass();
        }
    }

    @Override
    protected void unassigned() {
        if (hasBypass() && !host().build().isSince(6, 17)) {
            posting.orElseThrow().stopBypass();
        }
    }

    private static Optional<ApicMessage> message(FakeIrqfd irqfd) {
        return Optional.ofNullable((ApicMessage) irqfd.message());
    }

    @Override
    protected void closed() {
        posting.ifPresent(IrqPosting::close);
        dropHolder();
    }

    /** Adds a reference of a vCPU's file to its VM. */
    void addHolder() {
        holders++;
    }

    /** The file of the VM, or of a vCPU, was released. The last one ends the VM's messages. */
    void dropHolder() {
        holders--;
        if (holders == 0) {
            lapics.forEach(lapic -> lapic.messages().close());
        }
    }

    // Chips, by KVM_IRQCHIP number

    FakePics pics() {
        return pics;
    }

    FakeIoapic ioapic() {
        return ioapic;
    }

    // Interrupts

    @Override
    protected void drive(int gsi, int source, boolean level) {
        if (!isClosed()) {
            setIrq(gsi, source, level, false);
        }
    }

    /**
     * Drives a GSI of one message without a worker if the APIC map decides. The call chain is short, because the JIT
     * inlines at most 15 nested calls.
     */
    @Override
    protected boolean driveAtOnce(FakeIrqfd irqfd) {
        ApicMessage message = (ApicMessage) irqfd.message();
        int taken = message == null
                ? FakeLapics.UNDECIDED
                : message.isInvalid(lapics.has32BitIds()) ? -1 : lapics.deliverByMap(message, lapic -> {});
        if (taken == FakeLapics.UNDECIDED) {
            return false;
        }
        note(InterruptAnswer.LINE_STATUS_SUM);
        if (taken <= 0) {
            settleUntaken(irqfd.gsi());
        }
        return true;
    }

    private void settleUntaken(int gsi) {
        host().ledger().settleAt(gsi, NOT_TAKEN);
    }

    /** Drives a GSI's targets. Returns the sum over the routes that did not return a negative value; -1 if none. */
    int setIrq(int gsi, int source, boolean level, boolean wanted) {
        int sum = -1;
        FakeRoutes.Target[] targets = routes().of(gsi);
        note(targets.length == 0 ? InterruptAnswer.LINE_UNROUTED : InterruptAnswer.LINE_STATUS_SUM);
        if (level && targets.length == 0) {
            host().ledger().settleAt(gsi, "was raised but has no route");
        }
        for (FakeRoutes.Target target : targets) {
            int result = drive(target, source, level, wanted);
            if (level && result <= 0 && message(target) != null) {
                settleUntaken(gsi);
            }
            if (result >= 0) {
                sum = result + Math.max(sum, 0);
            }
        }
        return sum;
    }

    private int drive(FakeRoutes.Target target, int source, boolean level, boolean wanted) {
        ApicMessage message = message(target);
        if (message != null) {
            return level && !message.isInvalid(lapics.has32BitIds()) ? lapics.deliver(message) : -1;
        }
        host().ledger().becomeLevel();
        return switch (target.chip()) {
            case FakePics.MASTER, FakePics.SLAVE -> pics.set(target.chip(), target.pin(), source, level);
            case FakeRoutes.SINT -> {
                note(InterruptAnswer.ROUTE_SYNTHETIC);
                yield -1;
            }
            default -> ioapic.set(target.pin(), source, level, wanted);
        };
    }

    /** Fills a LAPIC's EOI exit bitmap with the vectors of the pins of the in-kernel or the VMM's IOAPIC. */
    void scan(FakeLapic lapic) {
        if (irqchip == Irqchip.FULL) {
            ioapic.scan(lapic);
        }
        if (irqchip == Irqchip.SPLIT) {
            note(VmAnswer.SPLIT_PINS_KEPT);
        }
        for (int gsi = 0; gsi < reservedPins; gsi++) {
            for (FakeRoutes.Target target : routes().of(gsi)) {
                ApicMessage message = message(target);
                if (message != null && message.level()) {
                    lapic.eoiExitBitmap()
                            .add(message.vector(), lapics.isFor(message, lapic), lapic.isPending(message.vector()));
                }
            }
        }
    }

    /** Called after KVM_SET_LAPIC replaced a LAPIC's registers. */
    void restored(FakeLapic lapic) {
        lapics.recalculateApicMap();
        if (irqchip == Irqchip.FULL) {
            ioapic.recount(lapic);
        }
    }

    void endOfInterrupt(FakeLapic lapic, int vector, boolean level) {
        if (irqchip == Irqchip.FULL) {
            ioapic.endOfInterrupt(lapic, vector, level);
        } else {
            lapic.eoiExitBitmap().requestEoiExit(vector);
        }
    }

    /**
     * Signals the resamplefds of an IOAPIC pin that the guest unmasks while it is pending, since 6.4, so that the device
     * raises it again if it still asserts. False if there are none.
     */
    boolean resamplesAtUnmask(int pin) {
        boolean resamples = isResampled(IOAPIC, pin) && host().build().isSince(6, 4);
        if (resamples) {
            note(IrqfdAnswer.RESAMPLE_AT_UNMASK);
            resampler(routes().gsiOfPin(IOAPIC, pin)).signal();
        }
        return resamples;
    }

    boolean isResampled(int chip, int pin) {
        int gsi = routes().gsiOfPin(chip, pin);
        return gsi >= 0 && isResampledGsi(gsi);
    }

    /** Handles the EOI of an IOAPIC pin. */
    void acknowledged(int pin) {
        acknowledged(IOAPIC, pin);
    }

    /** Handles the EOI of a pin: deasserts the resampling line of its GSI and signals the resamplefds. */
    void acknowledged(int chip, int pin) {
        if (isResampled(chip, pin)) {
            note(IrqfdAnswer.RESAMPLE_ON_EOI);
            resampler(routes().gsiOfPin(chip, pin)).acknowledge();
        }
    }
}
