/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.stream.IntStream;

/** A VGICv3's descriptor; source: arch/arm64/kvm/vgic/vgic-kvm-device.c. */
final class VgicFile extends VgicDeviceFile {
    /** KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ, for nested virtualization. */
    private static final int MAINTENANCE = 9;

    private static final long OFFSET = 0xffff_ffffL;
    private static final int SYSTEM_REGISTER = 0xffff;
    private static final int REGION_INDEX = 0xff;
    private static final long REGION_BASE = 0xf_ffff_ffff_0000L;
    private static final int REGION_FLAGS = 0xf000;
    private static final int REGION_COUNT_SHIFT = 52;
    private static final int NUMBERS = (1 << UapiArm64.KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT) - 1;

    private final VgicRegisters registers;
    private final RedistributorRegisters redistributor;

    VgicFile(KernelOfFile host, FakeVgic vgic) {
        super(host, vgic);
        this.registers = new VgicRegisters(vgic);
        this.redistributor = new RedistributorRegisters(vgic, registers);
    }

    private void requireModelled(Attribute attribute) {
        if (attribute.group() == MAINTENANCE && host.build().isSince(6, 16)) {
            throw new NotModelledException("KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ");
        }
    }

    @Override
    protected int get(Attribute attribute) {
        return access(attribute, true);
    }

    @Override
    protected int set(Attribute attribute) {
        return access(attribute, false);
    }

    @Override
    protected int has(Attribute attribute) {
        requireModelled(attribute);
        boolean has =
                switch (attribute.group()) {
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR ->
                        attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_DIST
                                || attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST
                                || attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS -> true;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL ->
                        attribute.number() == UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT
                                || attribute.number() == UapiArm64.KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO -> asksForLevel(attribute);
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS ->
                        vcpu(attribute).isPresent() && registers.exists((int) (attribute.number() & OFFSET));
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS ->
                        vcpu(attribute).isPresent()
                                && RedistributorRegisters.exists((int) (attribute.number() & OFFSET));
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS ->
                        vcpu(attribute).isPresent() && systemRegister(attribute).isPresent();
                    default -> false;
                };
        boolean ofNobody = vcpu(attribute).isEmpty()
                && (attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS
                        || attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS
                        || attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS);
        return has ? 0 : host.refuse(ofNobody ? VgicAnswer.VGIC_NO_VCPU : VgicAnswer.VGIC_ATTRIBUTE);
    }

    private int access(Attribute attribute, boolean get) {
        requireModelled(attribute);
        return switch (attribute.group()) {
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR -> get ? getPlace(attribute) : setPlace(attribute);
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL ->
                !get && attribute.number() == UapiArm64.KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES
                        ? savePending()
                        : common(attribute, get);
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO -> register(attribute, get);
            default -> common(attribute, get);
        };
    }

    // Addresses

