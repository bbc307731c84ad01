/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.MachineControl;
import io.kvmirq.explain.VgicAnswer;

/**
 * The registers of a vCPU's CPU interface of a GICv2, as the VMM saves and restores them. Linux keeps them in the form
 * of GICH_VMCR. Source: {@code vgic_v2_cpu_registers} in arch/arm64/kvm/vgic/vgic-mmio-v2.c; ARM IHI 0048, "GICV_CTLR",
 * "GICV_IAR".
 */
final class GicV2CpuInterface {
    private static final int CONTROL = 0;
    private static final int PRIORITY_MASK = 4;
    private static final int BINARY_POINT = 8;
    private static final int ALIASED_BINARY_POINT = 0x1c;
    private static final int ACTIVE_PRIORITIES = 0xd0;
    private static final int ACTIVE_PRIORITIES_END = 0xe0;
    private static final int IDENTIFICATION = 0xfc;
    /** KVM, made by Arm, of a GICv2. */
    private static final int IDENTITY = 0x04b2_043b;
    /** GICC_DIR. */
    private static final int DEACTIVATE = 0x1000;

    private final ArmVm vm;
    private int control;
    private int priorityMask;
    private int binaryPoint;
    private int aliasedBinaryPoint;
    private int activePriorities;

    GicV2CpuInterface(ArmVm vm) {
        this.vm = vm;
    }

    /** Whether the group of an interrupt in a list register is enabled, and its priority is not masked. */
    boolean passes(long register) {
        BitField group = ListRegister.GROUP1.isSet(register) ? MachineControl.GROUP1 : MachineControl.GROUP0;
        return group.isSet(control) && ListRegister.PRIORITY.of(register) < priorityMask;
    }

    /** Whether GICC_IAR answers the interrupt in a list register, and takes it. */
    boolean acknowledges(long register) {
        return !ListRegister.GROUP1.isSet(register) || MachineControl.ACK_CONTROL.isSet(control);
    }

    private static boolean canDeactivate(ArmVm vm) {
        return vm.host().build().isSince(6, 19);
    }

    static boolean exists(ArmVm vm, int offset) {
        return switch (offset) {
            case CONTROL, PRIORITY_MASK, BINARY_POINT, ALIASED_BINARY_POINT, IDENTIFICATION -> true;
            case DEACTIVATE -> canDeactivate(vm);
            default -> offset >= ACTIVE_PRIORITIES && offset < ACTIVE_PRIORITIES_END && offset % Integer.BYTES == 0;
        };
    }

    /** Missing registers read as 0, as do the active priorities that a GICv2 does not have. */
    int read(int offset) {
        return switch (offset) {
            case CONTROL -> control;
            case PRIORITY_MASK -> priorityMask;
            case BINARY_POINT -> binaryPoint;
            case ALIASED_BINARY_POINT -> aliasedBinaryPoint;
            case ACTIVE_PRIORITIES -> activePriorities;
            case IDENTIFICATION -> IDENTITY;
            default -> 0;
        };
    }

    /** Writes to missing and to read-only registers are ignored. */
    void write(int offset, int value) {
        vm.note(VgicAnswer.GICV2_CPU_INTERFACE);
        switch (offset) {
            case CONTROL -> control = value & (int) MachineControl.CPU_CONTROL;
            case PRIORITY_MASK -> priorityMask = value & (int) MachineControl.MASK.max();
            case BINARY_POINT -> binaryPoint = value & (int) MachineControl.GROUP0_POINT.max();
            case ALIASED_BINARY_POINT -> aliasedBinaryPoint = value & (int) MachineControl.GROUP1_POINT.max();
            case ACTIVE_PRIORITIES -> activePriorities = value;
            case DEACTIVATE -> {
                if (canDeactivate(vm)) {
                    throw new NotModelledException("GICC_DIR, written by a VMM");
                }
            }
            default -> {}
        }
    }
}
