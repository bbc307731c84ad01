/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.file.ScriptedExit;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.ScriptPlayer;
import io.kvmirq.fake.kvm.VcpuFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A vCPU's descriptor on arm64; source: {@code kvm_arch_vcpu_ioctl()} in arch/arm64/kvm/arm.c. */
final class ArmVcpuFile extends VcpuFile {
    /** KVM_ARM_VCPU_PVTIME_CTRL. */
    private static final int STOLEN_TIME = 2;

    /** KVM_SYSTEM_EVENT_SHUTDOWN. */
    private static final int SHUTDOWN = 1;
    /** KVM_SYSTEM_EVENT_RESET. */
    private static final int RESET = 2;

    private static final int FIRST_PPI = 16;
    private static final int LAST_PPI = 31;

    private static final Requests<ArmVcpuFile> REQUESTS = new Requests<ArmVcpuFile>(
                    VmAnswer.VCPU_UNKNOWN_REQUEST, number -> ArmRequests.name(FileKind.VCPU, number))
            .value(Uapi.KVM_RUN, ArmVcpuFile::run)
            .in(UapiArm64.KVM_ARM_VCPU_INIT, (file, init) -> file.host.refuse(file.vcpu.init(init)))
            .value(UapiArm64.KVM_ARM_VCPU_FINALIZE, ArmVcpuFile::finish)
            .value(Uapi.KVM_SET_SIGNAL_MASK, (vcpu, set) -> vcpu.setSignals(set))
            .out(Uapi.KVM_GET_MP_STATE, ArmVcpuFile::getState)
            .in(Uapi.KVM_SET_MP_STATE, (file, next) -> file.setState(next.getInt(Uapi.KvmMpState.MP_STATE)))
            .value(UapiArm64.KVM_GET_REG_LIST, ArmVcpuFile::listRegisters)
            .value(UapiArm64.KVM_GET_ONE_REG, (file, address) -> file.register(address, file::getRegister))
            .value(UapiArm64.KVM_SET_ONE_REG, (file, address) -> file.register(address, file::setRegister))
            .in(Uapi.KVM_GET_DEVICE_ATTR, ArmVcpuFile::getAttribute)
            .in(Uapi.KVM_SET_DEVICE_ATTR, ArmVcpuFile::setAttribute)
            .in(Uapi.KVM_HAS_DEVICE_ATTR, ArmVcpuFile::hasAttribute);

    private final ArmVcpu vcpu;
    private final FakeArmVm vm;
    private @Nullable ScriptPlayer player;
    private boolean running;

    ArmVcpuFile(FakeArmVm vm, ArmVcpu vcpu) {
        super(vm.host(), ArmKvmFile.RUN_SIZE);
        this.vm = vm;
        this.vcpu = vcpu;
    }

    /** Runs one ioctl at a time. */
    @Override
    public int ioctl(long request, long argument) {
        while (running) {
            host.note(VmAnswer.VCPU_ONE_CALL);
            host.time().awaitChange();
        }
        return REQUESTS.answer(this, request, argument);
    }

    // KVM_RUN

    /** Checks in the order of {@code kvm_arch_vcpu_ioctl_run()}. */
    private int run(long argument) {
        if (argument != 0) {
            return host.refuse(VmAnswer.VCPU_RUN_ARGUMENT);
        }
        if (!vcpu.isInitialized()) {
            return host.refuse(ArmAnswer.ARM_VCPU_NOT_INITIALIZED);
        }
        if (vm.vgic().filter(vgic -> !vgic.isInitialized()).isPresent()) {
            throw new NotModelledException("KVM_RUN before the VGIC is initialized");
        }
        Script script = host.scripts().get(vcpu.id());
        if (script != null && player == null) {
            player = new ScriptPlayer(script, vm, vm.memory(), page);
        }
        if (player != null) {
            player.completeRead();
        }
        vcpu.noteRun();
        int ended = page.refusesToEnter();
        if (ended != 0) {
            return ended;
        }
        if (script == null || player == null) {
            throw new NotModelledException("KVM_RUN on arm64, except of a vCPU that plays exits (FakeKernel.vcpu)");
        }
        if (vcpu.state() == Uapi.KVM_MP_STATE_SUSPENDED) {
            throw new NotModelledException("running a vCPU of arm64 that is suspended");
        }
        return play(script, player);
    }

