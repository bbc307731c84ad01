/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.Spi;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.Lpis;
import io.kvmirq.arch.gic.model.VlpiMapping;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.MessageHostIrq;
import io.kvmirq.fake.kvm.FakeIrqfd;
import io.kvmirq.fake.kvm.FakeMemorySlots;
import io.kvmirq.fake.kvm.FakeRoutes;
import io.kvmirq.fake.kvm.VmInterrupts;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;

/**
 * The interrupt state of an arm64 VM: its vCPUs, its VGIC and its ITSs. Source: arch/arm64/kvm/vgic/vgic-irqfd.c,
 * arch/arm64/kvm/arm.c.
 */
final class FakeArmVm extends VmInterrupts implements GicHardware.Guest {
    /** KVM_IRQCHIP_NUM_PINS: the number of SPIs that a GIC can have. */
    private static final int PINS = Spi.LAST - Spi.FIRST + 1;

    private final int addressBits;
    private final FakeMemorySlots memory;
    private final LpiMessages messages;
    private final Lpis lpis;
    private final Vlpis vlpis;
    private final List<ArmVcpu> vcpus = new ArrayList<>();
    private final List<FakeIts> itss = new ArrayList<>();
    /** The host interrupts that are mapped to SPIs, by SPI. */
    private final Map<Integer, HostLine> mapped = new TreeMap<>();

    /** The interrupts of the virtual and the physical timer for future vCPUs. */
    private final int[] timers = {27, 30};

    private Optional<FakeVgic> vgic = Optional.empty();
    private Optional<Integer> features = Optional.empty();

    /** @param addressBits the bits of a guest-physical address */
    FakeArmVm(KernelOfFile host, int addressBits) {
        super(host);
        this.addressBits = addressBits;
        this.memory = new FakeMemorySlots(
                host, new FakeMemorySlots.Limits(ArmCapabilities.SLOTS, 1, addressBits, ArmAnswer.ARM_MEMORY_BEYOND));
        this.messages = new LpiMessages(this);
        this.lpis = new Lpis(this::vcpuOfTarget, new ArmRam(host, memory), this::delivers, messages);
        this.vlpis = new Vlpis(this, lpis);
        if (host.hardware() instanceof GicHardware gic) {
            gic.add(this);
        }
    }

    /** The vCPU of a collection's target: its index before 6.7, since then its id. */
    private OptionalInt vcpuOfTarget(int target) {
        note(VgicAnswer.ITS_TARGET);
        if (!host().build().isSince(6, 7)) {
            return target >= 0 && target < vcpus.size() ? OptionalInt.of(target) : OptionalInt.empty();
        }
        return vcpu(target).map(vcpu -> OptionalInt.of(vcpus.indexOf(vcpu))).orElse(OptionalInt.empty());
    }

    private boolean delivers() {
        return vgic.filter(FakeVgic::isInitialized)
                .filter(controller -> controller.delivery().isEnabled())
                .isPresent();
    }

    FakeMemorySlots memory() {
        return memory;
    }

    Lpis lpis() {
        return lpis;
    }

    LpiMessages messages() {
        return messages;
    }

    /** Ends all messages, also of interrupts that were injected while the VM was closed. */
    @Override
    protected void closed() {
        messages.close();
    }

    int addressBits() {
        return addressBits;
    }

    // vCPUs, in creation order

    List<ArmVcpu> vcpus() {
        return vcpus;
    }

    Optional<ArmVcpu> vcpu(int id) {
        return vcpus.stream().filter(vcpu -> vcpu.id() == id).findFirst();
    }

    int[] timers() {
        return timers;
    }

    /** Sets the timer interrupt of all vCPUs; since 6.4 also of future ones. */
    void setTimer(int timer, int interrupt) {
        vcpus.forEach(vcpu -> vcpu.timers()[timer] = interrupt);
        if (host().build().isSince(6, 4)) {
            timers[timer] = interrupt;
        }
    }

