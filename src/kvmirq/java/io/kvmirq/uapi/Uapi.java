/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import static io.kvmirq.uapi.UapiTable.FileKind.KVM;
import static io.kvmirq.uapi.UapiTable.FileKind.KVM_DEVICE;
import static io.kvmirq.uapi.UapiTable.FileKind.KVM_VFIO;
import static io.kvmirq.uapi.UapiTable.FileKind.VCPU;
import static io.kvmirq.uapi.UapiTable.FileKind.VM;

import io.kvmirq.uapi.Declared.Address;
import io.kvmirq.uapi.Declared.Bytes;
import io.kvmirq.uapi.Declared.Count;
import io.kvmirq.uapi.Declared.Fd;
import io.kvmirq.uapi.Declared.Flags;
import io.kvmirq.uapi.Declared.Gsi;
import io.kvmirq.uapi.Declared.Inferred;
import io.kvmirq.uapi.Declared.Ioctl;
import io.kvmirq.uapi.Declared.OneOf;
import io.kvmirq.uapi.Declared.Path;
import io.kvmirq.uapi.Declared.U16;
import io.kvmirq.uapi.Declared.U32;
import io.kvmirq.uapi.Declared.U64;
import io.kvmirq.uapi.Declared.U8;

/**
 * The kernel ABI in numbers: constants under the kernel's names, and one interface per structure, with the byte offsets
 * of its fields and its {@code SIZE}. A structure comes from include/uapi/linux/kvm.h unless its comment names another
 * header. The compiler inlines the constants. Their annotations, which {@link UapiTable} reads, serve the fake kernel
 * and the error texts. A test compares constants and annotations with numbers from the C compiler and the kernel
 * headers.
 *
 * <p>Ioctls are encoded as in asm-generic/ioctl.h (x86, arm64, riscv). Alpha, mips, powerpc and sparc encode ioctls
 * differently, and {@code backend.libc.LibcBackend} refuses these architectures.
 */
public final class Uapi {
    private Uapi() {}

    // spotless:off: a table, a line for each field

    // include/uapi/asm-generic/ioctl.h: direction, 14 bits of size, KVM's type; the number follows

    public static final int KVMIO = 0xae;
    private static final long IO = KVMIO << 8;
    private static final long IOW = 1L << 30 | IO;
    private static final long IOR = 2L << 30 | IO;
    private static final long IOWR = 3L << 30 | IO;

    // include/uapi/asm-generic/fcntl.h, ioctls.h, mman-common.h, poll.h; linux/eventfd.h, fs.h

    public static final int O_RDWR = 2;
    /** The mask of the access mode: O_RDONLY, O_WRONLY or O_RDWR. */
    public static final int O_ACCMODE = 3;
    public static final int O_NOCTTY = 0400;
    public static final int O_APPEND = 02000;
    public static final int O_NONBLOCK = 04000;
    public static final int FASYNC = 020000;
    public static final int O_NOATIME = 01000000;
    /** include/uapi/asm-generic/ioctls.h: sets or clears O_NONBLOCK. The argument points to an int; 0 clears. */
    public static final int FIONBIO = 0x5421;
    public static final int FIOASYNC = 0x5452;
    public static final int FIOCLEX = 0x5451;
    public static final int FIONCLEX = 0x5450;
    public static final int O_CLOEXEC = 02000000;
    public static final int FD_CLOEXEC = 1;
    public static final int F_DUPFD = 0;
    public static final int F_GETFD = 1;
    public static final int F_SETFD = 2;
    public static final int F_GETFL = 3;
    public static final int F_SETFL = 4;
    public static final int F_DUPFD_CLOEXEC = 1030;
    public static final int PROT_READ = 1;
    public static final int PROT_WRITE = 2;
    public static final int MAP_SHARED = 1;
    public static final int MAP_PRIVATE = 2;
    public static final int MAP_FIXED = 0x10;
    public static final int MAP_ANONYMOUS = 0x20;
    public static final int MAP_NORESERVE = 0x4000;
    public static final int MADV_DONTFORK = 10;
    public static final int MADV_DONTDUMP = 16;
    public static final int EFD_SEMAPHORE = 1;
    public static final int EPOLL_CLOEXEC = O_CLOEXEC;

    public static final int RWF_NOWAIT = 8;
    public static final int POLLIN = 1;
    public static final int POLLERR = 8;
    public static final int POLLNVAL = 0x20;

    /** include/uapi/asm-generic/poll.h. */
    public interface Pollfd {
        int SIZE = 8;
        @U32 @Fd int FD = 0;
        @U16 int EVENTS = 4;
        @U16 int REVENTS = 6;
    }

    /** include/uapi/linux/time.h, 64-bit. */
    public interface Timespec {
        int SIZE = 16;
        @U64 int TV_SEC = 0;
        @U64 int TV_NSEC = 8;
    }

    /** include/uapi/linux/uio.h, 64-bit. */
    public interface Iovec {
        int SIZE = 16;
        @U64 int IOV_BASE = 0;
        @U64 int IOV_LEN = 8;
    }

    // include/uapi/linux/kvm.h: the KVM device and VMs

