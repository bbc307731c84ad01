/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * {@link Uapi} by name: what decodes a request for people, and what is held against the C compiler. Nothing on a call's
 * way loads it.
 */
public final class UapiTable {
    private UapiTable() {}

    /**
     * A field as C names it.
     *
     * @param path within the structure, such as {@code u.msi.data}
     * @param offset in bytes
     * @param size in bytes
     */
    public record Field(String path, int offset, int size) {}

    /**
     * A structure: its C tag, its size in bytes and the fields we know.
     *
     * @param tag without {@code struct}
     */
    public record Struct(String tag, int size, List<Field> fields) {}

    /** What kind of open file a request is for: the same number means different things on different ones. */
    public enum FileKind {
        KVM,
        VM,
        VCPU,
        KVM_DEVICE,
        VFIO_CONTAINER,
        VFIO_GROUP,
        VFIO_DEVICE,
        IOMMUFD
    }

    /**
     * An ioctl.
     *
     * @param argument the structure it points to; absent when the argument is a value, or memory not described here
     */
    public record Request(FileKind kind, String name, long number, Optional<Struct> argument) {}

    private static Struct struct(String tag, int size, Field... fields) {
        return new Struct(tag, size, List.of(fields));
    }

    private static Field u16(String path, int offset) {
        return new Field(path, offset, 2);
    }

    private static Field u32(String path, int offset) {
        return new Field(path, offset, 4);
    }

    private static Field u64(String path, int offset) {
        return new Field(path, offset, 8);
    }

    private static final Struct MEMORY_REGION = struct(
            "kvm_userspace_memory_region",
            Uapi.KvmUserspaceMemoryRegion.SIZE,
            u32("slot", Uapi.KvmUserspaceMemoryRegion.SLOT),
            u32("flags", Uapi.KvmUserspaceMemoryRegion.FLAGS),
            u64("guest_phys_addr", Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR),
            u64("memory_size", Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE),
            u64("userspace_addr", Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR));
    private static final Struct MEMORY_REGION2 = struct(
            "kvm_userspace_memory_region2",
            Uapi.KvmUserspaceMemoryRegion2.SIZE,
            u64("guest_memfd_offset", Uapi.KvmUserspaceMemoryRegion2.GUEST_MEMFD_OFFSET),
            u32("guest_memfd", Uapi.KvmUserspaceMemoryRegion2.GUEST_MEMFD));
    private static final Struct STATS_HEADER = struct(
            "kvm_stats_header",
            Uapi.KvmStatsHeader.SIZE,
            u32("flags", Uapi.KvmStatsHeader.FLAGS),
            u32("name_size", Uapi.KvmStatsHeader.NAME_SIZE),
            u32("num_desc", Uapi.KvmStatsHeader.NUM_DESC),
            u32("id_offset", Uapi.KvmStatsHeader.ID_OFFSET),
            u32("desc_offset", Uapi.KvmStatsHeader.DESC_OFFSET),
            u32("data_offset", Uapi.KvmStatsHeader.DATA_OFFSET));
    private static final Struct PIT_CONFIG =
            struct("kvm_pit_config", Uapi.KvmPitConfig.SIZE, u32("flags", Uapi.KvmPitConfig.FLAGS));
    private static final Struct INTERRUPT =
            struct("kvm_interrupt", Uapi.KvmInterrupt.SIZE, u32("irq", Uapi.KvmInterrupt.IRQ));
    private static final Struct MP_STATE =
            struct("kvm_mp_state", Uapi.KvmMpState.SIZE, u32("mp_state", Uapi.KvmMpState.MP_STATE));
    private static final Struct ENABLE_CAP = struct(
            "kvm_enable_cap",
            Uapi.KvmEnableCap.SIZE,
            u32("cap", Uapi.KvmEnableCap.CAP),
            u32("flags", Uapi.KvmEnableCap.FLAGS),
            new Field("args", Uapi.KvmEnableCap.ARGS, 32));
    private static final Struct IRQCHIP = struct(
            "kvm_irqchip",
            Uapi.KvmIrqchip.SIZE,
            u32("chip_id", Uapi.KvmIrqchip.CHIP_ID),
            new Field("chip", Uapi.KvmIrqchip.CHIP, 512));
    private static final Struct IOAPIC_STATE = struct(
            "kvm_ioapic_state",
            Uapi.KvmIoapicState.SIZE,
            u32("irr", Uapi.KvmIoapicState.IRR),
            new Field("redirtbl", Uapi.KvmIoapicState.REDIRTBL, 192));
    private static final Struct ROUTING = struct(
            "kvm_irq_routing",
            Uapi.KvmIrqRouting.SIZE,
            u32("nr", Uapi.KvmIrqRouting.NR),
            u32("flags", Uapi.KvmIrqRouting.FLAGS));