    private int play(Script script, ScriptPlayer with) {
        host.threads().beginRun(signals);
        running = true;
        try {
            while (true) {
                int ended = page.signalled();
                if (ended != 0) {
                    return ended;
                }
                ScriptedExit exit = vcpu.state() == Uapi.KVM_MP_STATE_STOPPED ? null : script.next();
                if (exit == null) {
                    host.time().awaitChange();
                } else if (with.plays(exit)) {
                    stopAll(exit);
                    return page.result();
                }
            }
        } finally {
            running = false;
            host.threads().endRun();
            host.time().changed();
        }
    }

    /** Stops all vCPUs at a PSCI power-off or reset: {@code kvm_prepare_system_event()} in arch/arm64/kvm/psci.c. */
    private void stopAll(ScriptedExit exit) {
        boolean event = exit.kind() == ScriptedExit.Kind.OTHER && exit.place() == Uapi.KVM_EXIT_SYSTEM_EVENT;
        if (event && (exit.data(0) == SHUTDOWN || exit.data(0) == RESET)) {
            vm.vcpus().forEach(each -> each.setState(Uapi.KVM_MP_STATE_STOPPED));
        }
    }

    // State and features

    private int getState(ByteBuffer to) {
        to.putInt(Uapi.KvmMpState.MP_STATE, vcpu.state());
        return 0;
    }

    private int setState(int next) {
        return switch (next) {
            case Uapi.KVM_MP_STATE_RUNNABLE, Uapi.KVM_MP_STATE_STOPPED, Uapi.KVM_MP_STATE_SUSPENDED -> {
                vcpu.setState(next);
                yield 0;
            }
            default -> host.refuse(ArmAnswer.ARM_STATE);
        };
    }

    /** Refuses KVM_ARM_VCPU_FINALIZE, because the vCPU has no SVE. */
    private int finish(long address) {
        return vcpu.isInitialized()
                ? host.copied(address, Integer.BYTES, feature -> host.refuse(ArmAnswer.ARM_FINALIZE_FEATURE))
                : host.refuse(ArmAnswer.ARM_VCPU_NOT_INITIALIZED);
    }

    // Registers

    private int listRegisters(long address) {
        if (!vcpu.isInitialized()) {
            return host.refuse(ArmAnswer.ARM_VCPU_NOT_INITIALIZED);
        }
        return host.copied(address, Uapi.KvmRegList.SIZE, header -> {
            long room = header.getLong(Uapi.KvmRegList.N);
            List<Long> ids = vcpu.registers().list();
            int result = host.copyOut(address, header.putLong(Uapi.KvmRegList.N, ids.size()), Uapi.KvmRegList.SIZE);
            if (result < 0) {
                return result;
            }
            if (Long.compareUnsigned(room, ids.size()) < 0) {
                return host.refuse(ArmAnswer.ARM_REGISTER_ROOM);
            }
            int size = ids.size() * Long.BYTES;
            ByteBuffer list = ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
            ids.forEach(list::putLong);
            return host.copyOut(address + Uapi.KvmRegList.SIZE, list, size);
        });
    }

    private interface OnRegister {
        int apply(long id, long address);
    }

    private int register(long address, OnRegister call) {
        if (!vcpu.isInitialized()) {
            return host.refuse(ArmAnswer.ARM_VCPU_NOT_INITIALIZED);
        }
        return host.copied(
                address,
                Uapi.KvmOneReg.SIZE,
                oneReg -> call.apply(oneReg.getLong(Uapi.KvmOneReg.ID), oneReg.getLong(Uapi.KvmOneReg.ADDR)));
    }

    private int getRegister(long id, long address) {
        Optional<Answer> refused = vcpu.registers().refuses(id);
        return refused.isPresent()
                ? host.refuse(refused)
                : host.copyOut(address, vcpu.registers().get(id), ArmRegisters.size(id));
    }

