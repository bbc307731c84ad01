/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiArm64.KvmArmRegs;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * The registers of a vCPU without optional features: the core registers, and the system registers of the lab's
 * processor. Source: arch/arm64/kvm/guest.c, sys_regs.c.
 */
final class ArmRegisters {
    private static final long SIZE_MASK = 0x00f0_0000_0000_0000L;
    private static final long ARCHITECTURE = 0xff00_0000_0000_0000L;
    private static final int WORD = Integer.BYTES;
    /** PSTATE after a reset: EL1h with all interrupts masked. */
    private static final long RESET_STATE = 0x3c5;

    private static final int MODE = 0x1f;
    /** The valid modes: EL0t, EL1t, EL1h. */
    private static final Set<Integer> MODES = Set.of(0, 4, 5);
    /** The mode of 32-bit EL0. */
    private static final int USER_32 = 0x10;

    private static final long MPIDR = id(0xc005);
    /** The fields of ID_AA64PFR0_EL1 and ID_PFR1_EL1 that report system registers of a GIC. */
    private static final Map<Long, Long> GIC_REGISTERS = Map.of(id(0xc020), 0xfL << 24, id(0xc009), 0xfL << 28);

    /** CNTVCT and CNTPCT of EL0. */
    private static final Set<Long> COUNTERS = Set.of(id(0xdf1a), id(0xdf01));
    /** Nanoseconds of a counter's tick, at 62.5 MHz. */
    private static final int TICK = 16;

    /**
     * The registers that KVM only stores: SCTLR, ACTLR, CPACR, TTBR0, TTBR1, TCR, AFSR0, AFSR1, ESR, FAR, PAR, MAIR,
     * AMAIR, VBAR, CONTEXTIDR, TPIDR and CNTKCTL of EL1, TPIDR and TPIDRRO of EL0.
     */
    private static final Set<Long> KEPT = Set.of(
            id(0xc080),
            id(0xc081),
            id(0xc082),
            id(0xc100),
            id(0xc101),
            id(0xc102),
            id(0xc288),
            id(0xc289),
            id(0xc290),
            id(0xc300),
            id(0xc3a0),
            id(0xc510),
            id(0xc518),
            id(0xc600),
            id(0xc681),
            id(0xc684),
            id(0xc708),
            id(0xde82),
            id(0xde83));

    private final KernelOfFile host;
    private final long affinity;
    private final ByteBuffer core = ByteBuffer.allocate(KvmArmRegs.SIZE).order(ByteOrder.nativeOrder());
    private final Map<Long, Long> system = new HashMap<>();
    private final Map<Long, Long> counterOffsets = new HashMap<>();

    /** @param affinity MPIDR_EL1 */
    ArmRegisters(KernelOfFile host, long affinity) {
        this.host = host;
        this.affinity = affinity;
    }

    private static long id(int number) {
        return UapiArm64.KVM_REG_ARM64 | UapiArm64.KVM_REG_SIZE_U64 | UapiArm64.KVM_REG_ARM64_SYSREG | number;
    }

    /** Resets by KVM_ARM_VCPU_INIT, except SP_EL1, ELR_EL1 and SPSR_EL1, which have no reset value. */
    void reset() {
        byte[] kept = new byte[KvmArmRegs.SPSR + Long.BYTES - KvmArmRegs.SP_EL1];
        core.get(KvmArmRegs.SP_EL1, kept)
                .put(0, new byte[KvmArmRegs.SIZE])
                .putLong(KvmArmRegs.PSTATE, RESET_STATE)
                .put(KvmArmRegs.SP_EL1, kept);
        system.clear();
    }

    /** The ids, in the kernel's order. */
    List<Long> list() {
        return ArmRegisterTable.build(host.build()).ids();
    }

    static int size(long id) {
        return 1 << ((id & SIZE_MASK) >>> UapiArm64.KVM_REG_SIZE_SHIFT);
    }

    private static boolean isCore(long id) {
        return ((int) id & UapiArm64.KVM_REG_ARM_COPROC_MASK) == UapiArm64.KVM_REG_ARM_CORE;
    }

