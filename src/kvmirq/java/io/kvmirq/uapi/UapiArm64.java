/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import static io.kvmirq.uapi.UapiTable.FileKind.VCPU;
import static io.kvmirq.uapi.UapiTable.FileKind.VM;

import io.kvmirq.uapi.Declared.Address;
import io.kvmirq.uapi.Declared.Bytes;
import io.kvmirq.uapi.Declared.Flags;
import io.kvmirq.uapi.Declared.Ioctl;
import io.kvmirq.uapi.Declared.U32;
import io.kvmirq.uapi.Declared.U64;

/**
 * The part of {@link Uapi} that only arm64 headers have: requests that encode the size of an arm64 structure, and
 * interrupt controller attributes. A test compares the constants with an arm64 compiler's numbers, in the tests'
 * arm64-6.1.txt.
 */
public final class UapiArm64 {
    private UapiArm64() {}

    // spotless:off: a table, a line for each field

    private static final long KVMIO = Uapi.KVMIO << 8;
    private static final long WRITE = 1L << 30;
    private static final long READ = 2L << 30;

    private static long size(int bytes) {
        return (long) bytes << 16;
    }

    // include/uapi/linux/kvm.h

    public static final int KVM_DEV_TYPE_ARM_VGIC_V2 = 5;
    public static final int KVM_DEV_TYPE_ARM_VGIC_V3 = 7;
    public static final int KVM_DEV_TYPE_ARM_VGIC_ITS = 8;
    public static final long KVM_VM_TYPE_ARM_IPA_SIZE_MASK = 0xff;
    public static final int KVM_CAP_ARM_PMU_V3 = 126;
    /** The largest guest address size in bits; 0 on x86. */
    public static final int KVM_CAP_ARM_VM_IPA_SIZE = 165;
    public static final int KVM_CAP_ARM_SVE = 170;
    public static final int KVM_CAP_ARM_PTRAUTH_ADDRESS = 171;
    public static final int KVM_CAP_ARM_PTRAUTH_GENERIC = 172;
    public static final int KVM_CAP_ARM_NISV_TO_USER = 177;
    public static final int KVM_CAP_ARM_MTE = 205;
    public static final int KVM_CAP_ARM_SYSTEM_SUSPEND = 216;
    public static final int KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE = 228;
    public static final int KVM_CAP_ARM_WRITABLE_IMP_ID_REGS = 239;
    public static final int KVM_CAP_ARM_SEA_TO_USER = 245;
    @Ioctl(on = VCPU, argument = KvmVcpuInit.class, arm64 = true)
    public static final long KVM_ARM_VCPU_INIT = WRITE | size(KvmVcpuInit.SIZE) | KVMIO | 0xae;
    @Ioctl(on = VM, argument = KvmVcpuInit.class, arm64 = true)
    public static final long KVM_ARM_PREFERRED_TARGET = READ | size(KvmVcpuInit.SIZE) | KVMIO | 0xaf;

    public static final long KVM_GET_REG_LIST = Uapi.KVM_GET_REG_LIST;
    public static final long KVM_GET_ONE_REG = Uapi.KVM_GET_ONE_REG;
    public static final long KVM_SET_ONE_REG = Uapi.KVM_SET_ONE_REG;
    @Ioctl(on = VM, argument = KvmArmCopyMteTags.class, arm64 = true)
    public static final long KVM_ARM_MTE_COPY_TAGS = READ | size(48) | KVMIO | 0xb4;
    @Ioctl(on = VCPU, arm64 = true) public static final long KVM_ARM_VCPU_FINALIZE = WRITE | size(4) | KVMIO | 0xc2;
    @Ioctl(on = VCPU, arm64 = true) public static final long KVM_SET_GUEST_DEBUG = WRITE | size(520) | KVMIO | 0x9b;
    /** An ioctl on a VM. On a vCPU, the same number is KVM_GET_ONE_REG. */
    @Ioctl(on = VM, argument = KvmArmDeviceAddr.class, arm64 = true)
    public static final long KVM_ARM_SET_DEVICE_ADDR = WRITE | size(16) | KVMIO | 0xab;
    /** The headers of Linux 6.1 lack this request. */
    @Ioctl(on = VM, arm64 = true) public static final long KVM_ARM_SET_COUNTER_OFFSET = WRITE | size(16) | KVMIO | 0xb5;
    /** The headers of Linux 6.1 lack this request. */
    @Ioctl(on = VM, argument = RegMaskRange.class, arm64 = true)
    public static final long KVM_ARM_GET_REG_WRITABLE_MASKS = READ | size(64) | KVMIO | 0xb6;

    // arch/arm64/include/uapi/asm/kvm.h: vCPUs

    public static final int KVM_ARM_TARGET_GENERIC_V8 = 5;
    public static final int KVM_ARM_VCPU_POWER_OFF = 0;
    public static final int KVM_ARM_VCPU_EL1_32BIT = 1;
    public static final int KVM_ARM_VCPU_PSCI_0_2 = 2;
    public static final int KVM_ARM_VCPU_PMU_V3 = 3;
    public static final int KVM_ARM_VCPU_SVE = 4;
    public static final int KVM_ARM_VCPU_PTRAUTH_ADDRESS = 5;
    public static final int KVM_ARM_VCPU_PTRAUTH_GENERIC = 6;

    // Attributes of a vCPU

    public static final int KVM_ARM_VCPU_PMU_V3_CTRL = 0;
    public static final int KVM_ARM_VCPU_PMU_V3_IRQ = 0;
    public static final int KVM_ARM_VCPU_PMU_V3_INIT = 1;
    public static final int KVM_ARM_VCPU_TIMER_CTRL = 1;
    public static final int KVM_ARM_VCPU_TIMER_IRQ_VTIMER = 0;
    public static final int KVM_ARM_VCPU_TIMER_IRQ_PTIMER = 1;

