/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

/**
 * The kernel's ABI in numbers: constants under the kernel's names, and one class for each structure, whose constants are
 * the offsets of its fields in bytes ({@code SIZE}: all of it). {@link UapiTable} lists the same by name, and a test holds
 * both against the C compiler and against vectors made from the kernel's own headers.
 *
 * <p>The ioctl encoding is that of asm-generic/ioctl.h (x86, arm64, riscv); alpha, mips, powerpc and sparc differ and are
 * refused by {@link LibcBackend}.
 */
public final class Uapi {
    private Uapi() {}

    // include/uapi/asm-generic/ioctl.h

    private static final int KVMIO = 0xae;
    private static final int VFIO_BASE = ';' << 8 | 100;
    private static final int IOMMUFD_BASE = ';' << 8 | 0x80;
    private static final long WRITE = 1L << 30;
    private static final long READ = 2L << 30;

    static long io(int number) {
        return (long) KVMIO << 8 | number;
    }

    static long iow(int number, int size) {
        return WRITE | (long) size << 16 | io(number);
    }

    static long ior(int number, int size) {
        return READ | (long) size << 16 | io(number);
    }

    static long iowr(int number, int size) {
        return READ | WRITE | (long) size << 16 | io(number);
    }

    // include/uapi/asm-generic/fcntl.h, mman-common.h, poll.h; linux/eventfd.h, fs.h

    public static final int O_RDWR = 2;
    public static final int O_NONBLOCK = 04000;
    public static final int O_CLOEXEC = 02000000;
    public static final int FD_CLOEXEC = 1;
    public static final int F_GETFD = 1;
    public static final int F_GETFL = 3;
    public static final int F_DUPFD_CLOEXEC = 1030;
    public static final int PROT_READ = 1;
    public static final int PROT_WRITE = 2;
    public static final int MAP_SHARED = 1;
    public static final int MAP_PRIVATE = 2;
    public static final int MAP_ANONYMOUS = 0x20;
    public static final int EFD_SEMAPHORE = 1;
    public static final int EPOLL_CLOEXEC = O_CLOEXEC;
    public static final int RWF_NOWAIT = 8;
    public static final int POLLIN = 1;
    public static final int POLLERR = 8;
    public static final int POLLNVAL = 0x20;

    /** include/uapi/asm-generic/poll.h. */
    public static final class Pollfd {
        public static final int SIZE = 8;
        public static final int FD = 0;
        public static final int EVENTS = 4;
        public static final int REVENTS = 6;

        private Pollfd() {}
    }

    /** include/uapi/linux/time.h, 64-bit. */
    public static final class Timespec {
        public static final int SIZE = 16;
        public static final int TV_SEC = 0;
        public static final int TV_NSEC = 8;

        private Timespec() {}
    }

    /** include/uapi/linux/uio.h, 64-bit. */
    public static final class Iovec {
        public static final int SIZE = 16;
        public static final int IOV_BASE = 0;
        public static final int IOV_LEN = 8;

        private Iovec() {}
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
    public static final int KVM_CAP_MAX_VCPUS = 66;
    public static final int KVM_CAP_SIGNAL_MSI = 77;
    public static final int KVM_CAP_IRQFD_RESAMPLE = 82;
    public static final int KVM_CAP_DEVICE_CTRL = 89;
    public static final int KVM_CAP_ENABLE_CAP_VM = 98;
    public static final int KVM_CAP_IOEVENTFD_NO_LENGTH = 100;
    public static final int KVM_CAP_VM_ATTRIBUTES = 101;
    public static final int KVM_CAP_CHECK_EXTENSION_VM = 105;
    public static final int KVM_CAP_SPLIT_IRQCHIP = 121;
    public static final int KVM_CAP_IOEVENTFD_ANY_LENGTH = 122;
    public static final int KVM_CAP_HYPERV_SYNIC = 123;
    public static final int KVM_CAP_MAX_VCPU_ID = 128;
    public static final int KVM_CAP_X2APIC_API = 129;
    public static final int KVM_CAP_MSI_DEVID = 131;
    public static final int KVM_CAP_IMMEDIATE_EXIT = 136;
    public static final int KVM_CAP_BINARY_STATS_FD = 203;
    public static final int KVM_CAP_USER_MEMORY2 = 231;
    public static final int KVM_CAP_GUEST_MEMFD = 234;
    public static final int KVM_CAP_VM_TYPES = 235;