    /** Whether an id is that of a 64-bit system register. The vCPU may lack the register. */
    static boolean isSystem(long id) {
        return (id & ~0xffffL) == id(0);
    }

    private static long offset(long id) {
        return (id & ~(ARCHITECTURE | SIZE_MASK | UapiArm64.KVM_REG_ARM_CORE)) * WORD;
    }

    /** The size of the core register at an offset; 0 for none. */
    private static int coreSize(long offset) {
        if (offset < KvmArmRegs.SPSR + 5 * Long.BYTES) {
            return offset % Long.BYTES == 0 ? Long.BYTES : 0;
        }
        if (offset >= KvmArmRegs.VREGS && offset < KvmArmRegs.FPSR) {
            return offset % (2 * Long.BYTES) == 0 ? 2 * Long.BYTES : 0;
        }
        return offset == KvmArmRegs.FPSR || offset == KvmArmRegs.FPCR ? WORD : 0;
    }

    /** The rule that refuses KVM_GET_ONE_REG and KVM_SET_ONE_REG of this id; empty for none. */
    Optional<Answer> refuses(long id) {
        if ((id & ~SIZE_MASK) >>> Integer.SIZE != UapiArm64.KVM_REG_ARM64 >>> Integer.SIZE) {
            return Optional.of(ArmAnswer.ARM_REGISTER_KIND);
        }
        if (isCore(id)) {
            long offset = offset(id);
            if (offset >= KvmArmRegs.SIZE || offset + size(id) >= KvmArmRegs.SIZE) {
                return Optional.of(ArmAnswer.ARM_REGISTER_NONE);
            }
            return coreSize(offset) == size(id) ? Optional.empty() : Optional.of(ArmAnswer.ARM_REGISTER_SIZE);
        }
        if (ArmRegisterTable.build(host.build()).resetValue(id).isPresent()) {
            return Optional.empty();
        }
        if (!isSystem(id)) {
            throw new NotModelledException("the register 0x" + Long.toHexString(id));
        }
        return Optional.of(ArmAnswer.ARM_REGISTER_NONE);
    }

    /** The value of a register that {@link #refuses} accepts. */
    ByteBuffer get(long id) {
        ByteBuffer value = ByteBuffer.allocate(size(id)).order(ByteOrder.nativeOrder());
        if (isCore(id)) {
            value.put(0, core, (int) offset(id), size(id));
        } else if (size(id) == Long.BYTES) {
            value.putLong(0, systemValue(id));
        } else {
            value.putInt(0, (int) systemValue(id));
        }
        return value;
    }

    private long systemValue(long id) {
        if (COUNTERS.contains(id)) {
            return host.time().now() / TICK + Objects.requireNonNullElse(counterOffsets.get(id), 0L);
        }
        if (id == MPIDR) {
            return affinity;
        }
        Long kept = system.get(id);
        if (kept != null) {
            return kept;
        }
        long reset = ArmRegisterTable.build(host.build()).resetValue(id).orElseThrow();
        return ArmCapabilities.isGicV2(host) ? reset & ~GIC_REGISTERS.getOrDefault(id, 0L) : reset;
    }

    /** @return the rule that refuses the value; empty for none */
    Optional<Answer> set(long id, ByteBuffer value) {
        if (isCore(id)) {
            int offset = (int) offset(id);
            int mode = value.getInt(0) & MODE;
            if (offset == KvmArmRegs.PSTATE && mode == USER_32) {
                throw new NotModelledException("a vCPU of arm64 in a mode of 32 bits");
            }
            if (offset == KvmArmRegs.PSTATE && !MODES.contains(mode)) {
                return Optional.of(ArmAnswer.ARM_REGISTER_MODE);
            }
            core.put(offset, value, 0, size(id));
            return Optional.empty();
        }
        long next = size(id) == Long.BYTES ? value.getLong(0) : Integer.toUnsignedLong(value.getInt(0));
        if (KEPT.contains(id)) {
            system.put(id, next);
        } else if (COUNTERS.contains(id)) {
            counterOffsets.put(id, next - host.time().now() / TICK);
        } else if (next != systemValue(id)) {
            throw new NotModelledException("another value of the register 0x" + Long.toHexString(id));
        }
        return Optional.empty();
    }
}
