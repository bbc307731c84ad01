/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** A request to the kernel, with its name in kvmirq's messages and commands, and the kernel's own names. */
public enum KernelCall {
    OPEN("open"),
    CLOSE("close"),
    EVENTFD_CREATE("eventfd create", "eventfd2", "eventfd"),
    EVENTFD_WRITE("eventfd signal", "write", "pwrite"),
    EVENTFD_READ("eventfd drain", "read", "pread", "preadv2"),
    EVENTFD_WAIT("eventfd wait", "ppoll", "poll"),
    DUP("fd dup", "fcntl"),
    EPOLL_CREATE("epoll create", "epoll_create1"),
    EPOLL_CTL("epoll control", "epoll_ctl"),
    EPOLL_WAIT("epoll wait", "epoll_wait"),
    MEMBARRIER("membarrier"),
    MMAP("mmap", "map_zeros"),
    MUNMAP("munmap"),
    MADVISE("madvise"),
    MEMFD("memory file create", "memfd_create"),
    TRUNCATE("memory file size", "ftruncate"),
    SEALS("memory file seal", "F_ADD_SEALS", "F_GET_SEALS"),
    THREAD("thread number", "gettid", "getpid"),
    SIGNAL_MASK("signal mask", "rt_sigprocmask"),
    SIGNAL_SEND("signal send", "tgkill"),
    SIGNAL_WAIT("signal wait", "rt_sigtimedwait"),
    KVM_VERSION("kvm version", "KVM_GET_API_VERSION"),
    VCPU_MMAP_SIZE("vcpu mmap size", KVM_VERSION, "KVM_GET_VCPU_MMAP_SIZE"),
    CAPABILITY("capability check", "KVM_CHECK_EXTENSION"),
    CPUID("cpuid get", "KVM_GET_SUPPORTED_CPUID", "KVM_GET_EMULATED_CPUID"),
    CPUID_OF_VCPU("vcpu cpuid get", "KVM_GET_CPUID2"),
    CPUID_SET("cpuid set", "KVM_SET_CPUID2"),
    VM_CREATE("vm create", "KVM_CREATE_VM"),
    CAP_ENABLE("capability enable", "KVM_ENABLE_CAP"),
    IRQCHIP_CREATE("irqchip create", "KVM_CREATE_IRQCHIP"),
    SPLIT_IRQCHIP("split irqchip create", "KVM_CAP_SPLIT_IRQCHIP"),
    X2APIC("32-bit apic ids enable", "KVM_CAP_X2APIC_API"),
    IRQCHIP_STATE("irqchip state", "KVM_GET_IRQCHIP", "KVM_SET_IRQCHIP"),
    IOAPIC_GET("ioapic get", IRQCHIP_STATE),
    IOAPIC_SET("ioapic set", IRQCHIP_STATE),
    PIC_GET("pic get", IRQCHIP_STATE),
    PIC_SET("pic set", IRQCHIP_STATE),
    PIT_CREATE("pit create", "KVM_CREATE_PIT2"),
    PIT_GET("pit get", "KVM_GET_PIT2"),
    PIT_SET("pit set", PIT_GET, "KVM_SET_PIT2"),
    PIT_REINJECT("pit reinject", PIT_GET, "KVM_REINJECT_CONTROL"),
    CLOCK_GET("clock get", "KVM_GET_CLOCK"),
    CLOCK_SET("clock set", "KVM_SET_CLOCK"),
    TSC_RATE("tsc rate", "KVM_GET_TSC_KHZ", "KVM_SET_TSC_KHZ"),
    TSS("tss set", "KVM_SET_TSS_ADDR"),
    IDENTITY_MAP("identity map set", "KVM_SET_IDENTITY_MAP_ADDR"),
    VCPU_CREATE("vcpu create", "KVM_CREATE_VCPU"),
    VCPU_RUN("vcpu run", "KVM_RUN"),
    VCPU_SIGNALS("vcpu signals set", "KVM_SET_SIGNAL_MASK"),
    VCPU_TARGET("vcpu target", "KVM_ARM_PREFERRED_TARGET"),
    VCPU_INIT("vcpu init", "KVM_ARM_VCPU_INIT"),
    VCPU_FINALIZE("vcpu finalize", "KVM_ARM_VCPU_FINALIZE"),
    REGISTER_LIST("register list", "KVM_GET_REG_LIST"),
    REGISTER_GET("register get", "KVM_GET_ONE_REG"),
    REGISTER_SET("register set", REGISTER_GET, "KVM_SET_ONE_REG"),
    VCPU_STATE("vcpu state", "KVM_GET_MP_STATE", "KVM_SET_MP_STATE"),
    BOOT_VCPU("boot vcpu choose", "KVM_SET_BOOT_CPU_ID"),
    LAPIC_GET("lapic get", "KVM_GET_LAPIC"),
    LAPIC_SET("lapic set", LAPIC_GET, "KVM_SET_LAPIC"),
    SREGS_GET("sregs get", "KVM_GET_SREGS"),
    SREGS_SET("sregs set", "KVM_SET_SREGS"),
    REGS_GET("regs get", "KVM_GET_REGS"),
    REGS_SET("regs set", "KVM_SET_REGS"),
    MSR_LIST("msr list", "KVM_GET_MSR_INDEX_LIST", "KVM_GET_MSR_FEATURE_INDEX_LIST"),
    MSRS_GET("msrs get", "KVM_GET_MSRS"),
    MSRS_SET("msrs set", "KVM_SET_MSRS"),
    FPU_GET("fpu get", "KVM_GET_FPU"),
    FPU_SET("fpu set", "KVM_SET_FPU"),
    XSAVE_GET("xsave get", "KVM_GET_XSAVE", "KVM_GET_XSAVE2"),
    XSAVE_SET("xsave set", "KVM_SET_XSAVE"),
    XCRS_GET("xcrs get", "KVM_GET_XCRS"),
    XCRS_SET("xcrs set", "KVM_SET_XCRS"),
    EVENTS_GET("vcpu events get", "KVM_GET_VCPU_EVENTS"),
    EVENTS_SET("vcpu events set", "KVM_SET_VCPU_EVENTS"),
    DEBUG_GET("debug registers get", "KVM_GET_DEBUGREGS"),
    DEBUG_SET("debug registers set", "KVM_SET_DEBUGREGS"),
    INTERRUPT("interrupt", "KVM_INTERRUPT"),
    MEMORY("memory set", "KVM_SET_USER_MEMORY_REGION", "KVM_SET_USER_MEMORY_REGION2"),
    NMI("nmi", "KVM_NMI"),
    SMI("smi", "KVM_SMI"),
    DIRTY_LOG("dirty log get", "KVM_GET_DIRTY_LOG"),
    ROUTES("routes set", "KVM_SET_GSI_ROUTING", "routing"),
    IRQFD("irqfd assign", "KVM_IRQFD", "irqfd"),
    IRQFD_LEVEL("irqfd assign level", IRQFD),
    IRQFD_DEASSIGN("irqfd deassign"),
    IOEVENTFD("ioeventfd assign", "KVM_IOEVENTFD", "ioeventfd"),
    IOEVENTFD_DEASSIGN("ioeventfd deassign"),
    MSI("msi signal", "KVM_SIGNAL_MSI", "signal_msi", "msi"),
    LINE("line set", "KVM_IRQ_LINE", "KVM_IRQ_LINE_STATUS", "irq_line"),
    PPI_LINE("ppi line set", LINE),
    DEVICE_CREATE("device create", "KVM_CREATE_DEVICE"),
    DEVICE_TEST("device test", DEVICE_CREATE),
    ATTRIBUTE_GET("device attribute get", "KVM_GET_DEVICE_ATTR", "get_device_attr"),
    ATTRIBUTE(
            "device attribute set",
            "KVM_SET_DEVICE_ATTR",
            "KVM_HAS_DEVICE_ATTR",
            "set_device_attr",
            "has_device_attr",
            "device attribute"),
    ATTRIBUTE_PROBE("device attribute probe", ATTRIBUTE),
    VGIC_ADDRESS("vgic address set", "KVM_DEV_ARM_VGIC_GRP_ADDR"),
    VGIC_REGION("vgic redistributors set", VGIC_ADDRESS),
    VGIC_INTERRUPTS("vgic interrupts set", "KVM_DEV_ARM_VGIC_GRP_NR_IRQS"),
    VGIC_CONTROL("vgic control", "KVM_DEV_ARM_VGIC_GRP_CTRL"),
    VGIC_REGISTER(
            "vgic register",
            "KVM_DEV_ARM_VGIC_GRP_DIST_REGS",
            "KVM_DEV_ARM_VGIC_GRP_CPU_REGS",
            "KVM_DEV_ARM_VGIC_GRP_REDIST_REGS",
            "KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO"),
    VGIC_SYSTEM_REGISTER("vgic system register", VGIC_REGISTER, "KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS"),
    ITS_ADDRESS("its address set", VGIC_ADDRESS),
    ITS_CONTROL("its control"),
    ITS_REGISTER("its register", "KVM_DEV_ARM_VGIC_GRP_ITS_REGS"),
    ITS_IIDR("its iidr set", ITS_REGISTER),
    ITS_CREADR("its creadr set", ITS_REGISTER),
    VCPU_TIMER("vcpu timer interrupt", "KVM_ARM_VCPU_TIMER_CTRL"),
    VCPU_PMU("vcpu pmu", "KVM_ARM_VCPU_PMU_V3_CTRL"),
    STATS("stats open", "KVM_GET_STATS_FD"),
    ANY_IOCTL("ioctl"),
    ANY_DEVICE_IOCTL("vfio device ioctl"),
    VFIO_GROUP("vfio group open"),
    VFIO_CDEV("vfio device file open"),
    VFIO_CONTAINER_OPEN("vfio container open"),
    IOMMUFD("iommufd open"),
    VFIO_IOMMU("vfio iommu set", "VFIO_SET_IOMMU", "VFIO_CHECK_EXTENSION"),
    VFIO_IOMMU_INFO("vfio iommu info", "VFIO_IOMMU_GET_INFO"),
    VFIO_MAP("vfio dma map", "VFIO_IOMMU_MAP_DMA"),
    VFIO_UNMAP("vfio dma unmap", "VFIO_IOMMU_UNMAP_DMA"),
    VFIO_CONTAINER("vfio container set", "VFIO_GROUP_SET_CONTAINER"),
    VFIO_CONTAINER_UNSET("vfio container unset", "VFIO_GROUP_UNSET_CONTAINER"),
    VFIO_INFO("vfio info", "VFIO_DEVICE_GET_INFO", "VFIO_GROUP_GET_STATUS"),
    VFIO_REGION_INFO("vfio region info", "VFIO_DEVICE_GET_REGION_INFO"),
    VFIO_DEVICE_FD("vfio device open", "VFIO_GROUP_GET_DEVICE_FD"),
    VFIO_BIND("vfio device bind", VFIO_DEVICE_FD, "VFIO_DEVICE_BIND_IOMMUFD"),
    VFIO_ATTACH("vfio device attach", "VFIO_DEVICE_ATTACH_IOMMUFD_PT", "VFIO_DEVICE_DETACH_IOMMUFD_PT"),
    IOMMU_REQUEST("iommufd request", "IOMMU_DESTROY", "IOMMU_IOAS_IOVA_RANGES", "IOMMU_VFIO_IOAS"),
    IOAS_CREATE("ioas create", IOMMU_REQUEST, "IOMMU_IOAS_ALLOC"),
    IOAS_MAP("ioas map", IOMMU_REQUEST, "IOMMU_IOAS_MAP"),
    IOAS_UNMAP("ioas unmap", IOMMU_REQUEST, "IOMMU_IOAS_UNMAP"),
    VFIO_READ("vfio region read"),
    VFIO_WRITE("vfio region write"),
    KVM_VFIO_ADD("kvm-vfio add", ATTRIBUTE, "KVM_DEV_VFIO_FILE_ADD"),
    KVM_VFIO_FORWARD("kvm-vfio forward", "KVM_DEV_VFIO_DEVICE_FORWARD_IRQ", "KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ"),
    VFIO_IRQ_INFO("vfio irq info", "VFIO_DEVICE_GET_IRQ_INFO"),
    SET_IRQS("vfio set irqs", "VFIO_DEVICE_SET_IRQS", "set_irqs"),
    VFIO_RESET("vfio reset", "VFIO_DEVICE_RESET"),
    VFIO_HOT_RESET("vfio hot reset", "VFIO_DEVICE_PCI_HOT_RESET", "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO");

