/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.Ppi;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The arm64 methods of a vCPU, from {@link Vcpu#arm64}: features, registers by id, timers and PMU. Call {@link
 * #initialize} first. Only the vCPU thread may use this object.
 *
 * <p>Source: {@code kvm_arch_vcpu_ioctl()} in arch/arm64/kvm/arm.c, guest.c.
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="vcpu"}
 */
public final class Arm64Vcpu {
    private static final int E2BIG = -Errno.E2BIG.number();

    private final VcpuCalls calls;
    private final VcpuRun run;
    /** The features of the last {@link #initialize}; null before the first call. */
    private Feature @Nullable [] features;

    /** Features for {@link #initialize}. Source: {@code KVM_ARM_VCPU_*} in arch/arm64/include/uapi/asm/kvm.h. */
    public enum Feature {
        /** The vCPU is off until another vCPU turns it on. */
        POWER_OFF(UapiArm64.KVM_ARM_VCPU_POWER_OFF),
        /** The guest uses PSCI 0.2 or later to turn vCPUs on and off and to power off or reset the VM. */
        PSCI_0_2(UapiArm64.KVM_ARM_VCPU_PSCI_0_2),
        /** The guest runs AArch32 at EL1. */
        EL1_32BIT(UapiArm64.KVM_ARM_VCPU_EL1_32BIT),
        /** The vCPU has a PMU, whose interrupt {@link Arm64Vcpu#createPmu} sets. */
        PMU_V3(UapiArm64.KVM_ARM_VCPU_PMU_V3),
        /** The vCPU has SVE. Call {@link Arm64Vcpu#finalizeSve} after {@link Arm64Vcpu#initialize}. */
        SVE(UapiArm64.KVM_ARM_VCPU_SVE),
        /** The vCPU has pointer authentication of addresses; requires {@link #PTRAUTH_GENERIC}. */
        PTRAUTH_ADDRESS(UapiArm64.KVM_ARM_VCPU_PTRAUTH_ADDRESS),
        /** The vCPU has generic pointer authentication; requires {@link #PTRAUTH_ADDRESS}. */
        PTRAUTH_GENERIC(UapiArm64.KVM_ARM_VCPU_PTRAUTH_GENERIC);

        private final int bit;

        Feature(int bit) {
            this.bit = bit;
        }
    }

    Arm64Vcpu(VcpuCalls calls, VcpuRun run) {
        this.calls = calls;
        this.run = run;
    }

    /**
     * Initializes the vCPU with the host's CPU type and these features, and resets its registers.
     *
     * @throws io.kvmirq.KernelException EINVAL if the host lacks a feature, or if this vCPU or (since 6.5) another vCPU
     *     of the VM was initialized with other features (POWER_OFF may differ); ENOENT for an unknown feature
     */
    public void initialize(Feature... features) {
        run.requireItsThread();
        int bits = 0;
        for (Feature feature : features) {
            bits |= 1 << feature.bit;
        }
        ByteBuffer init = Buffers.allocate(UapiArm64.KvmVcpuInit.SIZE);
        calls.ioctl(calls.vm().vm(), KernelCall.VCPU_TARGET, UapiArm64.KVM_ARM_PREFERRED_TARGET, init);
        calls.ioctl(
                KernelCall.VCPU_INIT, UapiArm64.KVM_ARM_VCPU_INIT, init.putInt(UapiArm64.KvmVcpuInit.FEATURES, bits));
        this.features = features.clone();
    }

    void reset() {
        if (features == null) {
            throw new IllegalStateException(calls.fd() + " has no features to be reset with: call initialize first");
        }
        run.completeInstruction();
        initialize(features);
    }

    /**
     * Finalizes SVE. Set the vector lengths (register KVM_REG_ARM64_SVE_VLS) before this call, and call {@link
     * #registers} and run the guest only afterwards.
     *
     * @throws io.kvmirq.KernelException EINVAL if the vCPU was initialized without {@link Feature#SVE}; EPERM if called
     *     again
     */
    public void finalizeSve() {
        int feature = UapiArm64.KVM_ARM_VCPU_SVE;
        ByteBuffer number = Buffers.allocate(Integer.BYTES).putInt(0, feature);
        ioctl(KernelCall.VCPU_FINALIZE, UapiArm64.KVM_ARM_VCPU_FINALIZE, number, () -> "feature=" + feature);
    }

    private void ioctl(KernelCall call, long request, ByteBuffer structure, Supplier<String> operands) {
        run.requireItsThread();
        calls.check(
                calls.call(calls.fd(), raw -> calls.libc().ioctl(raw, request, structure)),
                call,
                calls.vm().known(),
                () -> calls.fd() + " " + operands.get());
    }

    /** Makes an ioctl whose structure ends with the address of a value. */
    private void ioctl(
            KernelCall call, long request, ByteBuffer structure, ByteBuffer value, Supplier<String> operands) {
        try {
            structure.putLong(structure.capacity() - Long.BYTES, calls.libc().addressOf(value));
            ioctl(call, request, structure, operands);
        } finally {
            Reference.reachabilityFence(value);
        }
    }

    // Registers

