/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

/**
 * Request numbers, sizes and offsets of the kernel's ABI: {@code NAME} for a number, {@code STRUCT_FIELD} for an offset
 * in bytes, {@code STRUCT_SIZE} for a size. Source of all: include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
 */
public final class Uapi {
    private Uapi() {}

    private static final int KVMIO = 0xae;

    // asm-generic/ioctl.h; the encoding of x86, arm64 and riscv
    private static final long WRITE = 1L << 30;
    private static final long READ = 2L << 30;

    private static long io(int number) {
        return (long) KVMIO << 8 | number;
    }

    private static long iow(int number, int size) {
        return WRITE | (long) size << 16 | io(number);
    }

    private static long ior(int number, int size) {
        return READ | (long) size << 16 | io(number);
    }

    private static long iowr(int number, int size) {
        return READ | WRITE | (long) size << 16 | io(number);
    }

    // asm-generic/mman-common.h, linux/mman.h
    public static final int PROT_READ = 1;
    public static final int PROT_WRITE = 2;
    public static final int MAP_SHARED = 1;
    public static final int MAP_PRIVATE = 2;
    public static final int MAP_ANONYMOUS = 0x20;

    // /dev/kvm and VM
    public static final long KVM_GET_VCPU_MMAP_SIZE = io(0x04);
    public static final long KVM_GET_SUPPORTED_CPUID = iowr(0x05, 8);
    public static final long KVM_CREATE_VCPU = io(0x41);
    public static final long KVM_SET_TSS_ADDR = io(0x47);

    public static final long KVM_SET_USER_MEMORY_REGION = iow(0x46, 32);
    public static final int MEMORY_REGION_SLOT = 0;
    public static final int MEMORY_REGION_GUEST_ADDRESS = 8;
    public static final int MEMORY_REGION_SIZE_BYTES = 16;
    public static final int MEMORY_REGION_USER_ADDRESS = 24;
    public static final int MEMORY_REGION_SIZE = 32;

    public static final int KVM_CAP_IRQ_ROUTING = 25;
    public static final int KVM_CAP_IRQFD_RESAMPLE = 82;

    public static final int KVM_DEV_TYPE_VFIO = 4;

    // vCPU
    public static final long KVM_RUN = io(0x80);
    public static final long KVM_SET_CPUID2 = iow(0x90, 8);
    public static final int CPUID_HEADER_SIZE = 8;
    public static final int CPUID_ENTRY_SIZE = 40;

    public static final int REGS_SIZE = 144;
    public static final int REGS_RSP = 48;
    public static final int REGS_RIP = 128;
    public static final int REGS_RFLAGS = 136;
    public static final long KVM_SET_REGS = iow(0x82, REGS_SIZE);

    public static final int SREGS_SIZE = 312;
    public static final int SREGS_CS_BASE = 0;
    public static final int SREGS_CS_SELECTOR = 12;
    public static final long KVM_GET_SREGS = ior(0x83, SREGS_SIZE);
    public static final long KVM_SET_SREGS = iow(0x84, SREGS_SIZE);

    public static final int LAPIC_SIZE = 1024;
    public static final int LAPIC_SVR = 0xf0;
    public static final int LAPIC_SVR_ENABLE = 0x100;
    public static final int LAPIC_IRR = 0x200;
    public static final long KVM_GET_LAPIC = ior(0x8e, LAPIC_SIZE);
    public static final long KVM_SET_LAPIC = iow(0x8f, LAPIC_SIZE);

    // struct kvm_run, shared with the kernel while KVM_RUN lasts
    public static final int RUN_IMMEDIATE_EXIT = 1;
    public static final int RUN_EXIT_REASON = 8;
    public static final int RUN_IO_DIRECTION = 32;
    public static final int RUN_IO_PORT = 34;
    public static final int RUN_IO_DATA_OFFSET = 40;

    public static final int KVM_EXIT_IO = 2;
    public static final int KVM_EXIT_HLT = 5;
    public static final int KVM_EXIT_MMIO = 6;
    public static final int KVM_EXIT_SHUTDOWN = 8;
    public static final int KVM_EXIT_FAIL_ENTRY = 9;
    public static final int KVM_EXIT_INTR = 10;
    public static final int KVM_EXIT_INTERNAL_ERROR = 17;
    public static final int KVM_EXIT_IO_OUT = 1;

    // struct kvm_ioapic_state within an irqchip's state
    public static final int IOAPIC_IRR = 16;
    public static final int IOAPIC_REDIRTBL = 24;
}