    public static final int KVM_X2APIC_API_USE_32BIT_IDS = 1;
    public static final int KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK = 2;
    public static final int KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST = 4;
    public static final int KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST = 8;

    public static final int KVM_MEM_LOG_DIRTY_PAGES = 1;
    public static final int KVM_MEM_READONLY = 2;
    public static final int KVM_MEM_GUEST_MEMFD = 4;

    public static final long KVM_GET_API_VERSION = io(0x00);
    public static final long KVM_CREATE_VM = io(0x01);
    public static final long KVM_CHECK_EXTENSION = io(0x03);
    public static final long KVM_GET_VCPU_MMAP_SIZE = io(0x04);
    public static final long KVM_GET_SUPPORTED_CPUID = iowr(0x05, 8);
    public static final long KVM_CREATE_VCPU = io(0x41);
    public static final long KVM_SET_TSS_ADDR = io(0x47);
    public static final long KVM_SET_IDENTITY_MAP_ADDR = iow(0x48, 8);
    public static final long KVM_SET_BOOT_CPU_ID = io(0x78);
    public static final long KVM_SET_USER_MEMORY_REGION = iow(0x46, KvmUserspaceMemoryRegion.SIZE);
    public static final long KVM_SET_USER_MEMORY_REGION2 = iow(0x49, KvmUserspaceMemoryRegion2.SIZE);
    public static final long KVM_CREATE_GUEST_MEMFD = iowr(0xd4, 64);
    public static final long KVM_ENABLE_CAP = iow(0xa3, KvmEnableCap.SIZE);
    public static final long KVM_GET_STATS_FD = io(0xce);

    /** include/uapi/linux/kvm.h. */
    public static final class KvmUserspaceMemoryRegion {
        public static final int SIZE = 32;
        public static final int SLOT = 0;
        public static final int FLAGS = 4;
        public static final int GUEST_PHYS_ADDR = 8;
        public static final int MEMORY_SIZE = 16;
        public static final int USERSPACE_ADDR = 24;

        private KvmUserspaceMemoryRegion() {}
    }

    /** include/uapi/linux/kvm.h; begins as {@link KvmUserspaceMemoryRegion} does. */
    public static final class KvmUserspaceMemoryRegion2 {
        public static final int SIZE = 160;
        public static final int GUEST_MEMFD_OFFSET = 32;
        public static final int GUEST_MEMFD = 40;

        private KvmUserspaceMemoryRegion2() {}
    }

    /** include/uapi/linux/kvm.h: how the file of KVM_GET_STATS_FD begins. */
    public static final class KvmStatsHeader {
        public static final int SIZE = 24;
        public static final int FLAGS = 0;
        public static final int NAME_SIZE = 4;
        public static final int NUM_DESC = 8;
        public static final int ID_OFFSET = 12;
        public static final int DESC_OFFSET = 16;
        public static final int DATA_OFFSET = 20;

        private KvmStatsHeader() {}
    }

    /** include/uapi/linux/kvm.h. */
    public static final class KvmEnableCap {
        public static final int SIZE = 104;
        public static final int CAP = 0;
        public static final int FLAGS = 4;
        public static final int ARGS = 8;

        private KvmEnableCap() {}
    }

    // Interrupt controllers

    public static final long KVM_CREATE_IRQCHIP = io(0x60);
    public static final long KVM_GET_IRQCHIP = iowr(0x62, KvmIrqchip.SIZE);
    /** Encoded as a read, historically. */
    public static final long KVM_SET_IRQCHIP = ior(0x63, KvmIrqchip.SIZE);

    public static final long KVM_CREATE_PIT2 = iow(0x77, KvmPitConfig.SIZE);

    /** include/uapi/linux/kvm.h; the rest is reserved. */
    public static final class KvmPitConfig {
        public static final int SIZE = 64;
        public static final int FLAGS = 0;