    /**
     * The registers that the vCPU has, in the kernel's order.
     *
     * @throws io.kvmirq.KernelException ENOEXEC before {@link #initialize}; with SVE, EPERM before {@link #finalizeSve}
     */
    public List<ArmRegister> registers() {
        run.requireItsThread();
        int room = 0;
        while (true) {
            ByteBuffer list =
                    Buffers.allocate(Uapi.KvmRegList.SIZE + room * Long.BYTES).putLong(Uapi.KvmRegList.N, room);
            int result = calls.call(calls.fd(), raw -> calls.libc().ioctl(raw, Uapi.KVM_GET_REG_LIST, list));
            int count = (int) list.getLong(Uapi.KvmRegList.N);
            if (result == E2BIG && count > room) {
                room = count;
                continue;
            }
            calls.check(result, KernelCall.REGISTER_LIST, calls.vm().known(), calls.fd()::toString);
            List<ArmRegister> registers = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                registers.add(new ArmRegister(list.getLong(Uapi.KvmRegList.SIZE + i * Long.BYTES)));
            }
            return List.copyOf(registers);
        }
    }

    private void register(KernelCall call, long request, ArmRegister register, ByteBuffer value) {
        ByteBuffer oneReg = Buffers.allocate(Uapi.KvmOneReg.SIZE).putLong(Uapi.KvmOneReg.ID, register.id());
        ioctl(call, request, oneReg, value, register::toString);
    }

    private ByteBuffer get(ArmRegister register) {
        ByteBuffer value = Buffers.allocate(Math.max(register.size(), Long.BYTES));
        register(KernelCall.REGISTER_GET, Uapi.KVM_GET_ONE_REG, register, value);
        return value;
    }

    /**
     * Reads a register of at most 64 bits, zero-extended.
     *
     * @throws IllegalArgumentException if the register is larger than 64 bits
     * @throws io.kvmirq.KernelException ENOEXEC before {@link #initialize}; ENOENT if the vCPU lacks the register
     */
    public long register(ArmRegister register) {
        Objects.requireNonNull(register, "register is null").requireSmall();
        return get(register).getLong(0);
    }

    /**
     * Sets a register of at most 64 bits.
     *
     * @throws IllegalArgumentException if the register is larger than 64 bits, or {@code value} does not fit
     * @throws io.kvmirq.KernelException ENOEXEC before {@link #initialize}; ENOENT if the vCPU lacks the register;
     *     EINVAL for a value that the register cannot hold
     */
    public void setRegister(ArmRegister register, long value) {
        Objects.requireNonNull(register, "register is null");
        register(KernelCall.REGISTER_SET, Uapi.KVM_SET_ONE_REG, register, register.encode(value));
    }

    /** A register's bytes, little-endian. Throws as {@link #register} does, except that any size is accepted. */
    public byte[] registerBytes(ArmRegister register) {
        byte[] bytes =
                new byte[Objects.requireNonNull(register, "register is null").size()];
        get(register).get(0, bytes);
        return bytes;
    }

    /**
     * Sets a register. Throws as {@link #setRegister} does, except that any size is accepted.
     *
     * @param bytes all bytes of the register, little-endian
     * @throws IllegalArgumentException if the number of bytes is not the register's size
     */
    public void setRegisterBytes(ArmRegister register, byte[] bytes) {
        Objects.requireNonNull(register, "register is null");
        Objects.requireNonNull(bytes, "bytes is null");
        register(KernelCall.REGISTER_SET, Uapi.KVM_SET_ONE_REG, register, register.encode(bytes));
    }

    // Interrupts of timers and PMU

    private void attribute(
            long request, KernelCall call, int group, int attribute, ByteBuffer value, Supplier<String> operands) {
        ByteBuffer structure = Buffers.allocate(Uapi.KvmDeviceAttr.SIZE)
                .putInt(Uapi.KvmDeviceAttr.GROUP, group)
                .putLong(Uapi.KvmDeviceAttr.ATTR, attribute);
        ioctl(call, request, structure, value, operands);
    }

    private void timer(long request, ArmTimer timer, ByteBuffer number, Supplier<String> operands) {
        int group = UapiArm64.KVM_ARM_VCPU_TIMER_CTRL;
        attribute(request, KernelCall.VCPU_TIMER, group, timer.attribute(), number, operands);
    }

    /** The PPI that a timer raises. */
    public Ppi timerInterrupt(ArmTimer timer) {
        ByteBuffer number = Buffers.allocate(Integer.BYTES);
        timer(Uapi.KVM_GET_DEVICE_ATTR, timer, number, timer::toString);
        return new Ppi(number.getInt(0));
    }

    /**
     * Sets the PPI that a timer raises, on all vCPUs of the VM.
     *
     * @throws io.kvmirq.KernelException EINVAL if the VM has no VGIC; EBUSY once a vCPU of the VM has run
     */
    public void setTimerInterrupt(ArmTimer timer, Ppi interrupt) {
        ByteBuffer number = Buffers.allocate(Integer.BYTES).putInt(0, interrupt.number());
        timer(Uapi.KVM_SET_DEVICE_ATTR, timer, number, () -> timer + " " + interrupt);
    }

    /**
     * Sets the PMU's interrupt and initializes the PMU. Call it after {@link Vgic#init}.
     *
     * @param interrupt the PPI that the PMU raises, the same for all vCPUs, usually PPI 23
     * @throws io.kvmirq.KernelException ENODEV if the vCPU was initialized without {@link Feature#PMU_V3}, or the VGIC
     *     is not ready; EINVAL if the VM has no VGIC, or another vCPU has a different PPI; EBUSY if the PPI is already
     *     set
     */
    public void createPmu(Ppi interrupt) {
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
