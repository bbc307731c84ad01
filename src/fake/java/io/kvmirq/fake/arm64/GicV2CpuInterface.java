/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.MachineControl;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.KernelOfFile;

/**
 * The GICv2 CPU interface of a vCPU: the registers that a VMM saves and restores. Linux stores them in the format of
 * GICH_VMCR. Source: {@code vgic_v2_cpu_registers} in arch/arm64/kvm/vgic/vgic-mmio-v2.c; ARM IHI 0048, "GICV_CTLR",
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
    /** GICC_IIDR: KVM's product id, implementer Arm, GICv2. */
    private static final int IDENTITY = 0x04b2_043b;
    /** GICC_DIR. */
    private static final int DEACTIVATE = 0x1000;

    private final KernelOfFile host;
    private int control;
    private int priorityMask;
    private int binaryPoint;
    private int aliasedBinaryPoint;
    private int activePriorities;

    GicV2CpuInterface(KernelOfFile host) {
        this.host = host;
    }

    /** Whether the interrupt in a list register has an enabled group and an unmasked priority. */
    boolean passes(long register) {
        BitField group = ListRegister.GROUP1.isSet(register) ? MachineControl.GROUP1 : MachineControl.GROUP0;
        return group.isSet(control) && ListRegister.PRIORITY.of(register) < priorityMask;
    }

    /** Whether a read of GICC_IAR returns and takes the interrupt in a list register. */
    boolean acknowledges(long register) {
        return !ListRegister.GROUP1.isSet(register) || MachineControl.ACK_CONTROL.isSet(control);
    }

    private static boolean canDeactivate(KernelOfFile host) {
        return host.build().isSince(6, 19);
    }

    static boolean exists(KernelOfFile host, int offset) {
        return switch (offset) {
            case CONTROL, PRIORITY_MASK, BINARY_POINT, ALIASED_BINARY_POINT, IDENTIFICATION -> true;
            case DEACTIVATE -> canDeactivate(host);
            default -> offset >= ACTIVE_PRIORITIES && offset < ACTIVE_PRIORITIES_END && offset % Integer.BYTES == 0;
        };
    }

    /** Reads a register. Missing registers read as 0, and so do active priorities that a GICv2 lacks. */
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

    /** Writes a register; ignores missing and read-only ones. */
    void write(int offset, int value) {
        host.note(VgicAnswer.GICV2_CPU_INTERFACE);
        switch (offset) {
            case CONTROL -> control = value & (int) MachineControl.CPU_CONTROL;
            case PRIORITY_MASK -> priorityMask = value & (int) MachineControl.MASK.max();
            case BINARY_POINT -> binaryPoint = value & (int) MachineControl.GROUP0_POINT.max();
            case ALIASED_BINARY_POINT -> aliasedBinaryPoint = value & (int) MachineControl.GROUP1_POINT.max();
            case ACTIVE_PRIORITIES -> activePriorities = value;
            case DEACTIVATE -> {
                if (canDeactivate(host)) {
                    throw new NotModelledException("GICC_DIR, written by a VMM");
                }
            }
            default -> {}
        }
    }
}
