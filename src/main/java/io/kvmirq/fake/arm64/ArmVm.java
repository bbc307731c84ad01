/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.FakeIrqfd;
import io.kvmirq.fake.kvm.FakeRoutes;
import io.kvmirq.fake.kvm.VmInterrupts;
import io.kvmirq.fake.rules.KernelRule;
import io.kvmirq.fake.rules.NotModelledException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The interrupt side of a VM on arm64: vCPUs, and the VGIC and ITSs there are. Source: arch/arm64/kvm/vgic/vgic-irqfd.c,
 * arch/arm64/kvm/arm.c.
 */
final class ArmVm extends VmInterrupts {
    /** KVM_IRQCHIP_NUM_PINS: all shared interrupts a GIC can have. */
    private static final int PINS = 988;

    /** To an ITS: none of them takes it. */
    private static final Object MESSAGE = new Object();

    private final int addressBits;
    private final List<ArmVcpu> vcpus = new ArrayList<>();
    private final List<FakeIts> itss = new ArrayList<>();
    private Optional<FakeVgic> vgic = Optional.empty();
    private Optional<Integer> features = Optional.empty();

    /** @param addressBits of the guest's physical addresses */
    ArmVm(Host host, int addressBits) {
        super(host);
        this.addressBits = addressBits;
    }

    int addressBits() {
        return addressBits;
    }

    // vCPUs, in the order they were made

    List<ArmVcpu> vcpus() {
        return vcpus;
    }

    Optional<ArmVcpu> vcpu(int id) {
        return vcpus.stream().filter(vcpu -> vcpu.id() == id).findFirst();
    }

    /** @return whether the vCPUs may have these features: the first that is initialized decides */
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
        FakeVgic created = new FakeVgic(this);
        vgic = Optional.of(created);
        return created;
    }

    FakeIts createIts() {
        FakeIts its = new FakeIts(this);
        itss.add(its);
        return its;
    }

    /** One is enough for ever: it stays when its last descriptor is closed, as a VGIC does. */
    boolean hasIts() {
        return !itss.isEmpty();
    }

    /**
     * The ITS that has a guest address.
     *
     * @throws NotModelledException for the last address, which is any device's, as looking it up wraps
     */
    Optional<FakeIts> its(long address) {
        if (address == -1 && itss.stream().anyMatch(FakeIts::hasPlace)) {
            throw new NotModelledException("a message to the last address");
        }
        return itss.stream().filter(its -> its.isAt(address)).findFirst();
    }

    // Where routes end

    @Override
    protected Optional<KernelRule> refusesIrqfd(boolean resample) {
        boolean initialized = vgic.filter(FakeVgic::isInitialized).isPresent();
        return initialized ? Optional.empty() : Optional.of(KernelRule.ARM_IRQFD_BEFORE_INIT);
    }

    @Override
    protected Optional<KernelRule> refusesRoutes() {
        note(KernelRule.ARM_ROUTES_WITHOUT_VGIC);
        return Optional.empty();
    }

    @Override
    public Optional<KernelRule> refusesPin(int chip, int pin) {
        boolean exists = chip == 0 && pin >= 0 && pin < PINS;
        return exists ? Optional.empty() : Optional.of(KernelRule.ARM_ROUTE_PIN);
    }

    @Override
    public Object message(int low, int high, int data) {
        return MESSAGE;
    }

    @Override
    protected void drive(int gsi, int source, boolean level) {
        if (isClosed()) {
            return;
        }
        for (FakeRoutes.Target target : routes().of(gsi)) {
            if (target.message() != null) {
                // No guest runs, so no ITS is on.
                note(KernelRule.ARM_MESSAGE_LOST);
            } else {
                drive(target.pin(), level);
            }
        }
    }

    private void drive(int pin, boolean level) {
        int number = pin + FakeVgic.PRIVATE;
        if (vgic.filter(one -> one.isShared(number)).isEmpty()) {
            note(KernelRule.ARM_PIN_NOWHERE);
            return;
        }
        vgic.ifPresent(one -> one.inject(number, level));
    }

    /** A shared interrupt needs no worker: its line goes up and stays. */
    @Override
    protected boolean driveAtOnce(FakeIrqfd irqfd) {
        FakeRoutes.Target[] targets = routes().of(irqfd.gsi());
        if (targets.length == 0 || targets[0].message() != null) {
            return false;
        }
        note(KernelRule.ARM_IRQFD_STAYS_UP);
        drive(targets[0].pin(), true);
        return true;
    }
}
