/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.arch.gic.model.RegisterFields;
import io.kvmirq.kvm.VgicV3;

/** Programs the distributor of a VM as the driver of its guest does. Until then the guest takes no interrupt. */
public final class GuestGic {
    private static final int PRIORITIES = Integer.BYTES;

    private GuestGic() {}

    /** Enables the distributor: the first thing that a driver does. */
    public static void enable(VgicV3 vgic) {
        vgic.writeDistributor(DistributorRegister.GICD_CTLR.offset(), (int) RegisterFields.CTLR_ENABLE_GROUP1.mask());
    }

    /** Disables it. */
    public static void disable(VgicV3 vgic) {
        vgic.writeDistributor(DistributorRegister.GICD_CTLR.offset(), 0);
    }

    /** Enables the CPU interface of a vCPU: group 1, all priorities but the lowest. A driver uses instructions for it. */
    public static void enable(VgicV3 vgic, VcpuId vcpu) {
        vgic.writeSystemRegister(vcpu, CpuInterfaceRegister.ICC_PMR_EL1.id(), 0xff);
        vgic.writeSystemRegister(vcpu, CpuInterfaceRegister.ICC_IGRPEN1_EL1.id(), 1);
    }

    /** Writes a register of 64 bits. */
    public static void write(VgicV3 vgic, VcpuId vcpu, RedistributorRegister register, long value) {
        vgic.writeRedistributor(vcpu, register.offset(), (int) value);
        vgic.writeRedistributor(vcpu, register.offset() + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    /** Enables an SPI. */
    public static void enable(VgicV3 vgic, Spi spi) {
        vgic.writeDistributor(word(DistributorRegister.GICD_ISENABLER, spi), bit(spi));
    }

    /** Sets the priority of an SPI, 0–248 in steps of 8, the lowest first; its three neighbours keep theirs. */
    public static void setPriority(VgicV3 vgic, Spi spi, int priority) {
        int offset = DistributorRegister.GICD_IPRIORITYR.offset() + spi.number() / PRIORITIES * PRIORITIES;
        int shift = spi.number() % PRIORITIES * Byte.SIZE;
        int others = vgic.readDistributor(offset) & ~(0xff << shift);
        vgic.writeDistributor(offset, others | priority << shift);
    }

    /** Routes an SPI to a vCPU with an id below 16, whose affinity equals its id. */
    public static void route(VgicV3 vgic, Spi spi, VcpuId vcpu) {
        vgic.writeDistributor(DistributorRegister.GICD_IROUTER.offset() + spi.number() * Long.BYTES, vcpu.number());
    }

    /** The offset of the word with an SPI's bit. */
    public static int word(DistributorRegister register, Spi spi) {
        return register.offset() + spi.number() / Integer.SIZE * Integer.BYTES;
    }

    /** The bit of an SPI in its word. */
    public static int bit(Spi spi) {
        return 1 << spi.number() % Integer.SIZE;
    }
}