    /** Sets an address. Copies the value in before the attribute is checked, as the kernel does. */
    private int setPlace(Attribute attribute) {
        ByteBuffer to = host.memory().copyIn(attribute.address(), Long.BYTES);
        if (to == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        VgicPlaces places = vgic.places();
        long word = to.getLong(0);
        if (attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_DIST) {
            return host.refuse(places.setDistributor(word, VgicPlaces.PAGE));
        }
        if (attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST) {
            return host.refuse(places.addRegion(0, word, 0));
        }
        if (attribute.number() != UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION) {
            return host.refuse(VgicAnswer.VGIC_ATTRIBUTE);
        }
        int count = (int) (word >>> REGION_COUNT_SHIFT);
        return count == 0 || (word & REGION_FLAGS) != 0
                ? host.refuse(VgicAnswer.VGIC_REGION_WORD)
                : host.refuse(places.addRegion((int) (word & REGION_INDEX), word & REGION_BASE, count));
    }

    private int getPlace(Attribute attribute) {
        VgicPlaces places = vgic.places();
        if (attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_DIST) {
            return put(attribute, places.distributor(), Long.BYTES);
        }
        if (attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST) {
            return put(attribute, places.redistributors(), Long.BYTES);
        }
        if (attribute.number() != UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION) {
            return host.refuse(VgicAnswer.VGIC_ATTRIBUTE);
        }
        return host.copied(
                attribute.address(), Long.BYTES, asked -> places.region((int) (asked.getLong(0) & REGION_INDEX))
                        .map(region -> put(attribute, region.word(), Long.BYTES))
                        .orElseGet(() -> host.refuse(VgicAnswer.VGIC_NO_REGION)));
    }

    // Control

    private int savePending() {
        if (!vgic.isInitialized()) {
            return host.refuse(VgicAnswer.VGIC_SAVE_BEFORE_INIT);
        }
        host.note(VgicAnswer.VGIC_LPI_TABLES);
        return vgic.vm().lpis().savePending() ? 0 : host.refuse(VgicAnswer.VGIC_SAVE_MEMORY);
    }

    // Registers

    private static boolean asksForLevel(Attribute attribute) {
        return (attribute.number() & OFFSET) >>> UapiArm64.KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT == 0;
    }

    /** The index of the vCPU; any index for a distributor register. */
    private OptionalInt vcpu(Attribute attribute) {
        int affinity = (int) (attribute.number() >>> Integer.SIZE);
        List<ArmVcpu> vcpus = vgic.vm().vcpus();
        return IntStream.range(0, vcpus.size())
                .filter(i -> attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS
                        || vcpus.get(i).affinity() == affinity)
                .findFirst();
    }

    /** Accesses a register. As in the kernel: finds the vCPU, then copies the value in, for system registers last. */
    private int register(Attribute attribute, boolean get) {
        OptionalInt vcpu = vcpu(attribute);
        if (vcpu.isEmpty()) {
            return host.refuse(VgicAnswer.VGIC_NO_VCPU);
        }
        int index = vcpu.getAsInt();
        boolean ofSystem = attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
        ByteBuffer next = get || ofSystem ? value(0) : host.memory().copyIn(attribute.address(), Integer.BYTES);
        if (next == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        if (!vgic.isInitialized()) {
            refuseEarly(attribute);
            return host.refuse(VgicAnswer.VGIC_REGISTER_BEFORE_INIT);
        }
        if (attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO) {
            return level(attribute, index, get, next.getInt(0));
        }
        if (ofSystem) {
            return systemRegister(attribute, vgic.cpuInterface(index), get);
        }
        int offset = (int) (attribute.number() & OFFSET);
        boolean ofVcpu = attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS;
        if (get) {
            return put(attribute, ofVcpu ? redistributor.read(index, offset) : registers.read(offset), Integer.BYTES);
        }
        if (ofVcpu) {
            redistributor.write(index, offset, next.getInt(0));
            return 0;
        }
        return host.refuse(registers.write(offset, next.getInt(0)));
    }

    private static Optional<CpuInterfaceRegister> systemRegister(Attribute attribute) {
        return CpuInterfaceRegister.of((int) (attribute.number() & SYSTEM_REGISTER));
    }

    private int systemRegister(Attribute attribute, CpuInterface of, boolean get) {
        Optional<CpuInterfaceRegister> register = systemRegister(attribute);
        ByteBuffer next = get ? value(0) : host.memory().copyIn(attribute.address(), Long.BYTES);
        if (next == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        if (register.isEmpty()) {
            return host.refuse(VgicAnswer.VGIC_NO_SYSTEM_REGISTER);
        }
        if (get) {
            OptionalLong value = of.read(register.get());
            return value.isPresent()
                    ? put(attribute, value.getAsLong(), Long.BYTES)
                    : host.refuse(VgicAnswer.VGIC_SYSTEM_REGISTER_VALUE);
        }
        return of.write(register.get(), next.getLong(0)) ? 0 : host.refuse(VgicAnswer.VGIC_SYSTEM_REGISTER_VALUE);
    }

    /** Refuses an access before init. Since 6.17 the distributor's identification registers are accessible then. */
    private void refuseEarly(Attribute attribute) {
        long offset = attribute.number() & OFFSET;
        if (attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS
                && (offset == DistributorRegister.GICD_IIDR.offset()
                        || offset == DistributorRegister.GICD_TYPER2.offset())
                && host.build().isSince(6, 17)) {
            throw new NotModelledException("GICD_IIDR and GICD_TYPER2 before init");
        }
    }

    private int level(Attribute attribute, int vcpu, boolean get, int next) {
        int first = (int) (attribute.number() & NUMBERS);
        if (!asksForLevel(attribute) || first % Integer.SIZE != 0) {
            return host.refuse(VgicAnswer.VGIC_LEVEL_INFO);
        }
        if (get) {
            return put(attribute, registers.lines(vcpu, first), Integer.BYTES);
        }
        registers.setLines(vcpu, first, next);
        return 0;
    }
}