    /** One entry after a routing table's header; which of the {@code u} fields hold depends on {@code type}. */
    public static final Struct ROUTING_ENTRY = struct(
            "kvm_irq_routing_entry",
            Uapi.KvmIrqRoutingEntry.SIZE,
            u32("gsi", Uapi.KvmIrqRoutingEntry.GSI),
            u32("type", Uapi.KvmIrqRoutingEntry.TYPE),
            u32("flags", Uapi.KvmIrqRoutingEntry.FLAGS),
            u32("u.irqchip.irqchip", Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP),
            u32("u.irqchip.pin", Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN),
            u32("u.msi.address_lo", Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO),
            u32("u.msi.address_hi", Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_HI),
            u32("u.msi.data", Uapi.KvmIrqRoutingEntry.U_MSI_DATA),
            u32("u.msi.devid", Uapi.KvmIrqRoutingEntry.U_MSI_DEVID));

    private static final Struct IRQFD = struct(
            "kvm_irqfd",
            Uapi.KvmIrqfd.SIZE,
            u32("fd", Uapi.KvmIrqfd.FD),
            u32("gsi", Uapi.KvmIrqfd.GSI),
            u32("flags", Uapi.KvmIrqfd.FLAGS),
            u32("resamplefd", Uapi.KvmIrqfd.RESAMPLEFD));
    private static final Struct IOEVENTFD = struct(
            "kvm_ioeventfd",
            Uapi.KvmIoeventfd.SIZE,
            u64("datamatch", Uapi.KvmIoeventfd.DATAMATCH),
            u64("addr", Uapi.KvmIoeventfd.ADDR),
            u32("len", Uapi.KvmIoeventfd.LEN),
            u32("fd", Uapi.KvmIoeventfd.FD),
            u32("flags", Uapi.KvmIoeventfd.FLAGS));
    private static final Struct IRQ_LEVEL = struct(
            "kvm_irq_level",
            Uapi.KvmIrqLevel.SIZE,
            u32("irq", Uapi.KvmIrqLevel.IRQ),
            u32("level", Uapi.KvmIrqLevel.LEVEL));
    private static final Struct MSI = struct(
            "kvm_msi",
            Uapi.KvmMsi.SIZE,
            u32("address_lo", Uapi.KvmMsi.ADDRESS_LO),
            u32("address_hi", Uapi.KvmMsi.ADDRESS_HI),
            u32("data", Uapi.KvmMsi.DATA),
            u32("flags", Uapi.KvmMsi.FLAGS),
            u32("devid", Uapi.KvmMsi.DEVID));
    private static final Struct CREATE_DEVICE = struct(
            "kvm_create_device",
            Uapi.KvmCreateDevice.SIZE,
            u32("type", Uapi.KvmCreateDevice.TYPE),
            u32("fd", Uapi.KvmCreateDevice.FD),
            u32("flags", Uapi.KvmCreateDevice.FLAGS));
    private static final Struct DEVICE_ATTR = struct(
            "kvm_device_attr",
            Uapi.KvmDeviceAttr.SIZE,
            u32("flags", Uapi.KvmDeviceAttr.FLAGS),
            u32("group", Uapi.KvmDeviceAttr.GROUP),
            u64("attr", Uapi.KvmDeviceAttr.ATTR),
            u64("addr", Uapi.KvmDeviceAttr.ADDR));
    private static final Struct RUN = struct(
            "kvm_run",
            Uapi.KvmRun.SIZE,
            new Field("immediate_exit", Uapi.KvmRun.IMMEDIATE_EXIT, 1),
            u32("exit_reason", Uapi.KvmRun.EXIT_REASON),
            new Field("io.direction", Uapi.KvmRun.IO_DIRECTION, 1),
            u16("io.port", Uapi.KvmRun.IO_PORT),
            u64("io.data_offset", Uapi.KvmRun.IO_DATA_OFFSET),
            new Field("eoi.vector", Uapi.KvmRun.EOI_VECTOR, 1),
            u64("mmio.phys_addr", Uapi.KvmRun.MMIO_PHYS_ADDR),
            u64("mmio.data", Uapi.KvmRun.MMIO_DATA),
            u32("mmio.len", Uapi.KvmRun.MMIO_LEN),
            new Field("mmio.is_write", Uapi.KvmRun.MMIO_IS_WRITE, 1));
    private static final Struct CPUID2 = struct("kvm_cpuid2", Uapi.KvmCpuid2.SIZE, u32("nent", Uapi.KvmCpuid2.NENT));
    private static final Struct REGS = struct(
            "kvm_regs",
            Uapi.KvmRegs.SIZE,
            u64("rsp", Uapi.KvmRegs.RSP),
            u64("rip", Uapi.KvmRegs.RIP),
            u64("rflags", Uapi.KvmRegs.RFLAGS));
    private static final Struct SREGS = struct(
            "kvm_sregs",
            Uapi.KvmSregs.SIZE,
            u64("cs.base", Uapi.KvmSregs.CS_BASE),
            u16("cs.selector", Uapi.KvmSregs.CS_SELECTOR),
            u64("cr8", Uapi.KvmSregs.CR8));
    private static final Struct LAPIC_STATE = struct("kvm_lapic_state", Uapi.KvmLapicState.SIZE);