    // Register ids: architecture, size as a power of 2, kind and number

    public static final long KVM_REG_ARM64 = 0x6000000000000000L;
    public static final int KVM_REG_SIZE_SHIFT = 52;
    public static final long KVM_REG_SIZE_U32 = 0x0020000000000000L;
    public static final long KVM_REG_SIZE_U64 = 0x0030000000000000L;
    public static final long KVM_REG_SIZE_U128 = 0x0040000000000000L;
    public static final int KVM_REG_ARM_COPROC_MASK = 0x0fff0000;
    public static final int KVM_REG_ARM_CORE = 0x00100000;
    public static final int KVM_REG_ARM64_SYSREG = 0x00130000;
    public static final int KVM_REG_ARM_FW = 0x00140000;
    public static final int KVM_REG_ARM64_SVE = 0x00150000;

    /** arch/arm64/include/uapi/asm/kvm.h: the core registers, by their offset in words. */
    public interface KvmArmRegs {
        int SIZE = 864;
        @Bytes(248) int REGS = 0;
        @U64 int SP = 248;
        @U64 int PC = 256;
        @U64 int PSTATE = 264;
        @U64 int SP_EL1 = 272;
        @U64 int ELR_EL1 = 280;
        @Bytes(40) int SPSR = 288;
        @Bytes(512) int VREGS = 336;
        @U32 int FPSR = 848;
        @U32 int FPCR = 852;
    }

    /** arch/arm64/include/uapi/asm/kvm.h: the target and seven words of features. */
    public interface KvmVcpuInit {
        int SIZE = 32;
        @U32 int TARGET = 0;
        @Bytes(28) int FEATURES = 4;
    }

    // KVM_IRQ_LINE: the fields of the interrupt

    public static final int KVM_ARM_IRQ_VCPU2_SHIFT = 28;
    public static final int KVM_ARM_IRQ_TYPE_SHIFT = 24;
    public static final int KVM_ARM_IRQ_VCPU_SHIFT = 16;
    public static final int KVM_ARM_IRQ_TYPE_CPU = 0;
    public static final int KVM_ARM_IRQ_TYPE_SPI = 1;
    public static final int KVM_ARM_IRQ_TYPE_PPI = 2;

    // Attributes of the VGIC and its ITS

    public static final int KVM_DEV_ARM_VGIC_GRP_ADDR = 0;
    public static final int KVM_DEV_ARM_VGIC_GRP_DIST_REGS = 1;
    public static final int KVM_DEV_ARM_VGIC_GRP_CPU_REGS = 2;
    public static final int KVM_DEV_ARM_VGIC_GRP_NR_IRQS = 3;
    public static final int KVM_DEV_ARM_VGIC_GRP_CTRL = 4;
    public static final int KVM_DEV_ARM_VGIC_GRP_REDIST_REGS = 5;
    public static final int KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS = 6;
    public static final int KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO = 7;
    public static final int KVM_DEV_ARM_VGIC_GRP_ITS_REGS = 8;

    public static final int KVM_VGIC_V2_ADDR_TYPE_DIST = 0;
    public static final int KVM_VGIC_V2_ADDR_TYPE_CPU = 1;
    public static final int KVM_VGIC_V3_ADDR_TYPE_DIST = 2;
    public static final int KVM_VGIC_V3_ADDR_TYPE_REDIST = 3;
    public static final int KVM_VGIC_ITS_ADDR_TYPE = 4;
    public static final int KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION = 5;

    public static final int KVM_DEV_ARM_VGIC_CTRL_INIT = 0;
    public static final int KVM_DEV_ARM_ITS_SAVE_TABLES = 1;
    public static final int KVM_DEV_ARM_ITS_RESTORE_TABLES = 2;
    public static final int KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES = 3;
    public static final int KVM_DEV_ARM_ITS_CTRL_RESET = 4;

    /** The position of the vCPU id in a GICv2 register's attribute. */
    public static final int KVM_DEV_ARM_VGIC_CPUID_SHIFT = 32;
    /** The position of a region's redistributor count in the word of KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION. */
    public static final int KVM_VGIC_V3_RDIST_COUNT_SHIFT = 52;
    /** The position of Op0 in a system register's id; the other fields are in lower bits. */
    public static final int KVM_REG_ARM64_SYSREG_OP0_SHIFT = 14;
    public static final int KVM_REG_ARM64_SYSREG_OP1_SHIFT = 11;
    public static final int KVM_REG_ARM64_SYSREG_CRN_SHIFT = 7;
    public static final int KVM_REG_ARM64_SYSREG_CRM_SHIFT = 3;
    public static final int KVM_REG_ARM64_SYSREG_OP2_SHIFT = 0;

    /** The attribute's bits below this position hold an interrupt's number, the other bits the kind of information. */
    public static final int KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT = 10;

    public interface KvmArmCopyMteTags {
        int SIZE = 48;
        @U64 int GUEST_IPA = 0;
        @U64 int LENGTH = 8;
        @U64 @Address int ADDR = 16;
        @U64 @Flags int FLAGS = 24;
    }

    /** include/uapi/linux/kvm.h. */
    public interface KvmArmDeviceAddr {
        int SIZE = 16;
        @U64 int ID = 0;
        @U64 int ADDR = 8;
    }

    public interface RegMaskRange {
        int SIZE = 64;
        @U64 @Address int ADDR = 0;
        @U32 int RANGE = 8;
    }
    // spotless:on
}