    /** Device attributes that count as separate calls here. */
    private static final List<KernelCall> ATTRIBUTES = Stream.concat(
                    EnumSet.range(VGIC_ADDRESS, VCPU_PMU).stream(), Stream.of(KVM_VFIO_FORWARD))
            .toList();

    private final String label;
    private final @Nullable KernelCall kind;

    @SuppressWarnings("ImmutableEnumChecker") // made by List.of
    private final List<String> otherNames;

    KernelCall(String label, String... otherNames) {
        this(label, null, otherNames);
    }

    /** @param kind the call whose causes also apply to this one */
    KernelCall(String label, @Nullable KernelCall kind, String... otherNames) {
        this.label = label;
        this.kind = kind;
        this.otherNames = List.of(otherNames);
    }

    public String label() {
        return label;
    }

    /** Finds a call by any of its names, in upper or lower case, with spaces, hyphens or underscores. */
    public static Optional<KernelCall> parse(String name) {
        String wanted = plain(name);
        return Arrays.stream(values())
                .filter(call -> plain(call.label).equals(wanted)
                        || call.otherNames.stream()
                                .anyMatch(other -> plain(other).equals(wanted)))
                .findFirst();
    }

    private static String plain(String name) {
        return name.toLowerCase(Locale.ROOT).replace('-', ' ').replace('_', ' ');
    }

