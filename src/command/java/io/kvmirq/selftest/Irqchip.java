/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vm;
import java.util.Locale;

/** The interrupt controllers that KVM emulates for a self-test's VM. */
public enum Irqchip {
    /** PIC, IOAPIC and LAPICs. */
    FULL,
    /** LAPICs only. The VMM emulates PIC and IOAPIC; a self-test has neither. */
    SPLIT,
    /** A GICv3 of arm64, with an ITS if the host has one, or else a GICv2. */
    VGIC,
    /** The same without a guest: interrupts are seen in its pending state. */
    PENDING;

    private static final int IOAPIC_PINS = 24;

    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The VGIC on arm64, and {@link #PENDING} where no guest runs: on a fake kernel, and on a host whose GIC KVM cannot
     * give a VM. Else the full irqchip if the kernel has it. A kernel from 6.17 on may be built without it
     * (CONFIG_KVM_IOAPIC).
     *
     * @throws KernelException if KVM_CREATE_VM fails, or KVM_CREATE_IRQCHIP fails for another reason
     */
    public static Irqchip ofKernel(Kernel kernel) {
        try (Vm vm = Vm.create(kernel)) {
            if (kernel.facts().architecture() == KernelFacts.Architecture.ARM64) {
                boolean hasGic = vm.supports(KvmDevice.Type.VGIC_V3) || vm.supports(KvmDevice.Type.VGIC_V2);
                return kernel.isReal() && hasGic ? VGIC : PENDING;
            }
            FULL.create(vm);
            return FULL;
        } catch (KernelException e) {
            if (e.errno().equals(Errno.ENOTTY)) {
                return SPLIT;
            }
            throw e;
        }
    }

    public boolean runsGuest() {
        return this != PENDING;
    }

    /** Whether it is one of arm64. */
    public boolean isVgic() {
        return this == VGIC || this == PENDING;
    }

    /** Creates the irqchip of an x86 VM. */
    void create(Vm vm) {
        switch (this) {
            case FULL -> vm.x86().createIrqchip();
            case SPLIT -> vm.x86().createSplitIrqchip(IOAPIC_PINS);
            case VGIC, PENDING -> throw new AssertionError(this);
        }
    }
}
