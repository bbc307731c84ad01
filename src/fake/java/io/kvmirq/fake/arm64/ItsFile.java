/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.gic.model.EmulatedIts;
import io.kvmirq.arch.gic.model.ItsRegister;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.KvmDeviceFile;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.Optional;

/** An ITS's descriptor; source: {@code kvm_arm_vgic_its_ops} in arch/arm64/kvm/vgic/vgic-its.c. */
final class ItsFile extends KvmDeviceFile {
    private final FakeArmVm vm;
    private final FakeIts service;

    ItsFile(FakeArmVm vm, FakeIts service) {
        super(vm.host(), true);
        this.vm = vm;
        this.service = service;
    }

    /** @return the rule that refuses a base address; empty for none. Two ITSs may have the same address */
    private Optional<Answer> place(long to) {
        Optional<Answer> refused = VgicPlaces.check(vm, service.base(), to, EmulatedIts.SIZE);
        if (refused.isEmpty()) {
            service.setBase(to);
        }
        return refused;
    }

    private static boolean isPlace(Attribute attribute) {
        return attribute.number() == UapiArm64.KVM_VGIC_ITS_ADDR_TYPE;
    }

    @Override
    protected int has(Attribute attribute) {
        long number = attribute.number();
        boolean has =
                switch (attribute.group()) {
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR -> isPlace(attribute);
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL ->
                        number == UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT
                                || number == UapiArm64.KVM_DEV_ARM_ITS_SAVE_TABLES
                                || number == UapiArm64.KVM_DEV_ARM_ITS_RESTORE_TABLES
                                || number == UapiArm64.KVM_DEV_ARM_ITS_CTRL_RESET;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS ->
                        ItsRegister.at(number).isPresent();
                    default -> false;
                };
        boolean misaligned = attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS && !isAligned(number);
        if (misaligned) {
            return host.refuse(VgicAnswer.ITS_REGISTER_ALIGNMENT);
        }
        return has ? 0 : host.refuse(VgicAnswer.ITS_ATTRIBUTE);
    }

    @Override
    protected int get(Attribute attribute) {
        return switch (attribute.group()) {
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR ->
                isPlace(attribute)
                        ? put(attribute, service.base(), Long.BYTES)
                        : host.refuse(VgicAnswer.ITS_PLACE_TYPE);
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS -> {
                int refused = refuseRegister(attribute.number());
                yield refused < 0 ? refused : put(attribute, service.its().read(modelled(attribute)), Long.BYTES);
            }
            default -> host.refuse(VgicAnswer.ITS_ATTRIBUTE);
        };
    }

    private static int modelled(Attribute attribute) {
        if (ItsRegister.at(attribute.number()).equals(Optional.of(ItsRegister.GITS_IDREGS))) {
            throw new NotModelledException("the identification registers of an ITS");
        }
        return (int) attribute.number();
    }

    private int write(int offset, long value) {
        if (offset == EmulatedIts.CWRITER || offset == EmulatedIts.CTLR) {
            host.note(VgicAnswer.ITS_COMMANDS);
        }
        return service.its()
                .write(offset, value)
                .map(refusal -> switch (refusal) {
                    case VERSION -> host.refuse(VgicAnswer.ITS_VERSION);
                    case ENABLED -> host.refuse(VgicAnswer.ITS_READER_ENABLED);
                    case BEYOND_RING -> host.refuse(VgicAnswer.ITS_READER_BEYOND);
                })
                .orElse(0);
    }

    @Override
    protected int set(Attribute attribute) {
        return switch (attribute.group()) {
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR ->
                isPlace(attribute)
                        ? host.copied(attribute.address(), Long.BYTES, this::place)
                        : host.refuse(VgicAnswer.ITS_PLACE_TYPE);
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL -> control(attribute.number());
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS ->
                host.copied(attribute.address(), Long.BYTES, value -> {
                    int refused = refuseRegister(attribute.number());
                    return refused < 0 ? refused : write(modelled(attribute), value.getLong(0));
                });
            default -> host.refuse(VgicAnswer.ITS_ATTRIBUTE);
        };
    }

    private int place(ByteBuffer to) {
        return host.refuse(place(to.getLong(0)));
    }

    private int control(long number) {
        if (number == UapiArm64.KVM_DEV_ARM_ITS_SAVE_TABLES) {
            return tables(service.its().save());
        }
        if (number == UapiArm64.KVM_DEV_ARM_ITS_RESTORE_TABLES) {
            return tables(service.its().restore());
        }
        if (number == UapiArm64.KVM_DEV_ARM_ITS_CTRL_RESET) {
            service.its().reset();
        } else if (number != UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT) {
            if (host.build().isSince(6, 17)) {
                return host.refuse(VgicAnswer.ITS_CONTROL_UNKNOWN);
            }
            host.note(VgicAnswer.ITS_CONTROL_IGNORED);
        }
        return 0;
    }

    private int tables(Optional<EmulatedIts.TableFault> fault) {
        host.note(VgicAnswer.ITS_TABLES);
        return fault.map(why -> switch (why) {
                    case NO_MEMORY -> host.refuse(FileAnswer.FAULT);
                    case CONTRADICTION -> host.refuse(VgicAnswer.ITS_TABLES_CONTRADICT);
                    case EXISTS -> host.refuse(VgicAnswer.ITS_COLLECTION_EXISTS);
                    case VLPI -> host.refuse(VgicAnswer.ITS_TABLES_VLPI);
                    case LOST_COLLECTION ->
                        throw new NotModelledException("saving an event whose collection was unmapped: Linux faults");
                })
                .orElse(0);
    }

    // Registers

    private static boolean isAligned(long offset) {
        return offset % ItsRegister.width(offset) == 0;
    }

    private int refuseRegister(long offset) {
        if (!isAligned(offset)) {
            return host.refuse(VgicAnswer.ITS_REGISTER_ALIGNMENT);
        }
        return service.hasPlace() && ItsRegister.at(offset).isPresent() ? 0 : host.refuse(VgicAnswer.ITS_NO_REGISTER);
    }
}