    public static final int KVM_API_VERSION = 12;
    public static final int KVM_CAP_IRQCHIP = 0;
    public static final int KVM_CAP_USER_MEMORY = 3;
    public static final int KVM_CAP_NR_VCPUS = 9;
    public static final int KVM_CAP_NR_MEMSLOTS = 10;
    public static final int KVM_CAP_COALESCED_MMIO = 15;
    public static final int KVM_CAP_IRQ_ROUTING = 25;
    public static final int KVM_CAP_IRQ_INJECT_STATUS = 26;
    public static final int KVM_CAP_IRQFD = 32;
    public static final int KVM_CAP_PIT2 = 33;
    public static final int KVM_CAP_IOEVENTFD = 36;
    public static final int KVM_CAP_XEN_HVM = 38;
    public static final int KVM_CAP_ENABLE_CAP = 54;
    public static final int KVM_CAP_TSC_CONTROL = 60;
    public static final int KVM_CAP_MAX_VCPUS = 66;
    public static final int KVM_CAP_TSC_DEADLINE_TIMER = 72;
    public static final int KVM_CAP_SYNC_REGS = 74;
    public static final int KVM_CAP_SIGNAL_MSI = 77;
    public static final int KVM_CAP_READONLY_MEM = 81;
    public static final int KVM_CAP_IRQFD_RESAMPLE = 82;
    public static final int KVM_CAP_DEVICE_CTRL = 89;
    public static final int KVM_CAP_ENABLE_CAP_VM = 98;
    public static final int KVM_CAP_IOEVENTFD_NO_LENGTH = 100;
    public static final int KVM_CAP_VM_ATTRIBUTES = 101;
    public static final int KVM_CAP_CHECK_EXTENSION_VM = 105;
    public static final int KVM_CAP_DISABLE_QUIRKS = 116;
    public static final int KVM_CAP_X86_SMM = 117;
    public static final int KVM_CAP_MULTI_ADDRESS_SPACE = 118;
    public static final int KVM_CAP_SPLIT_IRQCHIP = 121;
    public static final int KVM_CAP_IOEVENTFD_ANY_LENGTH = 122;
    public static final int KVM_CAP_HYPERV_SYNIC = 123;
    public static final int KVM_CAP_MAX_VCPU_ID = 128;
    public static final int KVM_CAP_X2APIC_API = 129;
    public static final int KVM_CAP_MSI_DEVID = 131;
    public static final int KVM_CAP_IMMEDIATE_EXIT = 136;
    public static final int KVM_CAP_X86_DISABLE_EXITS = 143;
    public static final int KVM_CAP_HYPERV_SYNIC2 = 148;
    public static final int KVM_CAP_MSR_PLATFORM_INFO = 159;
    public static final int KVM_CAP_HYPERV_ENLIGHTENED_VMCS = 163;
    public static final int KVM_CAP_EXCEPTION_PAYLOAD = 164;
    public static final int KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 = 168;
    public static final int KVM_CAP_HYPERV_DIRECT_TLBFLUSH = 175;
    public static final int KVM_CAP_HALT_POLL = 182;
    public static final int KVM_CAP_X86_USER_SPACE_MSR = 188;
    public static final int KVM_CAP_X86_MSR_FILTER = 189;
    public static final int KVM_CAP_ENFORCE_PV_FEATURE_CPUID = 190;
    public static final int KVM_CAP_DIRTY_LOG_RING = 192;
    public static final int KVM_CAP_X86_BUS_LOCK_EXIT = 193;
    public static final int KVM_CAP_SGX_ATTRIBUTE = 196;
    public static final int KVM_CAP_VM_COPY_ENC_CONTEXT_FROM = 197;
    public static final int KVM_CAP_HYPERV_ENFORCE_CPUID = 199;
    public static final int KVM_CAP_EXIT_HYPERCALL = 201;
    public static final int KVM_CAP_BINARY_STATS_FD = 203;
    public static final int KVM_CAP_EXIT_ON_EMULATION_FAILURE = 204;
    public static final int KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM = 206;
    public static final int KVM_CAP_XSAVE2 = 208;
    public static final int KVM_CAP_PMU_CAPABILITY = 212;
    public static final int KVM_CAP_DISABLE_QUIRKS2 = 213;
    public static final int KVM_CAP_X86_TRIPLE_FAULT_EVENT = 218;
    public static final int KVM_CAP_X86_NOTIFY_VMEXIT = 219;
    public static final int KVM_CAP_VM_DISABLE_NX_HUGE_PAGES = 220;
    public static final int KVM_CAP_DIRTY_LOG_RING_ACQ_REL = 223;
    public static final int KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP = 225;
    public static final int KVM_CAP_USER_MEMORY2 = 231;
    public static final int KVM_CAP_MEMORY_FAULT_INFO = 232;
    public static final int KVM_CAP_GUEST_MEMFD = 234;
    public static final int KVM_CAP_VM_TYPES = 235;
    public static final int KVM_CAP_X86_APIC_BUS_CYCLES_NS = 237;

    public static final int KVM_X2APIC_API_USE_32BIT_IDS = 1;
    public static final int KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK = 2;
    public static final int KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST = 4;
    public static final int KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST = 8;

    // The arguments of KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_BUS_LOCK_EXIT and KVM_CAP_X86_NOTIFY_VMEXIT, and the
    // hypercall whose bit is the argument of KVM_CAP_EXIT_HYPERCALL (include/uapi/linux/kvm_para.h)
    public static final int KVM_MSR_EXIT_REASON_INVAL = 1;
    public static final int KVM_MSR_EXIT_REASON_UNKNOWN = 2;
    public static final int KVM_MSR_EXIT_REASON_FILTER = 4;
    public static final int KVM_BUS_LOCK_DETECTION_OFF = 1;
    public static final int KVM_BUS_LOCK_DETECTION_EXIT = 2;
    public static final int KVM_X86_NOTIFY_VMEXIT_ENABLED = 1;
    public static final int KVM_X86_NOTIFY_VMEXIT_USER = 2;
    public static final int KVM_HC_MAP_GPA_RANGE = 12;

    public static final int KVM_MEM_LOG_DIRTY_PAGES = 1;
    public static final int KVM_MEM_READONLY = 2;
    public static final int KVM_MEM_GUEST_MEMFD = 4;

    @Ioctl(KVM) public static final long KVM_GET_API_VERSION = IO | 0x00;
    @Ioctl(on = KVM) public static final long KVM_CREATE_VM = IO | 0x01;
    @Ioctl(on = {KVM, VM}) public static final long KVM_CHECK_EXTENSION = IO | 0x03;
    @Ioctl(KVM) public static final long KVM_GET_VCPU_MMAP_SIZE = IO | 0x04;
    @Ioctl(on = KVM, argument = KvmCpuid2.class)
    public static final long KVM_GET_SUPPORTED_CPUID = IOWR | KvmCpuid2.SIZE << 16 | 0x05;
    @Ioctl(on = VM) public static final long KVM_CREATE_VCPU = IO | 0x41;
    @Ioctl(VM) public static final long KVM_SET_TSS_ADDR = IO | 0x47;
    @Ioctl(VM) public static final long KVM_SET_IDENTITY_MAP_ADDR = IOW | 8 << 16 | 0x48;
    @Ioctl(VM) public static final long KVM_SET_BOOT_CPU_ID = IO | 0x78;
    @Ioctl(on = VM, argument = KvmUserspaceMemoryRegion.class)
    public static final long KVM_SET_USER_MEMORY_REGION = IOW | KvmUserspaceMemoryRegion.SIZE << 16 | 0x46;
    @Ioctl(on = VM, argument = KvmUserspaceMemoryRegion2.class)
    public static final long KVM_SET_USER_MEMORY_REGION2 = IOW | KvmUserspaceMemoryRegion2.SIZE << 16 | 0x49;
    @Ioctl(on = VM, argument = KvmCreateGuestMemfd.class)
    public static final long KVM_CREATE_GUEST_MEMFD = IOWR | KvmCreateGuestMemfd.SIZE << 16 | 0xd4;
    @Ioctl(on = {VM, VCPU}, argument = KvmEnableCap.class)
    public static final long KVM_ENABLE_CAP = IOW | KvmEnableCap.SIZE << 16 | 0xa3;
    @Ioctl(on = {VM, VCPU}) public static final long KVM_GET_STATS_FD = IO | 0xce;

    public interface KvmUserspaceMemoryRegion {
        int SIZE = 32;
        @U32 int SLOT = 0;
        @U32 @Flags("KVM_MEM_") int FLAGS = 4;
        @U64 int GUEST_PHYS_ADDR = 8;
        @U64 int MEMORY_SIZE = 16;
        @U64 @Address int USERSPACE_ADDR = 24;
    }

    public interface KvmUserspaceMemoryRegion2 extends KvmUserspaceMemoryRegion {
        int SIZE = 160;
        @U64 int GUEST_MEMFD_OFFSET = 32;
        @U32 @Fd int GUEST_MEMFD = 40;
    }