    /** @return whether these features equal those of the first initialized vCPU */
    boolean configure(int wanted) {
        if (features.isEmpty()) {
            features = Optional.of(wanted);
        }
        return features.get() == wanted;
    }

    // Interrupt controllers

    Optional<FakeVgic> vgic() {
        return vgic;
    }

    FakeVgic createVgic() {
        FakeVgic created = new FakeVgic(this, ArmCapabilities.isGicV2(host()));
        vgic = Optional.of(created);
        return created;
    }

    FakeIts createIts() {
        FakeIts service = new FakeIts(lpis);
        itss.add(service);
        return service;
    }

    /** Whether an ITS was created. Like a VGIC, it stays after its last descriptor is closed. */
    boolean hasIts() {
        return !itss.isEmpty();
    }

    /** The ITS with a guest address. NotModelledException for the last address, where the kernel's lookup wraps. */
    Optional<FakeIts> its(long address) {
        if (address == -1 && itss.stream().anyMatch(FakeIts::hasPlace)) {
            throw new NotModelledException("a message to the last address");
        }
        return itss.stream().filter(service -> service.isAt(address)).findFirst();
    }

    // vLPIs

    Vlpis vlpis() {
        return vlpis;
    }

    @Override
    public boolean receive(int hostIrq) {
        return !isClosed() && lpis.receive(hostIrq);
    }

    /** {@inheritDoc} vPEs exist while the VM has an ITS and an initialized VGIC. */
    @Override
    public int[] doorbells() {
        boolean has =
                !isClosed() && hasIts() && vgic.filter(FakeVgic::isInitialized).isPresent();
        return has ? vlpis.doorbells() : new int[0];
    }

    /** Returns true, also on hosts without GICv4. */
    @Override
    protected boolean hasBypass() {
        return true;
    }

    private VlpiMapping.Route routeOf(FakeIrqfd irqfd) {
        ArmMessage message = (ArmMessage) routes().message(irqfd.gsi());
        return message == null
                ? new VlpiMapping.Route(Optional.empty(), OptionalInt.empty(), 0)
                : new VlpiMapping.Route(its(message.doorbell()).map(FakeIts::its), message.device(), message.event());
    }

    @Override
    protected boolean connected(FakeIrqfd irqfd, MessageHostIrq producer) {
        return vlpis.connect(irqfd, producer, routeOf(irqfd));
    }

    @Override
    protected void rerouted(FakeIrqfd irqfd, MessageHostIrq producer) {
        vlpis.reroute(irqfd, routeOf(irqfd));
    }

    @Override
    protected void disconnected(FakeIrqfd irqfd, MessageHostIrq producer) {
        vlpis.disconnect(irqfd);
    }

    // Interrupts of the host that the guest ends, as in 2014

    @Override
    protected boolean forwards() {
        return true;
    }

    /** Forwards an interrupt. The GSI is a pin of the VGIC, because arm64 had no routes in 2014. */
    @Override
    protected Optional<Answer> forward(HostLine line, int gsi) {
        int spi = gsi + InterruptId.FIRST_SPI;
        boolean free = vgic.filter(controller -> controller.isInitialized() && controller.isShared(spi))
                        .isPresent()
                && !mapped.containsKey(spi);
        if (!free) {
            return Optional.of(InterruptAnswer.FORWARD_NO_LINE);
        }
        mapped.put(spi, line);
        line.forward();
        return Optional.empty();
    }

    @Override
    protected void unforward(HostLine line, int gsi) {
        mapped.remove(gsi + InterruptId.FIRST_SPI);
        line.unforward();
    }

    Map<Integer, HostLine> mapped() {
        return mapped;
    }

    Optional<HostLine> mapped(int spi) {
        return Optional.ofNullable(mapped.get(spi));
    }

