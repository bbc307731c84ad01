/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.model.Distributor;
import io.kvmirq.arch.gic.model.InterruptState;
import io.kvmirq.arch.gic.model.RegisterFields;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.kvm.FakeRoutes;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * An in-kernel GICv3 or GICv2 with the interface for a VMM. No guest code runs, so pending interrupts stay pending.
 * Source: arch/arm64/kvm/vgic/vgic-init.c, {@code kvm_vgic_inject_irq()} in vgic.c.
 */
final class FakeVgic {
    private static final int DEFAULT_SHARED = 256 - InterruptId.FIRST_SPI;
    private static final int FEWEST_INTERRUPTS = InterruptId.FIRST_SPI + 32;
    /** VGIC_MAX_RESERVED. The number of interrupts is a multiple of 32, so at most 992. */
    private static final int MOST_INTERRUPTS = 1023;
    /** A list register stores bits 7:3 of a priority. */
    private static final int PRIORITY_SHIFT = 3;

    private final FakeArmVm vm;
    private final boolean gicv2;
    private final VgicPlaces places;
    private int shared;
    private int revision = RegisterFields.IIDR_LATEST;
    private Optional<Distributor> distributor = Optional.empty();
    private Optional<VgicDelivery> delivery = Optional.empty();
    /** The CPU interfaces by vCPU index, once the VGIC is initialized. */
    private List<CpuInterface> interfaces = List.of();
    /** The CPU interfaces of a GICv2, by vCPU index. */
    private final List<GicV2CpuInterface> gicV2Interfaces = new ArrayList<>();

    FakeVgic(FakeArmVm vm, boolean gicv2) {
        this.vm = vm;
        this.gicv2 = gicv2;
        this.places = new VgicPlaces(vm);
        for (int i = 0; i < VcpuId.MOST_OF_GICV2; i++) {
            gicV2Interfaces.add(new GicV2CpuInterface(vm.host()));
        }
    }

    FakeArmVm vm() {
        return vm;
    }

    boolean isGicV2() {
        return gicv2;
    }

    VgicPlaces places() {
        return places;
    }

    boolean isInitialized() {
        return distributor.isPresent();
    }

    int interrupts() {
        return InterruptId.FIRST_SPI + shared;
    }

    boolean isShared(int number) {
        return number >= InterruptId.FIRST_SPI && number < interrupts();
    }

    Optional<Answer> setInterrupts(int count) {
        if (Integer.compareUnsigned(count, FEWEST_INTERRUPTS) < 0
                || Integer.compareUnsigned(count, MOST_INTERRUPTS) > 0
                || count % InterruptId.FIRST_SPI != 0) {
            return Optional.of(VgicAnswer.VGIC_INTERRUPTS);
        }
        if (shared != 0) {
            return Optional.of(VgicAnswer.VGIC_INTERRUPTS_SET);
        }
        shared = count - InterruptId.FIRST_SPI;
        return Optional.empty();
    }

    /** {@code vgic_lazy_init()}: initializes a GICv2 at the use of a line or register; false if uninitialized. */
    boolean initializeByUse() {
        if (gicv2 && !isInitialized()) {
            vm.note(VgicAnswer.GICV2_INITIALIZED_BY_USE);
            initialize();
        }
        return isInitialized();
    }

    /** Fixes the number of interrupts and the vCPUs, and installs the default routes. */
    void initialize() {
        if (isInitialized()) {
            return;
        }
        if (shared == 0) {
            shared = DEFAULT_SHARED;
        }
        vm.note(VgicAnswer.VGIC_DEFAULT_ROUTES);
        FakeRoutes routes = new FakeRoutes();
        for (int gsi = 0; gsi < shared; gsi++) {
            routes.add(gsi, FakeRoutes.Target.pin(0, gsi));
        }
        vm.setRoutes(routes);
        // The model needs at least one vCPU. A VMM may write any of 8 bits as the source of an SGI.
        Distributor made = gicv2
                ? Distributor.gicv2(VcpuId.MOST_OF_GICV2, shared, vcpu -> {})
                : Distributor.gicv3(Math.max(1, vm.vcpus().size()), shared, vcpu -> {});
        distributor = Optional.of(made);
        delivery = Optional.of(new VgicDelivery(vm, made));
        interfaces = vm.vcpus().stream().map(vcpu -> new CpuInterface()).toList();
    }

    /** GICD_IIDR.Revision. */
    int revision() {
        return revision;
    }

    void setRevision(int to) {
        revision = to;
    }

    /** The state of the interrupts. The VGIC is initialized. */
    Distributor distributor() {
        return distributor.orElseThrow();
    }

    /** The delivery of interrupts to guests. The VGIC is initialized. */
    VgicDelivery delivery() {
        return delivery.orElseThrow();
    }

    /** The CPU interface of a vCPU. The VGIC is initialized. */
    CpuInterface cpuInterface(int vcpu) {
        return interfaces.get(vcpu);
    }

    GicV2CpuInterface gicV2Interface(int vcpu) {
        return gicV2Interfaces.get(vcpu);
    }

    /** Whether a vCPU's CPU interface does not mask the interrupt in a list register. The VGIC is initialized. */
    boolean passes(int vcpu, long register) {
        int priority = (int) ListRegister.PRIORITY.of(register) << PRIORITY_SHIFT;
        return gicv2
                ? gicV2Interfaces.get(vcpu).passes(register)
                : ListRegister.GROUP1.isSet(register) && interfaces.get(vcpu).passes(priority);
    }

    /** Whether IAR returns an interrupt that is not masked. */
    boolean acknowledges(int vcpu, long register) {
        return !gicv2 || gicV2Interfaces.get(vcpu).acknowledges(register);
    }

    /** Injects a change of a level or a rising edge; ignores others, as {@code vgic_validate_injection()}. */
    void inject(int vcpu, int number, boolean up) {
        boolean level = distributor().is(InterruptState.LEVEL, vcpu, number);
        boolean counts = level ? up != distributor().is(InterruptState.LINE, vcpu, number) : up;
        if (level || up) {
            vm.note(level ? VgicAnswer.VGIC_LEVEL : VgicAnswer.VGIC_EDGE);
        }
        if (up) {
            distributor().raise(vcpu, number);
        } else {
            distributor().lower(vcpu, number);
        }
        if (counts) {
            delivery().queue(vcpu, number);
        }
    }
}