    // Of the libc calls, not of ioctls

    private static final Struct POLLFD = struct(
            "pollfd",
            Uapi.Pollfd.SIZE,
            u32("fd", Uapi.Pollfd.FD),
            u16("events", Uapi.Pollfd.EVENTS),
            u16("revents", Uapi.Pollfd.REVENTS));
    private static final Struct TIMESPEC = struct(
            "timespec", Uapi.Timespec.SIZE, u64("tv_sec", Uapi.Timespec.TV_SEC), u64("tv_nsec", Uapi.Timespec.TV_NSEC));
    private static final Struct IOVEC =
            struct("iovec", Uapi.Iovec.SIZE, u64("iov_base", Uapi.Iovec.IOV_BASE), u64("iov_len", Uapi.Iovec.IOV_LEN));

    /** Every structure of {@link Uapi}. */
    public static final List<Struct> STRUCTS = List.of(
            MEMORY_REGION,
            MEMORY_REGION2,
            STATS_HEADER,
            PIT_CONFIG,
            INTERRUPT,
            MP_STATE,
            ENABLE_CAP,
            IRQCHIP,
            IOAPIC_STATE,
            ROUTING,
            ROUTING_ENTRY,
            IRQFD,
            IOEVENTFD,
            IRQ_LEVEL,
            MSI,
            CREATE_DEVICE,
            DEVICE_ATTR,
            RUN,
            CPUID2,
            REGS,
            SREGS,
            LAPIC_STATE,
            POLLFD,
            TIMESPEC,
            IOVEC);

    private static Request request(FileKind kind, String name, long number) {
        return new Request(kind, name, number, Optional.empty());
    }

    private static Request request(FileKind kind, String name, long number, Struct argument) {
        return new Request(kind, name, number, Optional.of(argument));
    }