    /** The mapped host interrupt with an INTID of the host's GIC. */
    Optional<HostLine> mappedFrom(int physicalId) {
        return mapped.values().stream()
                .filter(line -> line.physicalId() == physicalId)
                .findFirst();
    }

    /** Signals the resamplefds of a level-triggered SPI's GSI, because the guest ended the SPI. */
    void acknowledged(int pin) {
        int gsi = routes().gsiOfPin(0, pin);
        if (gsi >= 0 && isResampledGsi(gsi)) {
            resampler(gsi).acknowledge();
        }
    }

    // Targets of routes

    @Override
    protected Optional<Answer> refusesIrqfd(boolean resample) {
        boolean initialized = vgic.filter(FakeVgic::isInitialized).isPresent();
        return initialized ? Optional.empty() : Optional.of(ArmAnswer.ARM_IRQFD_BEFORE_INIT);
    }

    @Override
    protected Optional<Answer> refusesRoutes() {
        note(ArmAnswer.ARM_ROUTES_WITHOUT_VGIC);
        return Optional.empty();
    }

    @Override
    public Optional<Answer> refusesPin(int chip, int pin) {
        boolean exists = chip == 0 && pin >= 0 && pin < PINS;
        return exists ? Optional.empty() : Optional.of(ArmAnswer.ARM_ROUTE_PIN);
    }

    @Override
    public ArmMessage message(long address, int data, OptionalInt device) {
        return new ArmMessage(address, data, device);
    }

    /** Writes a message to an ITS. Returns 1 if its LPI is pending, 0 if no event is mapped, or a negative errno. */
    int send(ArmMessage message) {
        if (!hasIts()) {
            return host().refuse(ArmAnswer.ARM_MSI_NEEDS_ITS);
        }
        if (message.device().isEmpty()) {
            return host().refuse(ArmAnswer.ARM_MSI_NEEDS_DEVICE);
        }
        FakeIts service = its(message.doorbell()).orElse(null);
        if (service == null) {
            return host().refuse(ArmAnswer.ARM_MSI_DOORBELL);
        }
        return switch (service.its().message(message.device().getAsInt(), message.event())) {
            case PENDING -> 1;
            case UNMAPPED -> {
                note(ArmAnswer.ARM_MSI_UNMAPPED);
                yield 0;
            }
            case DISABLED -> host().refuse(ArmAnswer.ARM_MSI_ITS_OFF);
        };
    }

    @Override
    protected void drive(int gsi, int source, boolean level) {
        if (isClosed()) {
            return;
        }
        if (level && routes().of(gsi).length == 0) {
            host().ledger().settleAt(gsi, "was raised but has no route");
        }
        for (FakeRoutes.Target target : routes().of(gsi)) {
            ArmMessage message = (ArmMessage) target.message();
            if (message != null) {
                if (level && send(message) <= 0) {
                    note(ArmAnswer.ARM_MESSAGE_LOST);
                    host().ledger().settleAt(gsi, "was raised but no ITS made its message pending");
                }
            } else {
                host().ledger().becomeLevel();
                drive(target.pin(), level);
            }
        }
    }

    private void drive(int pin, boolean level) {
        int number = pin + InterruptId.FIRST_SPI;
        if (vgic.filter(controller -> controller.isShared(number)).isEmpty()) {
            note(ArmAnswer.ARM_PIN_NOWHERE);
            return;
        }
        vgic.ifPresent(controller -> controller.inject(0, number, level));
    }

    /** Injects an SPI without a worker: asserts its line and does not deassert it. */
    @Override
    protected boolean driveAtOnce(FakeIrqfd irqfd) {
        FakeRoutes.Target[] targets = routes().of(irqfd.gsi());
        if (targets.length == 0 || targets[0].message() != null) {
            return false;
        }
        note(ArmAnswer.ARM_IRQFD_STAYS_UP);
        host().ledger().becomeLevel();
        drive(targets[0].pin(), true);
        return true;
    }
}
