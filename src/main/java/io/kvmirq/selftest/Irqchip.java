/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** Which interrupt controllers a self-test's VM has in the kernel. */
public enum Irqchip {
    /** PIC, IOAPIC and LAPICs. */
    FULL,
    /** LAPICs only: what has pins is the VMM's, and a self-test has no such thing. */
    SPLIT;

    private static final int IOAPIC_PINS = 24;

    /** As typed by users: lower case. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    public static Optional<Irqchip> of(String label) {
        return Arrays.stream(values())
                .filter(irqchip -> irqchip.label().equals(label))
                .findFirst();
    }

    /**
     * The full one where the kernel has it: since 6.17 it may be built without (CONFIG_KVM_IOAPIC).
     *
     * @throws KernelException no VM or irqchip can be made, for another reason
     */
    public static Irqchip ofKernel(Kernel kernel) {
        try (Vm vm = Vm.create(kernel)) {
            FULL.create(vm);
            return FULL;
        } catch (KernelException e) {
            if (e.errno().equals(Errno.ENOTTY)) {
                return SPLIT;
            }
            throw e;
        }
    }

    void create(Vm vm) {
        switch (this) {
            case FULL -> vm.createIrqchip();
            case SPLIT -> vm.createSplitIrqchip(IOAPIC_PINS);
        }
    }
}
