/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The state of an arm64 vCPU that the VGIC uses; source: {@code kvm_vcpu_set_target()} in arch/arm64/kvm/arm.c. */
final class ArmVcpu {
    /** KVM_VCPU_MAX_FEATURES. */
    private static final int FEATURES = 7;
    /** KVM_ARM_VCPU_HAS_EL2 and KVM_ARM_VCPU_HAS_EL2_E2H0: newer kernels have them, and this host lacks them. */
    private static final int NESTED = 2;

    private static final int FEATURE_WORDS = 7;
    private static final int POWER_OFF = 1 << UapiArm64.KVM_ARM_VCPU_POWER_OFF;
    private static final int MODELLED = POWER_OFF | 1 << UapiArm64.KVM_ARM_VCPU_PSCI_0_2;

    /** MPIDR_EL1 without the affinity. */
    private static final long MPIDR_FIXED = 0x8000_0000L;

    private final FakeArmVm vm;
    private final int id;
    private int features;
    private boolean initialized;
    private int state = Uapi.KVM_MP_STATE_RUNNABLE;
    private boolean hasRun;
    private final ArmRegisters registers;
    /** The interrupts of the virtual timer and the physical timer. */
    private final int[] timers;

    private @Nullable ArmGuest guest;

    ArmVcpu(FakeArmVm vm, int id) {
        this.vm = vm;
        this.id = id;
        this.registers = new ArmRegisters(vm.host(), MPIDR_FIXED | affinityOf(id));
        this.timers = vm.timers().clone();
    }

    ArmRegisters registers() {
        return registers;
    }

    /** KVM_MP_STATE_RUNNABLE, _STOPPED or _SUSPENDED. */
    int state() {
        return state;
    }

    void setState(int next) {
        state = next;
    }

    boolean hasRun() {
        return hasRun;
    }

    void noteRun() {
        hasRun = true;
    }

    int[] timers() {
        return timers;
    }

    int id() {
        return id;
    }

    /** The guest of the vCPU, for a test. The VGIC is initialized. */
    ArmGuest guest(FakeVgic vgic) {
        if (guest == null) {
            guest = new ArmGuest(vm, vgic, vm.vcpus().indexOf(this));
        }
        return guest;
    }

    boolean isInitialized() {
        return initialized;
    }

    /** The affinity levels, 8 bits each, as in the attributes of a VGIC; 0 until the vCPU is initialized. */
    int affinity() {
        return initialized ? affinityOf(id) : 0;
    }

    private static int affinityOf(int id) {
        return id & 0xf | (id >> 4 & 0xff) << 8 | (id >> 12 & 0xff) << 16;
    }

    /** @return the rule that refuses KVM_ARM_VCPU_INIT; empty for none */
    Optional<Answer> init(ByteBuffer init) {
        if (init.getInt(UapiArm64.KvmVcpuInit.TARGET) != UapiArm64.KVM_ARM_TARGET_GENERIC_V8) {
            return Optional.of(ArmAnswer.ARM_VCPU_TARGET);
        }
        int wanted = init.getInt(UapiArm64.KvmVcpuInit.FEATURES);
        boolean hasNested = vm.host().build().isSince(6, 16);
        boolean unknown = wanted >>> (hasNested ? FEATURES + NESTED : FEATURES) != 0;
        for (int i = 1; i < FEATURE_WORDS; i++) {
            unknown |= init.getInt(UapiArm64.KvmVcpuInit.FEATURES + i * Integer.BYTES) != 0;
        }
        if (!unknown && wanted >>> FEATURES != 0) {
            return Optional.of(ArmAnswer.ARM_VCPU_FEATURE_OF_HOST);
        }
        int known = wanted & (1 << FEATURES) - 1;
        if ((known & ~MODELLED) != 0) {
            throw new NotModelledException("the features of a vCPU on arm64, except power-off and PSCI 0.2");
        }
        Optional<Answer> refused = vm.host().build().isSince(6, 12)
                ? refuseOfVm(known & ~POWER_OFF, unknown)
                : refuseOfVcpu(known, unknown);
        if (refused.isEmpty()) {
            initialized = true;
            registers.reset();
            state = (known & POWER_OFF) != 0 ? Uapi.KVM_MP_STATE_STOPPED : Uapi.KVM_MP_STATE_RUNNABLE;
        }
        return refused;
    }

    /** On 6.12 all vCPUs of a VM must have the same features; KVM_ARM_VCPU_POWER_OFF does not count. */
    private Optional<Answer> refuseOfVm(int wanted, boolean unknown) {
        if (unknown) {
            return Optional.of(ArmAnswer.ARM_VCPU_FEATURE);
        }
        return vm.configure(wanted) ? Optional.empty() : Optional.of(ArmAnswer.ARM_VCPU_FEATURES_OF_VM);
    }

    /** On 6.1 each vCPU has its own features, checked bit by bit. */
    private Optional<Answer> refuseOfVcpu(int wanted, boolean unknown) {
        if (initialized && wanted != features) {
            return Optional.of(ArmAnswer.ARM_VCPU_FEATURES_BEFORE);
        }
        features |= wanted;
        if (unknown) {
            vm.host().note(ArmAnswer.ARM_VCPU_FEATURES_KEPT);
            return Optional.of(ArmAnswer.ARM_VCPU_FEATURE);
        }
        return Optional.empty();
    }
}
