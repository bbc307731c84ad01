/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.Ppi;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/** The KVM calls on one arm64 vCPU. Source: {@code kvm_arch_vcpu_ioctl()} in arch/arm64/kvm/arm.c, guest.c. */
final class ArmVcpuCalls extends Calls {
    private static final int E2BIG = -Errno.E2BIG.number();

    private final VmCalls vm;
    private final Fd fd;

    ArmVcpuCalls(VmCalls vm, Fd fd) {
        super(vm.vm().kernel());
        this.vm = vm;
        this.fd = fd;
    }

    /** Makes a request whose structure ends with the address of a value. */
    private void ioctl(
            KernelCall call, long request, ByteBuffer structure, ByteBuffer value, Supplier<String> operands) {
        int at = structure.capacity() - Long.BYTES;
        try {
            structure.putLong(at, libc().addressOf(value));
            check(
                    on(fd, raw -> libc().ioctl(raw, request, structure)),
                    call,
                    vm.known(),
                    () -> fd + " " + operands.get());
        } finally {
            Reference.reachabilityFence(value);
        }
    }

    void finalizeFeature(int feature) {
        ByteBuffer number = Buffers.allocate(Integer.BYTES).putInt(0, feature);
        check(
                on(fd, raw -> libc().ioctl(raw, UapiArm64.KVM_ARM_VCPU_FINALIZE, number)),
                KernelCall.VCPU_FINALIZE,
                vm.known(),
                () -> fd + " feature=" + feature);
    }

    // Registers

    private void register(KernelCall call, long request, ArmRegister register, ByteBuffer value) {
        ByteBuffer one = Buffers.allocate(Uapi.KvmOneReg.SIZE).putLong(Uapi.KvmOneReg.ID, register.id());
        ioctl(call, request, one, value, register::toString);
    }

    ByteBuffer get(ArmRegister register) {
        ByteBuffer value = Buffers.allocate(Math.max(register.size(), Long.BYTES));
        register(KernelCall.REGISTER_GET, Uapi.KVM_GET_ONE_REG, register, value);
        return value;
    }

    void set(ArmRegister register, ByteBuffer value) {
        register(KernelCall.REGISTER_SET, Uapi.KVM_SET_ONE_REG, register, value);
    }

    List<ArmRegister> list() {
        int room = 0;
        while (true) {
            ByteBuffer list =
                    Buffers.allocate(Uapi.KvmRegList.SIZE + room * Long.BYTES).putLong(Uapi.KvmRegList.N, room);
            int result = on(fd, raw -> libc().ioctl(raw, Uapi.KVM_GET_REG_LIST, list));
            int count = (int) list.getLong(Uapi.KvmRegList.N);
            if (result == E2BIG && count > room) {
                room = count;
                continue;
            }
            check(result, KernelCall.REGISTER_LIST, vm.known(), fd::toString);
            List<ArmRegister> registers = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                registers.add(new ArmRegister(list.getLong(Uapi.KvmRegList.SIZE + i * Long.BYTES)));
            }
            return List.copyOf(registers);
        }
    }

    // Interrupts of timers and PMU

    private void attribute(
            long request, KernelCall call, int group, int attribute, ByteBuffer value, Supplier<String> operands) {
        ByteBuffer structure = Buffers.allocate(Uapi.KvmDeviceAttr.SIZE)
                .putInt(Uapi.KvmDeviceAttr.GROUP, group)
                .putLong(Uapi.KvmDeviceAttr.ATTR, attribute);
        ioctl(call, request, structure, value, operands);
    }

    Ppi timer(ArmTimer timer) {
        ByteBuffer number = Buffers.allocate(Integer.BYTES);
        attribute(
                Uapi.KVM_GET_DEVICE_ATTR,
                KernelCall.VCPU_TIMER,
                UapiArm64.KVM_ARM_VCPU_TIMER_CTRL,
                timer.attribute(),
                number,
                timer::toString);
        return new Ppi(number.getInt(0));
    }

    void setTimer(ArmTimer timer, Ppi interrupt) {
        attribute(
                Uapi.KVM_SET_DEVICE_ATTR,
                KernelCall.VCPU_TIMER,
                UapiArm64.KVM_ARM_VCPU_TIMER_CTRL,
                timer.attribute(),
                Buffers.allocate(Integer.BYTES).putInt(0, interrupt.number()),
                () -> timer + " " + interrupt);
    }

    void createPmu(Ppi interrupt) {
        ByteBuffer number = Buffers.allocate(Integer.BYTES).putInt(0, interrupt.number());
        for (int step : new int[] {UapiArm64.KVM_ARM_VCPU_PMU_V3_IRQ, UapiArm64.KVM_ARM_VCPU_PMU_V3_INIT}) {
            attribute(
                    Uapi.KVM_SET_DEVICE_ATTR,
                    KernelCall.VCPU_PMU,
                    UapiArm64.KVM_ARM_VCPU_PMU_V3_CTRL,
                    step,
                    number,
                    () -> interrupt + (step == 0 ? "" : " init"));
        }
    }
}
