/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiArm64;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/** An ITS's descriptor; source: {@code kvm_arm_vgic_its_ops} in arch/arm64/kvm/vgic/vgic-its.c. */
final class ItsFile extends FakeFile {
    /** GITS_TYPER: registers from there to GITS_PIDR4 are of 64 bits. */
    private static final long WIDE = 8;

    private static final long IDENTIFICATION = 0xffd0;
    /** GITS_CTLR of one that is off and has nothing left to do. */
    private static final long QUIESCENT = 1L << 31;

    private final FakeIts its;

    ItsFile(FakeKernel kernel, FakeIts its) {
        super(kernel);
        this.its = its;
    }

    @Override
    boolean isOfOneProcess() {
        return true;
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_HAS_DEVICE_ATTR) {
            return copied(argument, Uapi.KvmDeviceAttr.SIZE, this::has);
        }
        if (request == Uapi.KVM_GET_DEVICE_ATTR) {
            return copied(argument, Uapi.KvmDeviceAttr.SIZE, this::get);
        }
        if (request == Uapi.KVM_SET_DEVICE_ATTR) {
            return copied(argument, Uapi.KvmDeviceAttr.SIZE, this::set);
        }
        return kernel.refuse(Rule.DEVICE_UNKNOWN_REQUEST);
    }

    private static boolean isPlace(VgicFile.Attribute attribute) {
        return attribute.number() == UapiArm64.KVM_VGIC_ITS_ADDR_TYPE;
    }

    private int has(ByteBuffer structure) {
        VgicFile.Attribute attribute = VgicFile.Attribute.of(structure);
        long number = attribute.number();
        boolean has =
                switch (attribute.group()) {
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR -> isPlace(attribute);
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL ->
                        number == UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT
                                || number == UapiArm64.KVM_DEV_ARM_ITS_SAVE_TABLES
                                || number == UapiArm64.KVM_DEV_ARM_ITS_RESTORE_TABLES
                                || number == UapiArm64.KVM_DEV_ARM_ITS_CTRL_RESET;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS -> exists(number);
                    default -> false;
                };
        boolean misaligned = attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS && !isAligned(number);
        if (misaligned) {
            return kernel.refuse(Rule.ITS_REGISTER_ALIGNMENT);
        }
        return has ? 0 : kernel.refuse(Rule.ITS_ATTRIBUTE);
    }

    private int get(ByteBuffer structure) {
        VgicFile.Attribute attribute = VgicFile.Attribute.of(structure);
        return switch (attribute.group()) {
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR ->
                isPlace(attribute) ? put(attribute, its.base()) : kernel.refuse(Rule.ITS_PLACE_TYPE);
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS -> {
                int refused = refuseRegister(attribute.number());
                if (refused == 0 && attribute.number() != 0) {
                    throw new NotModelledException("reading the registers of an ITS but for GITS_CTLR");
                }
                yield refused < 0 ? refused : put(attribute, QUIESCENT);
            }
            default -> kernel.refuse(Rule.ITS_ATTRIBUTE);
        };
    }

    private int put(VgicFile.Attribute attribute, long value) {
        ByteBuffer out =
                ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder()).putLong(0, value);
        return kernel.memory().copyOut(attribute.address(), out, Long.BYTES) ? 0 : kernel.refuse(Rule.FAULT);
    }

    private int set(ByteBuffer structure) {
        VgicFile.Attribute attribute = VgicFile.Attribute.of(structure);
        return switch (attribute.group()) {
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR ->
                isPlace(attribute)
                        ? copied(attribute.address(), Long.BYTES, this::place)
                        : kernel.refuse(Rule.ITS_PLACE_TYPE);
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL -> control(attribute.number());
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS ->
                copied(attribute.address(), Long.BYTES, value -> {
                    int refused = refuseRegister(attribute.number());
                    if (refused == 0) {
                        throw new NotModelledException("writing the registers of an ITS");
                    }
                    return refused;
                });
            default -> kernel.refuse(Rule.ITS_ATTRIBUTE);
        };
    }

    private int place(ByteBuffer to) {
        Optional<Rule> refused = its.place(to.getLong(0));
        return refused.isPresent() ? kernel.refuse(refused.get()) : 0;
    }

    /** An attribute that is none does nothing, and nobody is told. */
    private int control(long number) {
        if (number == UapiArm64.KVM_DEV_ARM_ITS_SAVE_TABLES || number == UapiArm64.KVM_DEV_ARM_ITS_RESTORE_TABLES) {
            throw new NotModelledException("the tables of an ITS");
        }
        kernel.note(Rule.ITS_CONTROL_IGNORED);
        return 0;
    }

    // Registers

    private static boolean isAligned(long offset) {
        boolean narrow = Long.compareUnsigned(offset, WIDE) < 0 || Long.compareUnsigned(offset, IDENTIFICATION) >= 0;
        return offset % (narrow ? Integer.BYTES : Long.BYTES) == 0;
    }

    private static boolean exists(long offset) {
        return offset >= 0 && offset < 0x10
                || offset >= 0x80 && offset < 0x98
                || offset >= 0x100 && offset < 0x140
                || offset >= IDENTIFICATION && offset < 0x1_0000;
    }

    private int refuseRegister(long offset) {
        if (!isAligned(offset)) {
            return kernel.refuse(Rule.ITS_REGISTER_ALIGNMENT);
        }
        return its.hasPlace() && exists(offset) ? 0 : kernel.refuse(Rule.ITS_NO_REGISTER);
    }
}
