/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.fake.kvm.FakeRoutes;
import io.kvmirq.fake.rules.KernelRule;
import java.util.BitSet;
import java.util.Optional;

/**
 * The distributor of an in-kernel GICv3, as the VMM sees it. No guest runs, so a pending interrupt stays pending.
 * Source: arch/arm64/kvm/vgic/vgic-init.c, {@code kvm_vgic_inject_irq()} in vgic.c.
 */
final class FakeVgic {
    /** The number of SGIs and PPIs of each vCPU; the first SPI has this number. */
    static final int PRIVATE = 32;
    /** VGIC_NR_SGIS. */
    static final int SOFTWARE = 16;

    private static final int DEFAULT_SHARED = 256 - PRIVATE;
    private static final int FEWEST = PRIVATE + 32;
    /** VGIC_MAX_RESERVED; the count must be a multiple of 32, so the largest is 992. */
    private static final int MOST = 1023;

    private final ArmVm vm;
    private final VgicPlaces places;
    private int shared;
    private boolean initialized;

    // One bit per interrupt number
    private final BitSet enabled = new BitSet();
    private final BitSet latched = new BitSet();
    private final BitSet lines = new BitSet();
    private final BitSet level = new BitSet();

    FakeVgic(ArmVm vm) {
        this.vm = vm;
        this.places = new VgicPlaces(vm);
    }

    ArmVm vm() {
        return vm;
    }

    VgicPlaces places() {
        return places;
    }

    boolean isInitialized() {
        return initialized;
    }

    /** The number of interrupts, private and shared. */
    int interrupts() {
        return PRIVATE + shared;
    }

    boolean isShared(int number) {
        return number >= PRIVATE && number < interrupts();
    }

    /** @return the rule that refuses this number of interrupts; empty for none */
    Optional<KernelRule> setInterrupts(int count) {
        if (Integer.compareUnsigned(count, FEWEST) < 0
                || Integer.compareUnsigned(count, MOST) > 0
                || count % PRIVATE != 0) {
            return Optional.of(KernelRule.VGIC_INTERRUPTS);
        }
        if (shared != 0) {
            return Optional.of(KernelRule.VGIC_INTERRUPTS_SET);
        }
        shared = count - PRIVATE;
        return Optional.empty();
    }

    /** Fixes the number of interrupts and the vCPUs, and installs the default routes. */
    void initialize() {
        if (initialized) {
            return;
        }
        if (shared == 0) {
            shared = DEFAULT_SHARED;
        }
        vm.note(KernelRule.VGIC_DEFAULT_ROUTES);
        FakeRoutes routes = new FakeRoutes();
        for (int gsi = 0; gsi < shared; gsi++) {
            routes.add(gsi, FakeRoutes.Target.pin(0, gsi));
        }
        vm.setRoutes(routes);
        initialized = true;
    }

    BitSet enabled() {
        return enabled;
    }

    /** Interrupts with a latched edge, independent of the line. */
    BitSet latched() {
        return latched;
    }

    /** Interrupts whose line is high. */
    BitSet lines() {
        return lines;
    }

    /** Level-triggered interrupts; all others are edge-triggered. */
    BitSet level() {
        return level;
    }

    /** Sets the line of an SPI. */
    void inject(int number, boolean up) {
        if (level.get(number)) {
            vm.note(KernelRule.VGIC_LEVEL);
            lines.set(number, up);
        } else if (up) {
            vm.note(KernelRule.VGIC_EDGE);
            latched.set(number);
        }
    }

    /** Sets the line of a PPI, which is level-triggered. */
    void inject(ArmVcpu vcpu, int number, boolean up) {
        vm.note(KernelRule.VGIC_LEVEL);
        int bit = 1 << number;
        vcpu.setLines(up ? vcpu.lines() | bit : vcpu.lines() & ~bit);
    }
}
