/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.Lpis;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.arch.gic.model.RegisterFields;
import io.kvmirq.explain.VgicAnswer;
import java.util.Optional;

/**
 * The registers of a vCPU's redistributor that a VMM saves and restores, in 32-bit words. Source: {@code
 * vgic_v3_rd_registers} in arch/arm64/kvm/vgic/vgic-mmio-v3.c.
 */
record RedistributorRegisters(FakeVgic vgic, VgicRegisters distributor) {
    /** Whether KVM_HAS_DEVICE_ATTR accepts an offset. {@code vgic_find_mmio_region()} misses GICR_STATUSR. */
    static boolean exists(int offset) {
        return RedistributorRegister.at(offset)
                        .filter(register -> register != RedistributorRegister.GICR_STATUSR)
                        .isPresent()
                || RedistributorRegister.ofPrivate(offset).isPresent();
    }

    /** Reads a register; missing registers read as 0. */
    int read(int vcpu, int offset) {
        Optional<DistributorRegister> ofPrivate = RedistributorRegister.ofPrivate(offset);
        if (ofPrivate.isPresent()) {
            return distributor.read(ofPrivate.get(), vcpu, offset - RedistributorRegister.PRIVATE_FRAME);
        }
        RedistributorRegister register = RedistributorRegister.at(offset).orElse(null);
        if (register == null) {
            return 0;
        }
        Lpis lpis = vgic.vm().lpis();
        return switch (register) {
            case GICR_CTLR -> {
                int says = vgic.revision() >= RegisterFields.IIDR_LATEST ? 1 : 0;
                yield (int) (RegisterFields.GICR_INVALIDATES.with(says)
                        | RegisterFields.GICR_CAN_DISABLE_LPIS.with(says)
                        | RegisterFields.GICR_ENABLE_LPIS.with(lpis.isEnabled(vcpu) ? 1 : 0));
            }
            case GICR_IIDR -> RegisterFields.IIDR_MAKER;
            case GICR_TYPER -> half(type(vcpu), register, offset);
            case GICR_PROPBASER -> half(lpis.propertyBase(), register, offset);
            case GICR_PENDBASER -> half(lpis.pendingBase(vcpu), register, offset);
            case GICR_IDREGS -> offset == RegisterFields.PIDR2 ? RegisterFields.PIDR2_GICV3 : 0;
            case GICR_STATUSR, GICR_WAKER, GICR_SYNCR, GICR_INVLPIR, GICR_INVALLR, GICR_NSACR -> 0;
        };
    }

    private long type(int index) {
        ArmVcpu vcpu = vgic.vm().vcpus().get(index);
        return RegisterFields.GICR_TYPER_AFFINITY.with(vcpu.affinity())
                | RegisterFields.GICR_TYPER_NUMBER.with(vcpu.id())
                | RegisterFields.GICR_TYPER_LAST.with(vgic.places().isLast(vcpu) ? 1 : 0)
                | RegisterFields.GICR_TYPER_LPIS.with(vgic.vm().hasIts() ? 1 : 0);
    }

    private static int half(long value, RedistributorRegister register, int offset) {
        return (int) (value >>> (offset - register.offset()) * Byte.SIZE);
    }

    private static long withHalf(long value, RedistributorRegister register, int offset, int half) {
        int shift = (offset - register.offset()) * Byte.SIZE;
        return value & ~(0xffff_ffffL << shift) | Integer.toUnsignedLong(half) << shift;
    }

    /** Writes a register; ignores missing and read-only ones. */
    void write(int vcpu, int offset, int value) {
        Optional<DistributorRegister> ofPrivate = RedistributorRegister.ofPrivate(offset);
        if (ofPrivate.isPresent()) {
            distributor.write(ofPrivate.get(), vcpu, offset - RedistributorRegister.PRIVATE_FRAME, value);
            return;
        }
        RedistributorRegister register = RedistributorRegister.at(offset).orElse(null);
        if (register == null) {
            return;
        }
        Lpis lpis = vgic.vm().lpis();
        switch (register) {
            case GICR_CTLR -> {
                if (vgic.vm().hasIts()) {
                    vgic.vm().note(VgicAnswer.VGIC_LPI_TABLES);
                    lpis.enable(vcpu, RegisterFields.GICR_ENABLE_LPIS.isSet(value));
                }
            }
            case GICR_PROPBASER -> lpis.setPropertyBase(vcpu, withHalf(lpis.propertyBase(), register, offset, value));
            case GICR_PENDBASER ->
                lpis.setPendingBase(vcpu, withHalf(lpis.writtenPendingBase(vcpu), register, offset, value));
            case GICR_IIDR, GICR_TYPER, GICR_STATUSR, GICR_WAKER, GICR_SYNCR, GICR_IDREGS, GICR_NSACR -> {}
            case GICR_INVLPIR, GICR_INVALLR -> throw new NotModelledException("writing " + register);
        }
    }
}