    /** Copies a system register's value in before it finds the register: {@code kvm_sys_reg_set_user()}. */
    private int setRegister(long id, long address) {
        Optional<Answer> refused = vcpu.registers().refuses(id);
        if (refused.isPresent() && !ArmRegisters.isSystem(id)) {
            return host.refuse(refused);
        }
        return host.copied(
                address,
                ArmRegisters.size(id),
                value -> host.refuse(
                        refused.isPresent() ? refused : vcpu.registers().set(id, value)));
    }

    // Attributes: interrupts of the timers, and of a PMU, which the vCPU does not have

    private static boolean isTimer(Attribute attribute) {
        return attribute.number() == UapiArm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER
                || attribute.number() == UapiArm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER;
    }

    /** @throws NotModelledException for attributes that this kernel may have */
    private void requireModelled(Attribute attribute) {
        boolean timer = attribute.group() == UapiArm64.KVM_ARM_VCPU_TIMER_CTRL;
        boolean nested = timer && !isTimer(attribute) && attribute.number() >= 0 && attribute.number() <= 3;
        if (attribute.group() == STOLEN_TIME || nested && host.build().isSince(6, 4)) {
            throw new NotModelledException("the attributes of a vCPU on arm64 for stolen time and nested timers");
        }
    }

    private int hasAttribute(ByteBuffer structure) {
        Attribute attribute = Attribute.parse(structure);
        requireModelled(attribute);
        boolean has = attribute.group() == UapiArm64.KVM_ARM_VCPU_TIMER_CTRL && isTimer(attribute);
        return has ? 0 : host.refuse(ArmAnswer.ARM_VCPU_ATTRIBUTE);
    }

    private int getAttribute(ByteBuffer structure) {
        Attribute attribute = Attribute.parse(structure);
        requireModelled(attribute);
        if (attribute.group() == UapiArm64.KVM_ARM_VCPU_PMU_V3_CTRL) {
            return getPmu(attribute);
        }
        if (attribute.group() != UapiArm64.KVM_ARM_VCPU_TIMER_CTRL || !isTimer(attribute)) {
            return host.refuse(ArmAnswer.ARM_VCPU_ATTRIBUTE);
        }
        ByteBuffer number = ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.nativeOrder());
        number.putInt(0, vcpu.timers()[(int) attribute.number()]);
        return host.put(attribute.address(), number, Integer.BYTES);
    }

    private int getPmu(Attribute attribute) {
        if (attribute.number() != UapiArm64.KVM_ARM_VCPU_PMU_V3_IRQ) {
            return host.refuse(ArmAnswer.ARM_VCPU_ATTRIBUTE);
        }
        return host.refuse(vm.vgic().isEmpty() ? ArmAnswer.ARM_PMU_INTERRUPT : ArmAnswer.ARM_PMU_NONE);
    }

    private int setAttribute(ByteBuffer structure) {
        Attribute attribute = Attribute.parse(structure);
        requireModelled(attribute);
        return switch (attribute.group()) {
            case UapiArm64.KVM_ARM_VCPU_PMU_V3_CTRL -> host.refuse(ArmAnswer.ARM_PMU_NONE);
            case UapiArm64.KVM_ARM_VCPU_TIMER_CTRL -> setTimer(attribute);
            default -> host.refuse(ArmAnswer.ARM_VCPU_ATTRIBUTE);
        };
    }

    /** {@code kvm_arm_timer_set_attr()}. */
    private int setTimer(Attribute attribute) {
        if (vm.vgic().isEmpty()) {
            return host.refuse(ArmAnswer.ARM_TIMER_IRQCHIP);
        }
        return host.copied(attribute.address(), Integer.BYTES, number -> {
            int interrupt = number.getInt(0);
            if (interrupt < FIRST_PPI || interrupt > LAST_PPI) {
                return host.refuse(ArmAnswer.ARM_TIMER_PPI);
            }
            boolean late = host.build().isSince(6, 4) ? vm.vcpus().stream().anyMatch(ArmVcpu::hasRun) : vcpu.hasRun();
            if (late) {
                return host.refuse(ArmAnswer.ARM_TIMER_LATE);
            }
            if (!isTimer(attribute)) {
                return host.refuse(ArmAnswer.ARM_VCPU_ATTRIBUTE);
            }
            vm.setTimer((int) attribute.number(), interrupt);
            return 0;
        });
    }
}