        private KvmPitConfig() {}
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public static final class KvmIrqchip {
        public static final int SIZE = 520;
        public static final int CHIP_ID = 0;
        public static final int CHIP = 8;

        private KvmIrqchip() {}
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public static final class KvmIoapicState {
        public static final int SIZE = 216;
        public static final int IRR = 16;
        public static final int REDIRTBL = 24;

        private KvmIoapicState() {}
    }

    // Routes

    public static final int KVM_IRQ_ROUTING_IRQCHIP = 1;
    public static final int KVM_IRQ_ROUTING_MSI = 2;
    public static final int KVM_IRQ_ROUTING_S390_ADAPTER = 3;
    public static final int KVM_IRQ_ROUTING_HV_SINT = 4;
    public static final int KVM_IRQ_ROUTING_XEN_EVTCHN = 5;
    public static final int KVM_MSI_VALID_DEVID = 1;
    public static final long KVM_SET_GSI_ROUTING = iow(0x6a, KvmIrqRouting.SIZE);

    /** include/uapi/linux/kvm.h: the header; entries follow. */
    public static final class KvmIrqRouting {
        public static final int SIZE = 8;
        public static final int NR = 0;
        public static final int FLAGS = 4;

        private KvmIrqRouting() {}
    }

    /** include/uapi/linux/kvm.h. */
    public static final class KvmIrqRoutingEntry {
        public static final int SIZE = 48;
        public static final int GSI = 0;
        public static final int TYPE = 4;
        public static final int FLAGS = 8;
        public static final int U_IRQCHIP_IRQCHIP = 16;
        public static final int U_IRQCHIP_PIN = 20;
        public static final int U_MSI_ADDRESS_LO = 16;
        public static final int U_MSI_ADDRESS_HI = 20;
        public static final int U_MSI_DATA = 24;
        public static final int U_MSI_DEVID = 28;

        private KvmIrqRoutingEntry() {}
    }

    // irqfd and ioeventfd

    public static final int KVM_IRQFD_FLAG_DEASSIGN = 1;
    public static final int KVM_IRQFD_FLAG_RESAMPLE = 2;
    public static final long KVM_IRQFD = iow(0x76, KvmIrqfd.SIZE);

    /** include/uapi/linux/kvm.h. */
    public static final class KvmIrqfd {
        public static final int SIZE = 32;
        public static final int FD = 0;
        public static final int GSI = 4;
        public static final int FLAGS = 8;
        public static final int RESAMPLEFD = 12;

        private KvmIrqfd() {}
    }

    public static final int KVM_IOEVENTFD_FLAG_DATAMATCH = 1;
    public static final int KVM_IOEVENTFD_FLAG_PIO = 2;
    public static final int KVM_IOEVENTFD_FLAG_DEASSIGN = 4;
    public static final int KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY = 8;
    public static final long KVM_IOEVENTFD = iow(0x79, KvmIoeventfd.SIZE);

    /** include/uapi/linux/kvm.h. */
    public static final class KvmIoeventfd {
        public static final int SIZE = 64;
        public static final int DATAMATCH = 0;
        public static final int ADDR = 8;
        public static final int LEN = 16;
        public static final int FD = 20;
        public static final int FLAGS = 24;

        private KvmIoeventfd() {}
    }

    // Injection

    public static final long KVM_IRQ_LINE = iow(0x61, KvmIrqLevel.SIZE);
    public static final long KVM_IRQ_LINE_STATUS = iowr(0x67, KvmIrqLevel.SIZE);
    public static final long KVM_SIGNAL_MSI = iow(0xa5, KvmMsi.SIZE);

    /** include/uapi/linux/kvm.h; the status comes back in {@code irq}'s place. */
    public static final class KvmIrqLevel {
        public static final int SIZE = 8;
        public static final int IRQ = 0;
        public static final int LEVEL = 4;

        private KvmIrqLevel() {}
    }

    /** include/uapi/linux/kvm.h. */
    public static final class KvmMsi {
        public static final int SIZE = 32;
        public static final int ADDRESS_LO = 0;
        public static final int ADDRESS_HI = 4;
        public static final int DATA = 8;
        public static final int FLAGS = 12;
        public static final int DEVID = 16;

        private KvmMsi() {}
    }

    // Devices

    public static final int KVM_CREATE_DEVICE_TEST = 1;
    public static final int KVM_DEV_TYPE_VFIO = 4;
    public static final int KVM_DEV_VFIO_FILE = 1;
    public static final int KVM_DEV_VFIO_FILE_ADD = 1;
    public static final int KVM_DEV_VFIO_FILE_DEL = 2;
    public static final int KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE = 3;
    public static final long KVM_CREATE_DEVICE = iowr(0xe0, KvmCreateDevice.SIZE);
    public static final long KVM_SET_DEVICE_ATTR = iow(0xe1, KvmDeviceAttr.SIZE);
    public static final long KVM_GET_DEVICE_ATTR = iow(0xe2, KvmDeviceAttr.SIZE);
    public static final long KVM_HAS_DEVICE_ATTR = iow(0xe3, KvmDeviceAttr.SIZE);

    /** include/uapi/linux/kvm.h. */
    public static final class KvmCreateDevice {
        public static final int SIZE = 12;
        public static final int TYPE = 0;
        public static final int FD = 4;
        public static final int FLAGS = 8;

        private KvmCreateDevice() {}
    }

    /** include/uapi/linux/kvm.h. */
    public static final class KvmDeviceAttr {
        public static final int SIZE = 24;
        public static final int FLAGS = 0;
        public static final int GROUP = 4;
        public static final int ATTR = 8;
        public static final int ADDR = 16;

        private KvmDeviceAttr() {}
    }

    // vCPU

    public static final long KVM_RUN = io(0x80);
    public static final long KVM_GET_REGS = ior(0x81, KvmRegs.SIZE);
    public static final long KVM_SET_REGS = iow(0x82, KvmRegs.SIZE);
    public static final long KVM_GET_SREGS = ior(0x83, KvmSregs.SIZE);
    public static final long KVM_SET_SREGS = iow(0x84, KvmSregs.SIZE);
    public static final long KVM_INTERRUPT = iow(0x86, KvmInterrupt.SIZE);
    public static final long KVM_SET_SIGNAL_MASK = iow(0x8b, 4);
    public static final long KVM_GET_LAPIC = ior(0x8e, KvmLapicState.SIZE);
    public static final long KVM_SET_LAPIC = iow(0x8f, KvmLapicState.SIZE);
    public static final long KVM_SET_CPUID2 = iow(0x90, 8);
    public static final long KVM_GET_MP_STATE = ior(0x98, KvmMpState.SIZE);
    public static final long KVM_SET_MP_STATE = iow(0x99, KvmMpState.SIZE);
    public static final long KVM_NMI = io(0x9a);
    public static final long KVM_SET_GUEST_DEBUG = iow(0x9b, 72);
    public static final long KVM_GET_VCPU_EVENTS = ior(0x9f, 64);

    public static final int KVM_MP_STATE_RUNNABLE = 0;
    public static final int KVM_MP_STATE_UNINITIALIZED = 1;
    public static final int KVM_MP_STATE_INIT_RECEIVED = 2;
    public static final int KVM_MP_STATE_HALTED = 3;
    public static final int KVM_MP_STATE_SIPI_RECEIVED = 4;
    public static final int KVM_MP_STATE_STOPPED = 5;
    public static final int KVM_MP_STATE_AP_RESET_HOLD = 9;

    public static final int KVM_EXIT_UNKNOWN = 0;
    public static final int KVM_EXIT_IO = 2;
    public static final int KVM_EXIT_HLT = 5;
    public static final int KVM_EXIT_MMIO = 6;
    public static final int KVM_EXIT_SHUTDOWN = 8;
    public static final int KVM_EXIT_FAIL_ENTRY = 9;
    public static final int KVM_EXIT_INTR = 10;
    public static final int KVM_EXIT_INTERNAL_ERROR = 17;
    public static final int KVM_EXIT_IOAPIC_EOI = 26;
    public static final int KVM_EXIT_IO_OUT = 1;

    /** include/uapi/linux/kvm.h; shared with the kernel while KVM_RUN lasts. */
    public static final class KvmRun {
        public static final int SIZE = 2352;
        public static final int IMMEDIATE_EXIT = 1;
        public static final int EXIT_REASON = 8;
        public static final int IO_DIRECTION = 32;
        public static final int IO_PORT = 34;
        public static final int EOI_VECTOR = 32;
        public static final int IO_DATA_OFFSET = 40;
        public static final int MMIO_PHYS_ADDR = 32;
        public static final int MMIO_DATA = 40;
        public static final int MMIO_LEN = 48;
        public static final int MMIO_IS_WRITE = 52;

        private KvmRun() {}
    }

    /** include/uapi/linux/kvm.h. */
    public static final class KvmInterrupt {
        public static final int SIZE = 4;
        public static final int IRQ = 0;

        private KvmInterrupt() {}
    }

    /** include/uapi/linux/kvm.h. */
    public static final class KvmMpState {
        public static final int SIZE = 4;
        public static final int MP_STATE = 0;

        private KvmMpState() {}
    }

    /** include/uapi/linux/kvm.h: {@code nent} and padding; entries follow. */
    public static final class KvmCpuid2 {
        public static final int SIZE = 8;
        public static final int NENT = 0;
        public static final int ENTRY_SIZE = 40;
        public static final int ENTRY_ECX = 20;

        private KvmCpuid2() {}
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public static final class KvmRegs {
        public static final int SIZE = 144;
        public static final int RSP = 48;
        public static final int RIP = 128;
        public static final int RFLAGS = 136;

        private KvmRegs() {}
    }

    /** arch/x86/include/uapi/asm/kvm.h. */
    public static final class KvmSregs {
        public static final int SIZE = 312;
        public static final int CS_BASE = 0;
        public static final int CS_SELECTOR = 12;
        public static final int CR8 = 256;

        private KvmSregs() {}
    }

    /** arch/x86/include/uapi/asm/kvm.h: registers at their xAPIC offsets (Intel SDM vol. 3, table 11-1). */
    public static final class KvmLapicState {
        public static final int SIZE = 1024;
        public static final int SVR = 0xf0;
        public static final int SVR_ENABLE = 0x100;
        public static final int IRR = 0x200;

        private KvmLapicState() {}
    }

    // What else a VMM asks, known by name so that tapes of it can be read

    public static final long KVM_GET_MSR_INDEX_LIST = iowr(0x02, 4);
    public static final long KVM_GET_MSR_FEATURE_INDEX_LIST = iowr(0x0a, 4);
    public static final long KVM_X86_GET_MCE_CAP_SUPPORTED = ior(0x9d, 8);
    public static final long KVM_GET_EMULATED_CPUID = iowr(0x09, 8);
    public static final long KVM_GET_DIRTY_LOG = iow(0x42, 16);
    public static final long KVM_CLEAR_DIRTY_LOG = iowr(0xc0, 24);
    public static final long KVM_RESET_DIRTY_RINGS = io(0xc7);
    public static final long KVM_REGISTER_COALESCED_MMIO = iow(0x67, 16);
    public static final long KVM_UNREGISTER_COALESCED_MMIO = iow(0x68, 16);
    public static final long KVM_SET_CLOCK = iow(0x7b, 48);
    public static final long KVM_GET_CLOCK = ior(0x7c, 48);
    public static final long KVM_GET_PIT2 = ior(0x9f, 112);
    public static final long KVM_SET_PIT2 = iow(0xa0, 112);
    public static final long KVM_X86_SET_MSR_FILTER = iow(0xc6, 392);
    public static final long KVM_GET_MSRS = iowr(0x88, 8);
    public static final long KVM_SET_MSRS = iow(0x89, 8);
    public static final long KVM_TPR_ACCESS_REPORTING = iowr(0x92, 40);
    public static final long KVM_SET_VAPIC_ADDR = iow(0x93, 8);
    public static final long KVM_X86_SETUP_MCE = iow(0x9c, 8);
    public static final long KVM_SET_VCPU_EVENTS = iow(0xa0, 64);
    public static final long KVM_GET_DEBUGREGS = ior(0xa1, 128);
    public static final long KVM_SET_DEBUGREGS = iow(0xa2, 128);
    public static final long KVM_SET_TSC_KHZ = io(0xa2);
    public static final long KVM_GET_TSC_KHZ = io(0xa3);
    public static final long KVM_SET_XSAVE = iow(0xa5, 4096);
    public static final long KVM_GET_XCRS = ior(0xa6, 392);
    public static final long KVM_SET_XCRS = iow(0xa7, 392);
    public static final long KVM_KVMCLOCK_CTRL = io(0xad);
    public static final long KVM_GET_SREGS2 = ior(0xcc, 320);
    public static final long KVM_SET_SREGS2 = iow(0xcd, 320);
    public static final long KVM_GET_XSAVE2 = ior(0xcf, 4096);

    // include/uapi/linux/vfio.h and iommufd.h: no size in the number, the length is in the structure

    public static final long VFIO_GET_API_VERSION = VFIO_BASE;
    public static final long VFIO_CHECK_EXTENSION = VFIO_BASE + 1;
    public static final long VFIO_SET_IOMMU = VFIO_BASE + 2;
    public static final long VFIO_GROUP_GET_STATUS = VFIO_BASE + 3;
    public static final long VFIO_GROUP_SET_CONTAINER = VFIO_BASE + 4;
    public static final long VFIO_GROUP_UNSET_CONTAINER = VFIO_BASE + 5;
    public static final long VFIO_GROUP_GET_DEVICE_FD = VFIO_BASE + 6;
    public static final long VFIO_DEVICE_GET_INFO = VFIO_BASE + 7;
    public static final long VFIO_DEVICE_GET_REGION_INFO = VFIO_BASE + 8;
    public static final long VFIO_DEVICE_GET_IRQ_INFO = VFIO_BASE + 9;
    public static final long VFIO_DEVICE_SET_IRQS = VFIO_BASE + 10;
    public static final long VFIO_DEVICE_RESET = VFIO_BASE + 11;
    public static final long VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = VFIO_BASE + 12;
    public static final long VFIO_DEVICE_PCI_HOT_RESET = VFIO_BASE + 13;
    public static final long VFIO_DEVICE_IOEVENTFD = VFIO_BASE + 16;
    public static final long VFIO_DEVICE_FEATURE = VFIO_BASE + 17;
    public static final long VFIO_DEVICE_BIND_IOMMUFD = VFIO_BASE + 18;
    public static final long VFIO_DEVICE_ATTACH_IOMMUFD_PT = VFIO_BASE + 19;
    public static final long VFIO_DEVICE_DETACH_IOMMUFD_PT = VFIO_BASE + 20;
    /** On a container; the same numbers mean other things on a device. */
    public static final long VFIO_IOMMU_GET_INFO = VFIO_BASE + 12;

    public static final long VFIO_IOMMU_MAP_DMA = VFIO_BASE + 13;
    public static final long VFIO_IOMMU_UNMAP_DMA = VFIO_BASE + 14;

    public static final long IOMMU_DESTROY = IOMMUFD_BASE;
    public static final long IOMMU_IOAS_ALLOC = IOMMUFD_BASE + 1;
    public static final long IOMMU_IOAS_ALLOW_IOVAS = IOMMUFD_BASE + 2;
    public static final long IOMMU_IOAS_COPY = IOMMUFD_BASE + 3;
    public static final long IOMMU_IOAS_IOVA_RANGES = IOMMUFD_BASE + 4;
    public static final long IOMMU_IOAS_MAP = IOMMUFD_BASE + 5;
    public static final long IOMMU_IOAS_UNMAP = IOMMUFD_BASE + 6;
    public static final long IOMMU_OPTION = IOMMUFD_BASE + 7;
    public static final long IOMMU_VFIO_IOAS = IOMMUFD_BASE + 8;
    public static final long IOMMU_HWPT_ALLOC = IOMMUFD_BASE + 9;
    public static final long IOMMU_GET_HW_INFO = IOMMUFD_BASE + 10;
    public static final long IOMMU_IOAS_MAP_FILE = IOMMUFD_BASE + 15;
    public static final long IOMMU_VIOMMU_ALLOC = IOMMUFD_BASE + 16;
    public static final long IOMMU_VDEVICE_ALLOC = IOMMUFD_BASE + 17;
    public static final long IOMMU_IOAS_CHANGE_PROCESS = IOMMUFD_BASE + 18;
    public static final long IOMMU_VEVENTQ_ALLOC = IOMMUFD_BASE + 19;
}