    private static final List<Request> OF_UAPI = List.of(
            request(FileKind.KVM, "KVM_GET_MSR_INDEX_LIST", Uapi.KVM_GET_MSR_INDEX_LIST),
            request(FileKind.KVM, "KVM_GET_MSR_FEATURE_INDEX_LIST", Uapi.KVM_GET_MSR_FEATURE_INDEX_LIST),
            request(FileKind.KVM, "KVM_X86_GET_MCE_CAP_SUPPORTED", Uapi.KVM_X86_GET_MCE_CAP_SUPPORTED),
            request(FileKind.KVM, "KVM_GET_EMULATED_CPUID", Uapi.KVM_GET_EMULATED_CPUID),
            request(FileKind.VM, "KVM_GET_DIRTY_LOG", Uapi.KVM_GET_DIRTY_LOG),
            request(FileKind.VM, "KVM_REGISTER_COALESCED_MMIO", Uapi.KVM_REGISTER_COALESCED_MMIO),
            request(FileKind.VM, "KVM_UNREGISTER_COALESCED_MMIO", Uapi.KVM_UNREGISTER_COALESCED_MMIO),
            request(FileKind.VM, "KVM_SET_CLOCK", Uapi.KVM_SET_CLOCK),
            request(FileKind.VM, "KVM_GET_CLOCK", Uapi.KVM_GET_CLOCK),
            request(FileKind.VM, "KVM_GET_PIT2", Uapi.KVM_GET_PIT2),
            request(FileKind.VM, "KVM_SET_PIT2", Uapi.KVM_SET_PIT2),
            request(FileKind.VM, "KVM_X86_SET_MSR_FILTER", Uapi.KVM_X86_SET_MSR_FILTER),
            request(FileKind.VCPU, "KVM_GET_MSRS", Uapi.KVM_GET_MSRS),
            request(FileKind.VCPU, "KVM_SET_MSRS", Uapi.KVM_SET_MSRS),
            request(FileKind.VCPU, "KVM_TPR_ACCESS_REPORTING", Uapi.KVM_TPR_ACCESS_REPORTING),
            request(FileKind.VCPU, "KVM_SET_VAPIC_ADDR", Uapi.KVM_SET_VAPIC_ADDR),
            request(FileKind.VCPU, "KVM_X86_SETUP_MCE", Uapi.KVM_X86_SETUP_MCE),
            request(FileKind.VCPU, "KVM_SET_VCPU_EVENTS", Uapi.KVM_SET_VCPU_EVENTS),
            request(FileKind.VCPU, "KVM_GET_DEBUGREGS", Uapi.KVM_GET_DEBUGREGS),
            request(FileKind.VCPU, "KVM_SET_DEBUGREGS", Uapi.KVM_SET_DEBUGREGS),
            request(FileKind.VCPU, "KVM_SET_TSC_KHZ", Uapi.KVM_SET_TSC_KHZ),
            request(FileKind.VCPU, "KVM_GET_TSC_KHZ", Uapi.KVM_GET_TSC_KHZ),
            request(FileKind.VCPU, "KVM_SET_XSAVE", Uapi.KVM_SET_XSAVE),
            request(FileKind.VCPU, "KVM_GET_XCRS", Uapi.KVM_GET_XCRS),
            request(FileKind.VCPU, "KVM_SET_XCRS", Uapi.KVM_SET_XCRS),
            request(FileKind.VCPU, "KVM_KVMCLOCK_CTRL", Uapi.KVM_KVMCLOCK_CTRL),
            request(FileKind.VCPU, "KVM_GET_SREGS2", Uapi.KVM_GET_SREGS2),
            request(FileKind.VCPU, "KVM_SET_SREGS2", Uapi.KVM_SET_SREGS2),
            request(FileKind.VCPU, "KVM_GET_XSAVE2", Uapi.KVM_GET_XSAVE2),
            request(FileKind.KVM, "KVM_GET_API_VERSION", Uapi.KVM_GET_API_VERSION),
            request(FileKind.KVM, "KVM_CREATE_VM", Uapi.KVM_CREATE_VM),
            request(FileKind.KVM, "KVM_CHECK_EXTENSION", Uapi.KVM_CHECK_EXTENSION),
            request(FileKind.KVM, "KVM_GET_VCPU_MMAP_SIZE", Uapi.KVM_GET_VCPU_MMAP_SIZE),
            request(FileKind.KVM, "KVM_GET_SUPPORTED_CPUID", Uapi.KVM_GET_SUPPORTED_CPUID, CPUID2),
            request(FileKind.VM, "KVM_CREATE_VCPU", Uapi.KVM_CREATE_VCPU),
            request(FileKind.VM, "KVM_SET_TSS_ADDR", Uapi.KVM_SET_TSS_ADDR),
            request(FileKind.VM, "KVM_SET_IDENTITY_MAP_ADDR", Uapi.KVM_SET_IDENTITY_MAP_ADDR),
            request(FileKind.VM, "KVM_SET_BOOT_CPU_ID", Uapi.KVM_SET_BOOT_CPU_ID),
            request(FileKind.VM, "KVM_SET_USER_MEMORY_REGION", Uapi.KVM_SET_USER_MEMORY_REGION, MEMORY_REGION),
            request(FileKind.VM, "KVM_SET_USER_MEMORY_REGION2", Uapi.KVM_SET_USER_MEMORY_REGION2, MEMORY_REGION2),
            request(FileKind.VM, "KVM_CREATE_GUEST_MEMFD", Uapi.KVM_CREATE_GUEST_MEMFD),
            request(FileKind.VM, "KVM_ENABLE_CAP", Uapi.KVM_ENABLE_CAP, ENABLE_CAP),
            request(FileKind.VM, "KVM_GET_STATS_FD", Uapi.KVM_GET_STATS_FD),
            request(FileKind.VM, "KVM_CREATE_IRQCHIP", Uapi.KVM_CREATE_IRQCHIP),
            request(FileKind.VM, "KVM_GET_IRQCHIP", Uapi.KVM_GET_IRQCHIP, IRQCHIP),
            request(FileKind.VM, "KVM_SET_IRQCHIP", Uapi.KVM_SET_IRQCHIP, IRQCHIP),
            request(FileKind.VM, "KVM_CREATE_PIT2", Uapi.KVM_CREATE_PIT2, PIT_CONFIG),
            request(FileKind.VM, "KVM_SET_GSI_ROUTING", Uapi.KVM_SET_GSI_ROUTING, ROUTING),
            request(FileKind.VM, "KVM_IRQFD", Uapi.KVM_IRQFD, IRQFD),
            request(FileKind.VM, "KVM_IOEVENTFD", Uapi.KVM_IOEVENTFD, IOEVENTFD),
            request(FileKind.VM, "KVM_IRQ_LINE", Uapi.KVM_IRQ_LINE, IRQ_LEVEL),
            request(FileKind.VM, "KVM_IRQ_LINE_STATUS", Uapi.KVM_IRQ_LINE_STATUS, IRQ_LEVEL),
            request(FileKind.VM, "KVM_SIGNAL_MSI", Uapi.KVM_SIGNAL_MSI, MSI),
            request(FileKind.VM, "KVM_CREATE_DEVICE", Uapi.KVM_CREATE_DEVICE, CREATE_DEVICE),
            request(FileKind.KVM_DEVICE, "KVM_SET_DEVICE_ATTR", Uapi.KVM_SET_DEVICE_ATTR, DEVICE_ATTR),
            request(FileKind.KVM_DEVICE, "KVM_GET_DEVICE_ATTR", Uapi.KVM_GET_DEVICE_ATTR, DEVICE_ATTR),
            request(FileKind.KVM_DEVICE, "KVM_HAS_DEVICE_ATTR", Uapi.KVM_HAS_DEVICE_ATTR, DEVICE_ATTR),
            request(FileKind.VCPU, "KVM_RUN", Uapi.KVM_RUN),
            request(FileKind.VCPU, "KVM_GET_REGS", Uapi.KVM_GET_REGS, REGS),
            request(FileKind.VCPU, "KVM_SET_REGS", Uapi.KVM_SET_REGS, REGS),
            request(FileKind.VCPU, "KVM_GET_SREGS", Uapi.KVM_GET_SREGS, SREGS),
            request(FileKind.VCPU, "KVM_SET_SREGS", Uapi.KVM_SET_SREGS, SREGS),
            request(FileKind.VCPU, "KVM_INTERRUPT", Uapi.KVM_INTERRUPT, INTERRUPT),
            request(FileKind.VCPU, "KVM_SET_SIGNAL_MASK", Uapi.KVM_SET_SIGNAL_MASK),
            request(FileKind.VCPU, "KVM_GET_LAPIC", Uapi.KVM_GET_LAPIC, LAPIC_STATE),
            request(FileKind.VCPU, "KVM_SET_LAPIC", Uapi.KVM_SET_LAPIC, LAPIC_STATE),
            request(FileKind.VCPU, "KVM_SET_CPUID2", Uapi.KVM_SET_CPUID2, CPUID2),
            request(FileKind.VCPU, "KVM_GET_MP_STATE", Uapi.KVM_GET_MP_STATE, MP_STATE),
            request(FileKind.VCPU, "KVM_SET_MP_STATE", Uapi.KVM_SET_MP_STATE, MP_STATE),
            request(FileKind.VCPU, "KVM_NMI", Uapi.KVM_NMI),
            request(FileKind.VCPU, "KVM_SET_GUEST_DEBUG", Uapi.KVM_SET_GUEST_DEBUG),
            request(FileKind.VCPU, "KVM_GET_VCPU_EVENTS", Uapi.KVM_GET_VCPU_EVENTS),
            request(FileKind.VFIO_CONTAINER, "VFIO_GET_API_VERSION", Uapi.VFIO_GET_API_VERSION),
            request(FileKind.VFIO_CONTAINER, "VFIO_CHECK_EXTENSION", Uapi.VFIO_CHECK_EXTENSION),
            request(FileKind.VFIO_CONTAINER, "VFIO_SET_IOMMU", Uapi.VFIO_SET_IOMMU),
            request(FileKind.VFIO_GROUP, "VFIO_GROUP_GET_STATUS", Uapi.VFIO_GROUP_GET_STATUS),
            request(FileKind.VFIO_GROUP, "VFIO_GROUP_SET_CONTAINER", Uapi.VFIO_GROUP_SET_CONTAINER),
            request(FileKind.VFIO_GROUP, "VFIO_GROUP_UNSET_CONTAINER", Uapi.VFIO_GROUP_UNSET_CONTAINER),
            request(FileKind.VFIO_GROUP, "VFIO_GROUP_GET_DEVICE_FD", Uapi.VFIO_GROUP_GET_DEVICE_FD),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_GET_INFO", Uapi.VFIO_DEVICE_GET_INFO),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_GET_REGION_INFO", Uapi.VFIO_DEVICE_GET_REGION_INFO),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_GET_IRQ_INFO", Uapi.VFIO_DEVICE_GET_IRQ_INFO),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_SET_IRQS", Uapi.VFIO_DEVICE_SET_IRQS),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_RESET", Uapi.VFIO_DEVICE_RESET),
            request(
                    FileKind.VFIO_DEVICE,
                    "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
                    Uapi.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_PCI_HOT_RESET", Uapi.VFIO_DEVICE_PCI_HOT_RESET),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_IOEVENTFD", Uapi.VFIO_DEVICE_IOEVENTFD),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_FEATURE", Uapi.VFIO_DEVICE_FEATURE),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_BIND_IOMMUFD", Uapi.VFIO_DEVICE_BIND_IOMMUFD),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", Uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT),
            request(FileKind.VFIO_DEVICE, "VFIO_DEVICE_DETACH_IOMMUFD_PT", Uapi.VFIO_DEVICE_DETACH_IOMMUFD_PT),
            request(FileKind.VFIO_CONTAINER, "VFIO_IOMMU_GET_INFO", Uapi.VFIO_IOMMU_GET_INFO),
            request(FileKind.VFIO_CONTAINER, "VFIO_IOMMU_MAP_DMA", Uapi.VFIO_IOMMU_MAP_DMA),
            request(FileKind.VFIO_CONTAINER, "VFIO_IOMMU_UNMAP_DMA", Uapi.VFIO_IOMMU_UNMAP_DMA),
            request(FileKind.IOMMUFD, "IOMMU_DESTROY", Uapi.IOMMU_DESTROY),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_ALLOC", Uapi.IOMMU_IOAS_ALLOC),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_ALLOW_IOVAS", Uapi.IOMMU_IOAS_ALLOW_IOVAS),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_COPY", Uapi.IOMMU_IOAS_COPY),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_IOVA_RANGES", Uapi.IOMMU_IOAS_IOVA_RANGES),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_MAP", Uapi.IOMMU_IOAS_MAP),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_UNMAP", Uapi.IOMMU_IOAS_UNMAP),
            request(FileKind.IOMMUFD, "IOMMU_OPTION", Uapi.IOMMU_OPTION),
            request(FileKind.IOMMUFD, "IOMMU_VFIO_IOAS", Uapi.IOMMU_VFIO_IOAS),
            request(FileKind.IOMMUFD, "IOMMU_HWPT_ALLOC", Uapi.IOMMU_HWPT_ALLOC),
            request(FileKind.IOMMUFD, "IOMMU_GET_HW_INFO", Uapi.IOMMU_GET_HW_INFO),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_MAP_FILE", Uapi.IOMMU_IOAS_MAP_FILE),
            request(FileKind.IOMMUFD, "IOMMU_VIOMMU_ALLOC", Uapi.IOMMU_VIOMMU_ALLOC),
            request(FileKind.IOMMUFD, "IOMMU_VDEVICE_ALLOC", Uapi.IOMMU_VDEVICE_ALLOC),
            request(FileKind.IOMMUFD, "IOMMU_IOAS_CHANGE_PROCESS", Uapi.IOMMU_IOAS_CHANGE_PROCESS),
            request(FileKind.IOMMUFD, "IOMMU_VEVENTQ_ALLOC", Uapi.IOMMU_VEVENTQ_ALLOC),
            request(FileKind.VM, "KVM_CHECK_EXTENSION", Uapi.KVM_CHECK_EXTENSION),
            request(FileKind.VCPU, "KVM_ENABLE_CAP", Uapi.KVM_ENABLE_CAP, ENABLE_CAP),
            request(FileKind.VCPU, "KVM_GET_STATS_FD", Uapi.KVM_GET_STATS_FD));

    /**
     * Every ioctl of {@link Uapi}, and all others of KVM that a kernel on x86 may answer: once for each kind of file it is
     * for.
     */
    public static final List<Request> REQUESTS =
            Stream.concat(OF_UAPI.stream(), UapiRequests.ALL.stream()).toList();
}