    /** include/uapi/linux/kvm.h: the first bytes in the file of KVM_GET_STATS_FD. */
    public interface KvmStatsHeader {
        int SIZE = 24;
        @U32 int FLAGS = 0;
        @U32 int NAME_SIZE = 4;
        @U32 int NUM_DESC = 8;
        @U32 int ID_OFFSET = 12;
        @U32 int DESC_OFFSET = 16;
        @U32 int DATA_OFFSET = 20;
    }

    public interface KvmEnableCap {
        int SIZE = 104;
        @U32 @OneOf("KVM_CAP_") int CAP = 0;
        @U32 @Flags int FLAGS = 4;
        @Bytes(32) int ARGS = 8;
    }

    // Interrupt controllers

    public static final int KVM_IRQCHIP_PIC_MASTER = 0;
    public static final int KVM_IRQCHIP_PIC_SLAVE = 1;
    public static final int KVM_IRQCHIP_IOAPIC = 2;

    @Ioctl(VM) public static final long KVM_CREATE_IRQCHIP = IO | 0x60;
    @Ioctl(on = VM, argument = KvmIrqchip.class)
    public static final long KVM_GET_IRQCHIP = IOWR | KvmIrqchip.SIZE << 16 | 0x62;
    /** The request number encodes a kernel write, but the kernel reads the argument. */
    @Ioctl(on = VM, argument = KvmIrqchip.class)
    public static final long KVM_SET_IRQCHIP = IOR | KvmIrqchip.SIZE << 16 | 0x63;
    public static final int KVM_PIT_SPEAKER_DUMMY = 1;

    @Ioctl(on = VM, argument = KvmPitConfig.class)
    public static final long KVM_CREATE_PIT2 = IOW | KvmPitConfig.SIZE << 16 | 0x77;

    /** include/uapi/linux/kvm.h; the fields without a constant are reserved. */
    public interface KvmPitConfig {
        int SIZE = 64;
        @U32 @Flags("KVM_PIT_") int FLAGS = 0;
    }

    @Ioctl(on = VM, argument = KvmPitState2.class)
    public static final long KVM_GET_PIT2 = IOR | KvmPitState2.SIZE << 16 | 0x9f;
    @Ioctl(on = VM, argument = KvmPitState2.class)
    public static final long KVM_SET_PIT2 = IOW | KvmPitState2.SIZE << 16 | 0xa0;

    /** arch/x86/include/uapi/asm/kvm.h; the structure begins with three {@link KvmPitChannelState}. */
    public interface KvmPitState2 {
        int SIZE = 112;
        @Bytes(72) int CHANNELS = 0;
        @U32 int FLAGS = 72;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmPitChannelState {
        int SIZE = 24;
        @U32 int COUNT = 0;
        @U16 int LATCHED_COUNT = 4;
        @U8 int COUNT_LATCHED = 6;
        @U8 int STATUS_LATCHED = 7;
        @U8 int STATUS = 8;
        @U8 int READ_STATE = 9;
        @U8 int WRITE_STATE = 10;
        @U8 int WRITE_LATCH = 11;
        @U8 int RW_MODE = 12;
        @U8 int MODE = 13;
        @U8 int BCD = 14;
        @U8 int GATE = 15;
        @U64 int COUNT_LOAD_TIME = 16;
    }

    public static final int KVM_CLOCK_TSC_STABLE = 2;
    public static final int KVM_CLOCK_REALTIME = 4;
    public static final int KVM_CLOCK_HOST_TSC = 8;

    @Ioctl(on = VM, argument = KvmClockData.class)
    public static final long KVM_SET_CLOCK = IOW | KvmClockData.SIZE << 16 | 0x7b;
    @Ioctl(on = VM, argument = KvmClockData.class)
    public static final long KVM_GET_CLOCK = IOR | KvmClockData.SIZE << 16 | 0x7c;

    /** include/uapi/linux/kvm.h. */
    public interface KvmClockData {
        int SIZE = 48;
        @U64 int CLOCK = 0;
        @U32 @Flags("KVM_CLOCK_") int FLAGS = 8;
        @U64 int REALTIME = 16;
        @U64 int HOST_TSC = 24;
    }