    /**
     * The call whose causes also apply to this one, such as {@code IRQFD} for {@code IRQFD_LEVEL}. Most calls return
     * themselves.
     */
    KernelCall kind() {
        return kind == null ? this : kind;
    }

    /** The conditions that always hold when this call is made. */
    public Set<Condition> implied() {
        if (compareTo(VGIC_ADDRESS) >= 0 && compareTo(ITS_CREADR) <= 0) {
            return EnumSet.of(Condition.ARM64, Condition.VGIC_DEVICE);
        }
        return switch (this) {
            case VCPU_TARGET, VCPU_INIT, VCPU_FINALIZE, VCPU_TIMER, VCPU_PMU -> EnumSet.of(Condition.ARM64);
            case KVM_VFIO_ADD, KVM_VFIO_FORWARD -> EnumSet.of(Condition.KVM_VFIO);
            case IRQFD_LEVEL -> EnumSet.of(Condition.LEVEL);
            default -> EnumSet.noneOf(Condition.class);
        };
    }

    /** Calls with the same kernel name. A user who looks up this name may mean any of them. */
    List<KernelCall> alsoMeant() {
        return switch (this) {
            case EVENTFD_READ -> List.of(VFIO_READ);
            case EVENTFD_WRITE -> List.of(VFIO_WRITE);
            case DUP -> List.of(SEALS);
            case OPEN -> List.of(VFIO_GROUP, VFIO_CDEV, VFIO_CONTAINER_OPEN, IOMMUFD);
            case CAP_ENABLE -> List.of(SPLIT_IRQCHIP, X2APIC);
            case IRQFD -> List.of(IRQFD_DEASSIGN);
            case ATTRIBUTE_GET ->
                Stream.concat(Stream.of(ATTRIBUTE), ATTRIBUTES.stream()).toList();
            case ATTRIBUTE, ATTRIBUTE_PROBE -> ATTRIBUTES;
            case LINE -> List.of(PPI_LINE);
            case ITS_REGISTER -> List.of(ITS_IIDR, ITS_CREADR);
            case IOEVENTFD -> List.of(IOEVENTFD_DEASSIGN);
            case ANY_IOCTL,
                    VFIO_INFO,
                    VFIO_REGION_INFO,
                    VFIO_ATTACH,
                    VFIO_IRQ_INFO,
                    SET_IRQS,
                    VFIO_RESET,
                    VFIO_HOT_RESET -> List.of(ANY_DEVICE_IOCTL);
            default -> List.of();
        };
    }
}