    /** arch/x86/include/uapi/asm/kvm.h; some bytes have a flag for each pin (IRR), others hold a mode (POLL). */
    public interface KvmPicState {
        int SIZE = 16;
        @U8 int LAST_IRR = 0;
        @U8 int IRR = 1;
        @U8 int IMR = 2;
        @U8 int ISR = 3;
        @U8 int PRIORITY_ADD = 4;
        @U8 int IRQ_BASE = 5;
        @U8 int READ_REG_SELECT = 6;
        @U8 int POLL = 7;
        @U8 int SPECIAL_MASK = 8;
        @U8 int INIT_STATE = 9;
        @U8 int AUTO_EOI = 10;
        @U8 int ROTATE_ON_AUTO_EOI = 11;
        @U8 int SPECIAL_FULLY_NESTED_MODE = 12;
        @U8 int INIT4 = 13;
        @U8 int ELCR = 14;
        @U8 int ELCR_MASK = 15;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmIrqchip {
        int SIZE = 520;
        @U32 @OneOf("KVM_IRQCHIP_") int CHIP_ID = 0;
        @Bytes(512) int CHIP = 8;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmIoapicState {
        int SIZE = 216;
        @U32 int IRR = 16;
        @Bytes(192) int REDIRTBL = 24;
    }

    // Routes

    public static final int KVM_IRQ_ROUTING_IRQCHIP = 1;
    public static final int KVM_IRQ_ROUTING_MSI = 2;
    public static final int KVM_IRQ_ROUTING_S390_ADAPTER = 3;
    public static final int KVM_IRQ_ROUTING_HV_SINT = 4;
    public static final int KVM_IRQ_ROUTING_XEN_EVTCHN = 5;
    public static final int KVM_XEN_HVM_CONFIG_EVTCHN_2LEVEL = 1 << 4;
    public static final int KVM_MSI_VALID_DEVID = 1;

    @Ioctl(on = VM, argument = KvmIrqRouting.class)
    public static final long KVM_SET_GSI_ROUTING = IOW | KvmIrqRouting.SIZE << 16 | 0x6a;

    /** include/uapi/linux/kvm.h: the header, which the routing entries follow. */
    public interface KvmIrqRouting {
        int SIZE = 8;
        @U32 @Count int NR = 0;
        @U32 @Flags int FLAGS = 4;
    }

    public interface KvmIrqRoutingEntry {
        int SIZE = 48;
        @U32 @Gsi int GSI = 0;
        @U32 @OneOf("KVM_IRQ_ROUTING_") int TYPE = 4;
        @U32 @Flags("KVM_MSI_") int FLAGS = 8;
        @Bytes(32) @Path("u.pad") int U_PAD = 16;
        @U32 @Path("u.irqchip.irqchip") int U_IRQCHIP_IRQCHIP = 16;
        @U32 @Path("u.irqchip.pin") int U_IRQCHIP_PIN = 20;
        @U32 @Path("u.msi.address_lo") int U_MSI_ADDRESS_LO = 16;
        @U32 @Path("u.msi.address_hi") int U_MSI_ADDRESS_HI = 20;
        @U32 @Path("u.msi.data") int U_MSI_DATA = 24;
        @U32 @Path("u.msi.devid") int U_MSI_DEVID = 28;
    }

    // irqfd and ioeventfd

    public static final int KVM_IRQFD_FLAG_DEASSIGN = 1;
    public static final int KVM_IRQFD_FLAG_RESAMPLE = 2;

    @Ioctl(on = VM, argument = KvmIrqfd.class)
    public static final long KVM_IRQFD = IOW | KvmIrqfd.SIZE << 16 | 0x76;

    public interface KvmIrqfd {
        int SIZE = 32;
        @U32 @Fd int FD = 0;
        @U32 @Gsi int GSI = 4;
        @U32 @Flags("KVM_IRQFD_FLAG_") int FLAGS = 8;
        @U32 @Fd int RESAMPLEFD = 12;
    }

    public static final int KVM_IOEVENTFD_FLAG_DATAMATCH = 1;
    public static final int KVM_IOEVENTFD_FLAG_PIO = 2;
    public static final int KVM_IOEVENTFD_FLAG_DEASSIGN = 4;
    public static final int KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY = 8;

    @Ioctl(on = VM, argument = KvmIoeventfd.class)
    public static final long KVM_IOEVENTFD = IOW | KvmIoeventfd.SIZE << 16 | 0x79;

    public interface KvmIoeventfd {
        int SIZE = 64;
        @U64 int DATAMATCH = 0;
        @U64 int ADDR = 8;
        @U32 int LEN = 16;
        @U32 @Fd int FD = 20;
        @U32 @Flags("KVM_IOEVENTFD_FLAG_") int FLAGS = 24;
    }

    // Injection

    @Ioctl(on = VM, argument = KvmIrqLevel.class)
    public static final long KVM_IRQ_LINE = IOW | KvmIrqLevel.SIZE << 16 | 0x61;
    @Ioctl(on = VM, argument = KvmIrqLevel.class)
    public static final long KVM_IRQ_LINE_STATUS = IOWR | KvmIrqLevel.SIZE << 16 | 0x67;
    @Ioctl(on = VM, argument = KvmMsi.class)
    public static final long KVM_SIGNAL_MSI = IOW | KvmMsi.SIZE << 16 | 0xa5;

    /** include/uapi/linux/kvm.h; in KVM_IRQ_LINE_STATUS the kernel returns the status in {@code irq}. */
    public interface KvmIrqLevel {
        int SIZE = 8;
        @U32 @Gsi int IRQ = 0;
        @U32 int LEVEL = 4;
    }

    public interface KvmMsi {
        int SIZE = 32;
        @U32 int ADDRESS_LO = 0;
        @U32 int ADDRESS_HI = 4;
        @U32 int DATA = 8;
        @U32 @Flags("KVM_MSI_") int FLAGS = 12;
        @U32 int DEVID = 16;
    }

    // Devices

    public static final int KVM_CREATE_DEVICE_TEST = 1;
    public static final int KVM_DEV_TYPE_VFIO = 4;
    public static final int KVM_DEV_VFIO_FILE = 1;
    public static final int KVM_DEV_VFIO_FILE_ADD = 1;
    public static final int KVM_DEV_VFIO_FILE_DEL = 2;
    public static final int KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE = 3;

    /**
     * A KVM-VFIO attribute group, proposed in 2014 and never merged, so no header defines it. In 2025 another series
     * proposed the same numbers for TDI_BIND and TDI_UNBIND, so a kernel with this group may mean those.
     */
    @Inferred("[PATCH v3 7/8] KVM: kvm-vfio: generic forwarding control, December 2014; the next free number")
    public static final int KVM_DEV_VFIO_DEVICE = 2;

    @Inferred("the same series") public static final int KVM_DEV_VFIO_DEVICE_FORWARD_IRQ = 1;

    @Inferred("the same series") public static final int KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ = 2;

    @Ioctl(on = VM, argument = KvmCreateDevice.class)
    public static final long KVM_CREATE_DEVICE = IOWR | KvmCreateDevice.SIZE << 16 | 0xe0;
    @Ioctl(on = {KVM_DEVICE, KVM_VFIO, VCPU}, argument = KvmDeviceAttr.class)
    public static final long KVM_SET_DEVICE_ATTR = IOW | KvmDeviceAttr.SIZE << 16 | 0xe1;
    @Ioctl(on = {KVM_DEVICE, KVM_VFIO, KVM, VCPU}, argument = KvmDeviceAttr.class)
    public static final long KVM_GET_DEVICE_ATTR = IOW | KvmDeviceAttr.SIZE << 16 | 0xe2;
    @Ioctl(on = {KVM_DEVICE, KVM_VFIO, KVM, VCPU}, argument = KvmDeviceAttr.class)
    public static final long KVM_HAS_DEVICE_ATTR = IOW | KvmDeviceAttr.SIZE << 16 | 0xe3;

    public interface KvmCreateDevice {
        int SIZE = 12;
        @U32 @OneOf("KVM_DEV_TYPE_") int TYPE = 0;
        @U32 @Fd int FD = 4;
        @U32 @Flags("KVM_CREATE_DEVICE_") int FLAGS = 8;
    }

    public interface KvmDeviceAttr {
        int SIZE = 24;
        @U32 @Flags int FLAGS = 0;
        @U32 int GROUP = 4;
        @U64 int ATTR = 8;
        @U64 @Address int ADDR = 16;
    }

    /** Argument of {@link #KVM_DEV_VFIO_DEVICE}: an interrupt's VFIO index and subindex, and the guest's GSI. */
    @Inferred("the same series uses these members; a later variant begins with argsz")
    public interface KvmArchForwardedIrq {
        int SIZE = 16;
        @U32 @Fd int FD = 0;
        @U32 int INDEX = 4;
        @U32 int SUBINDEX = 8;
        @U32 @Gsi int GSI = 12;
    }

    // vCPU

    @Ioctl(VCPU) public static final long KVM_RUN = IO | 0x80;
    @Ioctl(on = VCPU, argument = KvmRegs.class) public static final long KVM_GET_REGS = IOR | KvmRegs.SIZE << 16 | 0x81;
    @Ioctl(on = VCPU, argument = KvmRegs.class) public static final long KVM_SET_REGS = IOW | KvmRegs.SIZE << 16 | 0x82;
    @Ioctl(on = VCPU, argument = KvmSregs.class)
    public static final long KVM_GET_SREGS = IOR | KvmSregs.SIZE << 16 | 0x83;
    @Ioctl(on = VCPU, argument = KvmSregs.class)
    public static final long KVM_SET_SREGS = IOW | KvmSregs.SIZE << 16 | 0x84;
    @Ioctl(on = VCPU, argument = KvmInterrupt.class)
    public static final long KVM_INTERRUPT = IOW | KvmInterrupt.SIZE << 16 | 0x86;
    @Ioctl(on = VCPU, argument = KvmSignalMask.class)
    public static final long KVM_SET_SIGNAL_MASK = IOW | KvmSignalMask.SIZE << 16 | 0x8b;
    @Ioctl(on = VCPU, argument = KvmLapicState.class)
    public static final long KVM_GET_LAPIC = IOR | KvmLapicState.SIZE << 16 | 0x8e;
    @Ioctl(on = VCPU, argument = KvmLapicState.class)
    public static final long KVM_SET_LAPIC = IOW | KvmLapicState.SIZE << 16 | 0x8f;
    @Ioctl(on = VCPU, argument = KvmCpuid2.class)
    public static final long KVM_SET_CPUID2 = IOW | KvmCpuid2.SIZE << 16 | 0x90;
    @Ioctl(on = VCPU, argument = KvmMpState.class)
    public static final long KVM_GET_MP_STATE = IOR | KvmMpState.SIZE << 16 | 0x98;
    @Ioctl(on = VCPU, argument = KvmMpState.class)
    public static final long KVM_SET_MP_STATE = IOW | KvmMpState.SIZE << 16 | 0x99;
    @Ioctl(VCPU) public static final long KVM_NMI = IO | 0x9a;
    @Ioctl(VCPU) public static final long KVM_SET_GUEST_DEBUG = IOW | 72 << 16 | 0x9b;
    @Ioctl(on = VCPU, argument = KvmVcpuEvents.class)
    public static final long KVM_GET_VCPU_EVENTS = IOR | KvmVcpuEvents.SIZE << 16 | 0x9f;

    public static final int KVM_MP_STATE_RUNNABLE = 0;
    public static final int KVM_MP_STATE_UNINITIALIZED = 1;
    public static final int KVM_MP_STATE_INIT_RECEIVED = 2;
    public static final int KVM_MP_STATE_HALTED = 3;
    public static final int KVM_MP_STATE_SIPI_RECEIVED = 4;
    public static final int KVM_MP_STATE_STOPPED = 5;
    public static final int KVM_MP_STATE_AP_RESET_HOLD = 9;
    /** Only on arm64. */
    public static final int KVM_MP_STATE_SUSPENDED = 10;

    public static final int KVM_EXIT_UNKNOWN = 0;
    public static final int KVM_EXIT_IO = 2;
    public static final int KVM_EXIT_HYPERCALL = 3;
    public static final int KVM_EXIT_DEBUG = 4;
    public static final int KVM_EXIT_HLT = 5;
    public static final int KVM_EXIT_MMIO = 6;
    public static final int KVM_EXIT_IRQ_WINDOW_OPEN = 7;
    public static final int KVM_EXIT_SHUTDOWN = 8;
    public static final int KVM_EXIT_FAIL_ENTRY = 9;
    public static final int KVM_EXIT_INTR = 10;
    public static final int KVM_EXIT_TPR_ACCESS = 12;
    public static final int KVM_EXIT_INTERNAL_ERROR = 17;
    public static final int KVM_EXIT_SYSTEM_EVENT = 24;
    public static final int KVM_EXIT_IOAPIC_EOI = 26;
    public static final int KVM_EXIT_HYPERV = 27;
    public static final int KVM_EXIT_X86_RDMSR = 29;
    public static final int KVM_EXIT_X86_WRMSR = 30;
    public static final int KVM_EXIT_X86_BUS_LOCK = 33;
    public static final int KVM_EXIT_XEN = 34;
    public static final int KVM_EXIT_NOTIFY = 37;
    public static final int KVM_EXIT_MEMORY_FAULT = 39;
    public static final int KVM_EXIT_IO_OUT = 1;
    public static final int KVM_MEMORY_EXIT_FLAG_PRIVATE = 8;
    public static final int KVM_NOTIFY_CONTEXT_INVALID = 1;
    public static final int KVM_SYSTEM_EVENT_SHUTDOWN = 1;
    public static final int KVM_SYSTEM_EVENT_RESET = 2;
    public static final int KVM_SYSTEM_EVENT_CRASH = 3;
    public static final int KVM_SYSTEM_EVENT_WAKEUP = 4;
    public static final int KVM_SYSTEM_EVENT_SUSPEND = 5;
    public static final int KVM_SYSTEM_EVENT_SEV_TERM = 6;
    public static final int KVM_INTERNAL_ERROR_EMULATION = 1;
    public static final int KVM_INTERNAL_ERROR_SIMUL_EX = 2;
    public static final int KVM_INTERNAL_ERROR_DELIVERY_EV = 3;
    public static final int KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON = 4;

    /** include/uapi/linux/kvm.h; shared with the kernel while KVM_RUN lasts. */
    public interface KvmRun {
        int SIZE = 2352;
        @U8 int REQUEST_INTERRUPT_WINDOW = 0;
        @U8 int IMMEDIATE_EXIT = 1;
        @U32 int EXIT_REASON = 8;
        @U8 int READY_FOR_INTERRUPT_INJECTION = 12;
        @U8 int IF_FLAG = 13;
        @U64 int CR8 = 16;
        @U64 int APIC_BASE = 24;
        @U8 @Path("io.direction") int IO_DIRECTION = 32;
        @U8 @Path("io.size") int IO_SIZE = 33;
        @U16 @Path("io.port") int IO_PORT = 34;
        @U32 @Path("io.count") int IO_COUNT = 36;
        @U8 @Path("eoi.vector") int EOI_VECTOR = 32;
        @U64 @Path("fail_entry.hardware_entry_failure_reason") int FAIL_ENTRY_REASON = 32;
        @U32 @Path("internal.suberror") int INTERNAL_SUBERROR = 32;
        @U32 @Path("system_event.type") int SYSTEM_EVENT_TYPE = 32;
        @U64 @Path("io.data_offset") int IO_DATA_OFFSET = 40;
        @U64 @Path("mmio.phys_addr") int MMIO_PHYS_ADDR = 32;
        @U64 @Path("mmio.data") int MMIO_DATA = 40;
        @U32 @Path("mmio.len") int MMIO_LEN = 48;
        @U8 @Path("mmio.is_write") int MMIO_IS_WRITE = 52;
        @U8 @Path("msr.error") int MSR_ERROR = 32;
        @U32 @Path("msr.index") int MSR_INDEX = 44;
        @U64 @Path("msr.data") int MSR_DATA = 48;
        @U64 @Path("hypercall.nr") int HYPERCALL_NR = 32;
        @U64 @Path("hypercall.args[0]") int HYPERCALL_ARGS = 40;
        @U64 @Path("hypercall.ret") int HYPERCALL_RET = 88;
        @U64 int KVM_VALID_REGS = 288;
        @U64 int KVM_DIRTY_REGS = 296;
    }

    public interface KvmInterrupt {
        int SIZE = 4;
        @U32 int IRQ = 0;
    }

    public interface KvmMpState {
        int SIZE = 4;
        @U32 @OneOf("KVM_MP_STATE_") int MP_STATE = 0;
    }

    /** include/uapi/linux/kvm.h: the number {@code nent} of CPUID entries, and padding; the entries follow. */
    public interface KvmCpuid2 {
        int SIZE = 8;
        @U32 @Count int NENT = 0;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmCpuidEntry2 {
        int SIZE = 40;
        @U32 int FUNCTION = 0;
        @U32 int INDEX = 4;
        @U32 int FLAGS = 8;
        @U32 int EAX = 12;
        @U32 int EBX = 16;
        @U32 int ECX = 20;
        @U32 int EDX = 24;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmRegs {
        int SIZE = 144;
        @U64 int RSP = 48;
        @U64 int RIP = 128;
        @U64 int RFLAGS = 136;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmSregs {
        int SIZE = 312;
        @U64 @Path("cs.base") int CS_BASE = 0;
        @U16 @Path("cs.selector") int CS_SELECTOR = 12;
        @U64 @Path("gdt.base") int GDT_BASE = 192;
        @U16 @Path("gdt.limit") int GDT_LIMIT = 200;
        @U64 @Path("idt.base") int IDT_BASE = 208;
        @U16 @Path("idt.limit") int IDT_LIMIT = 216;
        @U64 int CR0 = 224;
        @U64 int CR2 = 232;
        @U64 int CR3 = 240;
        @U64 int CR4 = 248;
        @U64 int CR8 = 256;
        @U64 int EFER = 264;
        @U64 int APIC_BASE = 272;
    }

    /** arch/x86/include/uapi/asm/kvm.h; the first eight fields of {@code struct kvm_sregs} are segments. */
    public interface KvmSegment {
        int SIZE = 24;
        @U64 int BASE = 0;
        @U32 int LIMIT = 8;
        @U16 int SELECTOR = 12;
        @U8 int TYPE = 14;
        @U8 int PRESENT = 15;
        @U8 int DPL = 16;
        @U8 int DB = 17;
        @U8 int S = 18;
        @U8 int L = 19;
        @U8 int G = 20;
        @U8 int AVL = 21;
        @U8 int UNUSABLE = 22;
    }

    /** arch/x86/include/uapi/asm/kvm.h: registers at their xAPIC offsets (Intel SDM volume 3, table 11-1). */
    public interface KvmLapicState {
        int SIZE = 1024;
        int SVR = 0xf0;
        int SVR_ENABLE = 0x100;
        int IRR = 0x200;
    }

    public static final int KVM_VCPUEVENT_VALID_NMI_PENDING = 1;
    public static final int KVM_VCPUEVENT_VALID_SIPI_VECTOR = 2;
    public static final int KVM_VCPUEVENT_VALID_SHADOW = 4;
    public static final int KVM_VCPUEVENT_VALID_SMM = 8;
    public static final int KVM_VCPUEVENT_VALID_PAYLOAD = 0x10;
    public static final int KVM_VCPUEVENT_VALID_TRIPLE_FAULT = 0x20;

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmVcpuEvents {
        int SIZE = 64;
        @U8 @Path("exception.injected") int EXCEPTION_INJECTED = 0;
        @U8 @Path("exception.nr") int EXCEPTION_NR = 1;
        @U8 @Path("exception.has_error_code") int EXCEPTION_HAS_ERROR_CODE = 2;
        @U8 @Path("exception.pending") int EXCEPTION_PENDING = 3;
        @U32 @Path("exception.error_code") int EXCEPTION_ERROR_CODE = 4;
        @U8 @Path("interrupt.injected") int INTERRUPT_INJECTED = 8;
        @U8 @Path("interrupt.nr") int INTERRUPT_NR = 9;
        @U8 @Path("interrupt.soft") int INTERRUPT_SOFT = 10;
        @U8 @Path("interrupt.shadow") int INTERRUPT_SHADOW = 11;
        @U8 @Path("nmi.injected") int NMI_INJECTED = 12;
        @U8 @Path("nmi.pending") int NMI_PENDING = 13;
        @U8 @Path("nmi.masked") int NMI_MASKED = 14;
        @U32 int SIPI_VECTOR = 16;
        @U32 @Flags("KVM_VCPUEVENT_") int FLAGS = 20;
        @U8 @Path("smi.smm") int SMI_SMM = 24;
        @U8 @Path("smi.pending") int SMI_PENDING = 25;
        @U8 @Path("smi.smm_inside_nmi") int SMI_SMM_INSIDE_NMI = 26;
        @U8 @Path("smi.latched_init") int SMI_LATCHED_INIT = 27;
        @U8 @Path("triple_fault.pending") int TRIPLE_FAULT_PENDING = 28;
        @U8 int EXCEPTION_HAS_PAYLOAD = 55;
        @U64 int EXCEPTION_PAYLOAD = 56;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmDebugregs {
        int SIZE = 128;
        @Bytes(32) int DB = 0;
        @U64 int DR6 = 32;
        @U64 int DR7 = 40;
        @U64 @Flags int FLAGS = 48;
    }

    /** arch/x86/include/uapi/asm/kvm.h. KVM neither reads nor writes {@code mxcsr}. */
    public interface KvmFpu {
        int SIZE = 416;
        @Bytes(128) int FPR = 0;
        @U16 int FCW = 128;
        @U16 int FSW = 130;
        @U8 int FTWX = 132;
        @U16 int LAST_OPCODE = 134;
        @U64 int LAST_IP = 136;
        @U64 int LAST_DP = 144;
        @Bytes(256) int XMM = 152;
        @U32 int MXCSR = 408;
    }

    /** arch/x86/include/uapi/asm/kvm.h; each array element is a {@link KvmXcr}. */
    public interface KvmXcrs {
        int SIZE = 392;
        @U32 int NR_XCRS = 0;
        @U32 @Flags int FLAGS = 4;
        @Bytes(256) int XCRS = 8;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmXcr {
        int SIZE = 16;
        @U32 int XCR = 0;
        @U64 int VALUE = 8;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmMsrEntry {
        int SIZE = 16;
        @U32 int INDEX = 0;
        @U64 int DATA = 8;
    }

    // Other requests of VMMs, known by name

    @Ioctl(on = KVM, argument = KvmMsrList.class)
    public static final long KVM_GET_MSR_INDEX_LIST = IOWR | KvmMsrList.SIZE << 16 | 0x02;
    @Ioctl(on = KVM, argument = KvmMsrList.class)
    public static final long KVM_GET_MSR_FEATURE_INDEX_LIST = IOWR | KvmMsrList.SIZE << 16 | 0x0a;
    @Ioctl(KVM) public static final long KVM_X86_GET_MCE_CAP_SUPPORTED = IOR | 8 << 16 | 0x9d;
    @Ioctl(on = KVM, argument = KvmCpuid2.class)
    public static final long KVM_GET_EMULATED_CPUID = IOWR | KvmCpuid2.SIZE << 16 | 0x09;
    @Ioctl(on = VM, argument = KvmDirtyLog.class)
    public static final long KVM_GET_DIRTY_LOG = IOW | KvmDirtyLog.SIZE << 16 | 0x42;
    @Ioctl(on = VM, argument = KvmClearDirtyLog.class)
    public static final long KVM_CLEAR_DIRTY_LOG = IOWR | KvmClearDirtyLog.SIZE << 16 | 0xc0;
    @Ioctl(VM) public static final long KVM_RESET_DIRTY_RINGS = IO | 0xc7;
    @Ioctl(on = VM, argument = KvmCoalescedMmioZone.class)
    public static final long KVM_REGISTER_COALESCED_MMIO = IOW | KvmCoalescedMmioZone.SIZE << 16 | 0x67;
    @Ioctl(on = VM, argument = KvmCoalescedMmioZone.class)
    public static final long KVM_UNREGISTER_COALESCED_MMIO = IOW | KvmCoalescedMmioZone.SIZE << 16 | 0x68;
    @Ioctl(on = VM, argument = KvmMsrFilter.class)
    public static final long KVM_X86_SET_MSR_FILTER = IOW | KvmMsrFilter.SIZE << 16 | 0xc6;
    @Ioctl(on = {VCPU, KVM}, argument = KvmMsrs.class)
    public static final long KVM_GET_MSRS = IOWR | KvmMsrs.SIZE << 16 | 0x88;
    @Ioctl(on = VCPU, argument = KvmMsrs.class) public static final long KVM_SET_MSRS = IOW | KvmMsrs.SIZE << 16 | 0x89;
    @Ioctl(on = VCPU, argument = KvmTprAccessCtl.class)
    public static final long KVM_TPR_ACCESS_REPORTING = IOWR | KvmTprAccessCtl.SIZE << 16 | 0x92;
    @Ioctl(VCPU) public static final long KVM_SET_VAPIC_ADDR = IOW | 8 << 16 | 0x93;
    @Ioctl(VCPU) public static final long KVM_X86_SETUP_MCE = IOW | 8 << 16 | 0x9c;
    @Ioctl(on = VCPU, argument = KvmVcpuEvents.class)
    public static final long KVM_SET_VCPU_EVENTS = IOW | KvmVcpuEvents.SIZE << 16 | 0xa0;
    @Ioctl(on = VCPU, argument = KvmDebugregs.class)
    public static final long KVM_GET_DEBUGREGS = IOR | KvmDebugregs.SIZE << 16 | 0xa1;
    @Ioctl(on = VCPU, argument = KvmDebugregs.class)
    public static final long KVM_SET_DEBUGREGS = IOW | KvmDebugregs.SIZE << 16 | 0xa2;
    @Ioctl({VCPU, VM}) public static final long KVM_SET_TSC_KHZ = IO | 0xa2;
    @Ioctl({VCPU, VM}) public static final long KVM_GET_TSC_KHZ = IO | 0xa3;
    @Ioctl(VCPU) public static final long KVM_SET_XSAVE = IOW | 4096 << 16 | 0xa5;
    @Ioctl(on = VCPU, argument = KvmXcrs.class)
    public static final long KVM_GET_XCRS = IOR | KvmXcrs.SIZE << 16 | 0xa6;
    @Ioctl(on = VCPU, argument = KvmXcrs.class)
    public static final long KVM_SET_XCRS = IOW | KvmXcrs.SIZE << 16 | 0xa7;
    /** The argument points to 32 bytes, although the request's number encodes the size 0. */
    @Ioctl(on = VM, argument = KvmReinjectControl.class) public static final long KVM_REINJECT_CONTROL = IO | 0x71;
    @Ioctl(VCPU) public static final long KVM_KVMCLOCK_CTRL = IO | 0xad;
    @Ioctl(on = VCPU, argument = KvmSregs2.class)
    public static final long KVM_GET_SREGS2 = IOR | KvmSregs2.SIZE << 16 | 0xcc;
    @Ioctl(on = VCPU, argument = KvmSregs2.class)
    public static final long KVM_SET_SREGS2 = IOW | KvmSregs2.SIZE << 16 | 0xcd;
    @Ioctl(VCPU) public static final long KVM_GET_XSAVE2 = IOR | 4096 << 16 | 0xcf;

    // Requests that kvmirq neither makes nor describes, but that an x86 kernel from 6.1 to 7.1 may accept

    @Ioctl(on = {KVM, VCPU}, argument = KvmCpuid2.class)
    public static final long KVM_GET_SUPPORTED_HV_CPUID = IOWR | KvmCpuid2.SIZE << 16 | 0xc1;
    @Ioctl(VM) public static final long KVM_SET_NR_MMU_PAGES = IO | 0x44;
    /** Linux 6.18 lacks this request. */
    @Ioctl(VM) public static final long KVM_GET_NR_MMU_PAGES = IO | 0x45;
    /** Since Linux 6.8. */
    @Ioctl(VM) public static final long KVM_SET_MEMORY_ATTRIBUTES = IOW | 32 << 16 | 0xd2;
    @Ioctl({VM, VCPU}) public static final long KVM_MEMORY_ENCRYPT_OP = IOWR | 8 << 16 | 0xba;
    @Ioctl(on = VM, argument = KvmEncRegion.class)
    public static final long KVM_MEMORY_ENCRYPT_REG_REGION = IOR | KvmEncRegion.SIZE << 16 | 0xbb;
    @Ioctl(on = VM, argument = KvmEncRegion.class)
    public static final long KVM_MEMORY_ENCRYPT_UNREG_REGION = IOR | KvmEncRegion.SIZE << 16 | 0xbc;
    @Ioctl(VM) public static final long KVM_CREATE_PIT = IO | 0x64;
    @Ioctl(VM) public static final long KVM_GET_PIT = IOWR | 72 << 16 | 0x65;
    @Ioctl(VM) public static final long KVM_SET_PIT = IOR | 72 << 16 | 0x66;
    @Ioctl(on = VM, argument = KvmXenHvmConfig.class)
    public static final long KVM_XEN_HVM_CONFIG = IOW | KvmXenHvmConfig.SIZE << 16 | 0x7a;
    @Ioctl(VM) public static final long KVM_XEN_HVM_GET_ATTR = IOWR | 72 << 16 | 0xc8;
    @Ioctl(VM) public static final long KVM_XEN_HVM_SET_ATTR = IOW | 72 << 16 | 0xc9;
    @Ioctl(VM) public static final long KVM_XEN_HVM_EVTCHN_SEND = IOW | 12 << 16 | 0xd0;
    @Ioctl(on = VM, argument = KvmHypervEventfd.class)
    public static final long KVM_HYPERV_EVENTFD = IOW | KvmHypervEventfd.SIZE << 16 | 0xbd;
    @Ioctl(on = VM, argument = KvmPmuEventFilter.class)
    public static final long KVM_SET_PMU_EVENT_FILTER = IOW | KvmPmuEventFilter.SIZE << 16 | 0xb2;
    @Ioctl(VCPU) public static final long KVM_TRANSLATE = IOWR | 24 << 16 | 0x85;
    @Ioctl(on = VCPU, argument = KvmCpuid.class)
    public static final long KVM_SET_CPUID = IOW | KvmCpuid.SIZE << 16 | 0x8a;
    @Ioctl(on = VCPU, argument = KvmCpuid2.class)
    public static final long KVM_GET_CPUID2 = IOWR | KvmCpuid2.SIZE << 16 | 0x91;
    @Ioctl(on = VCPU, argument = KvmFpu.class)
    public static final long KVM_GET_FPU = IOR | KvmFpu.SIZE << 16 | 0x8c;
    @Ioctl(on = VCPU, argument = KvmFpu.class)
    public static final long KVM_SET_FPU = IOW | KvmFpu.SIZE << 16 | 0x8d;
    @Ioctl(on = VCPU, argument = KvmX86Mce.class)
    public static final long KVM_X86_SET_MCE = IOW | KvmX86Mce.SIZE << 16 | 0x9e;
    @Ioctl(VCPU) public static final long KVM_GET_XSAVE = IOR | 4096 << 16 | 0xa4;
    /** Since Linux 6.18. */
    @Ioctl(on = VCPU, argument = KvmOneReg.class)
    public static final long KVM_GET_ONE_REG = IOW | KvmOneReg.SIZE << 16 | 0xab;
    /** Since Linux 6.18. */
    @Ioctl(on = VCPU, argument = KvmOneReg.class)
    public static final long KVM_SET_ONE_REG = IOW | KvmOneReg.SIZE << 16 | 0xac;
    /** Since Linux 6.18. */
    @Ioctl(on = VCPU, argument = KvmRegList.class)
    public static final long KVM_GET_REG_LIST = IOWR | KvmRegList.SIZE << 16 | 0xb0;
    @Ioctl(VCPU) public static final long KVM_SMI = IO | 0xb7;
    @Ioctl(VCPU) public static final long KVM_GET_NESTED_STATE = IOWR | 128 << 16 | 0xbe;
    @Ioctl(VCPU) public static final long KVM_SET_NESTED_STATE = IOW | 128 << 16 | 0xbf;
    @Ioctl(VCPU) public static final long KVM_XEN_VCPU_GET_ATTR = IOWR | 72 << 16 | 0xca;
    @Ioctl(VCPU) public static final long KVM_XEN_VCPU_SET_ATTR = IOW | 72 << 16 | 0xcb;
    /** Since Linux 6.11. */
    @Ioctl(VCPU) public static final long KVM_PRE_FAULT_MEMORY = IOWR | 64 << 16 | 0xd5;

    public static final int KVM_HYPERV_EVENTFD_DEASSIGN = 1;

    public interface KvmCoalescedMmioZone {
        int SIZE = 16;
        @U64 int ADDR = 0;
        @U32 @Path("size") int LENGTH = 8;
        @U32 int PIO = 12;
    }

    /** The page index of a vCPU's {@link KvmCoalescedMmioRing} in its mapping; arch/x86/include/uapi/asm/kvm.h. */
    public static final int KVM_COALESCED_MMIO_PAGE_OFFSET = 2;

    /** {@link KvmCoalescedMmio}s follow this header, up to the end of the page. */
    public interface KvmCoalescedMmioRing {
        int SIZE = 8;
        @U32 int FIRST = 0;
        @U32 int LAST = 4;
    }

    public interface KvmCoalescedMmio {
        int SIZE = 24;
        @U64 int PHYS_ADDR = 0;
        @U32 int LEN = 8;
        @U32 int PIO = 12;
        @Bytes(8) int DATA = 16;
    }

    /** arch/x86/include/uapi/asm/kvm.h; the state of a nested guest follows. */
    public interface KvmNestedState {
        int SIZE = 128;
        @U16 int FLAGS = 0;
        @U16 int FORMAT = 2;
        @U32 @Path("size") int LENGTH = 4;
        @Bytes(120) int HDR = 8;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmTprAccessCtl {
        int SIZE = 40;
        @U32 int ENABLED = 0;
        @U32 @Flags int FLAGS = 4;
    }

    /** arch/x86/include/uapi/asm/kvm.h: has the fields of {@link KvmSregs} up to the LAPIC's base. */
    public interface KvmSregs2 {
        int SIZE = 320;
        @U64 int APIC_BASE = 272;
        @U64 @Flags("KVM_SREGS2_FLAGS_") int FLAGS = 280;
    }

    public static final int KVM_SREGS2_FLAGS_PDPTRS_VALID = 1;

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmX86Mce {
        int SIZE = 64;
        @U64 int STATUS = 0;
        @U64 int ADDR = 8;
        @U64 int MISC = 16;
        @U64 int MCG_STATUS = 24;
        @U8 int BANK = 32;
    }

    public interface KvmDirtyLog {
        int SIZE = 16;
        @U32 int SLOT = 0;
        @U64 @Address int DIRTY_BITMAP = 8;
    }

    public interface KvmClearDirtyLog {
        int SIZE = 24;
        @U32 int SLOT = 0;
        @U32 int NUM_PAGES = 4;
        @U64 int FIRST_PAGE = 8;
        @U64 @Address int DIRTY_BITMAP = 16;
    }

    public interface KvmCreateGuestMemfd {
        int SIZE = 64;
        @U64 @Path("size") int SIZE_OF_FILE = 0;
        @U64 @Flags int FLAGS = 8;
    }

    public interface KvmOneReg {
        int SIZE = 16;
        @U64 int ID = 0;
        @U64 @Address int ADDR = 8;
    }

    public interface KvmRegList {
        int SIZE = 8;
        @U64 @Count int N = 0;
    }

    public interface KvmEncRegion {
        int SIZE = 16;
        @U64 @Address int ADDR = 0;
        @U64 @Path("size") int LENGTH = 8;
    }

    public interface KvmSignalMask {
        int SIZE = 4;
        @U32 @Count int LEN = 0;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmXenHvmConfig {
        int SIZE = 56;
        @U32 @Flags int FLAGS = 0;
        @U32 int MSR = 4;
        @U64 @Address int BLOB_ADDR_32 = 8;
        @U64 @Address int BLOB_ADDR_64 = 16;
        @U8 int BLOB_SIZE_32 = 24;
        @U8 int BLOB_SIZE_64 = 25;
    }

    public interface KvmHypervEventfd {
        int SIZE = 24;
        @U32 int CONN_ID = 0;
        @U32 @Fd int FD = 4;
        @U32 @Flags("KVM_HYPERV_EVENTFD_") int FLAGS = 8;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmReinjectControl {
        int SIZE = 32;
        @U8 int PIT_REINJECT = 0;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmMsrList {
        int SIZE = 4;
        @U32 @Count int NMSRS = 0;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmMsrs {
        int SIZE = 8;
        @U32 @Count int NMSRS = 0;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmCpuid {
        int SIZE = 8;
        @U32 @Count int NENT = 0;
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public interface KvmPmuEventFilter {
        int SIZE = 32;
        @U32 int ACTION = 0;
        @U32 @Count int NEVENTS = 4;
        @U32 @Flags int FLAGS = 12;
    }

    public static final int KVM_MSR_FILTER_DEFAULT_ALLOW = 0;
    public static final int KVM_MSR_FILTER_DEFAULT_DENY = 1;
    public static final int KVM_MSR_FILTER_READ = 1;
    public static final int KVM_MSR_FILTER_WRITE = 2;

    /** arch/x86/include/uapi/asm/kvm.h: the flags KVM_MSR_FILTER_DEFAULT_*, then 16 ranges. */
    public interface KvmMsrFilter {
        int SIZE = 392;
        @U32 @Flags int FLAGS = 0;
        @U32 @Path("ranges[0].flags") int RANGES = 8;
        @U64 @Path("ranges[0].bitmap") @Address int RANGES_BITMAP = 24;
    }

    /** arch/x86/include/uapi/asm/kvm.h: NMSRS MSRs from BASE on; a 0 in BITMAP denies the accesses in FLAGS. */
    public interface KvmMsrFilterRange {
        int SIZE = 24;
        @U32 @Flags int FLAGS = 0;
        @U32 @Count int NMSRS = 4;
        @U32 int BASE = 8;
        @U64 @Address int BITMAP = 16;
    }
    // spotless:on
}
