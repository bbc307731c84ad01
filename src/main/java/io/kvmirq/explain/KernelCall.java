/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** What can be asked of the kernel: as kvmirq's messages name it, as users type it, and the kernel's own names. */
public enum KernelCall {
    OPEN("open"),
    EVENTFD_CREATE("eventfd create", "eventfd2"),
    EVENTFD_WRITE("eventfd signal", "write", "pwrite"),
    EVENTFD_READ("eventfd drain", "read", "pread", "preadv2"),
    DUP("fd dup", "fcntl"),
    MMAP("mmap"),
    MUNMAP("munmap"),
    KVM_VERSION("kvm version", "KVM_GET_API_VERSION", "KVM_GET_VCPU_MMAP_SIZE"),
    CAPABILITY("capability check", "KVM_CHECK_EXTENSION"),
    CPUID("cpuid get", "KVM_GET_SUPPORTED_CPUID"),
    CPUID_SET("cpuid set", "KVM_SET_CPUID2"),
    VM_CREATE("vm create", "KVM_CREATE_VM"),
    CAP_ENABLE("capability enable", "KVM_ENABLE_CAP"),
    IRQCHIP_CREATE("irqchip create", "KVM_CREATE_IRQCHIP"),
    SPLIT_IRQCHIP("split irqchip create", "KVM_CAP_SPLIT_IRQCHIP"),
    X2APIC("long apic ids enable", "KVM_CAP_X2APIC_API"),
    IRQCHIP_STATE("irqchip state", "KVM_GET_IRQCHIP", "KVM_SET_IRQCHIP", "ioapic get", "ioapic set"),
    PIT_CREATE("pit create", "KVM_CREATE_PIT2"),
    TSS("tss set", "KVM_SET_TSS_ADDR"),
    VCPU_CREATE("vcpu create", "KVM_CREATE_VCPU"),
    VCPU_RUN("vcpu run", "KVM_RUN"),
    VCPU_INIT("vcpu init", "KVM_ARM_VCPU_INIT"),
    VCPU_STATE("vcpu state", "KVM_GET_MP_STATE", "KVM_SET_MP_STATE"),
    BOOT_VCPU("boot vcpu choose", "KVM_SET_BOOT_CPU_ID"),
    LAPIC("lapic get", "lapic set", "KVM_GET_LAPIC", "KVM_SET_LAPIC"),
    INTERRUPT("interrupt", "KVM_INTERRUPT"),
    MEMORY("memory set", "KVM_SET_USER_MEMORY_REGION", "KVM_SET_USER_MEMORY_REGION2"),
    ROUTES("routes set", "KVM_SET_GSI_ROUTING", "routing"),
    IRQFD("irqfd assign", "irqfd assign level", "KVM_IRQFD", "irqfd"),
    IRQFD_DEASSIGN("irqfd deassign"),
    IOEVENTFD("ioeventfd assign", "KVM_IOEVENTFD", "ioeventfd"),
    IOEVENTFD_DEASSIGN("ioeventfd deassign"),
    MSI("msi signal", "KVM_SIGNAL_MSI", "signal_msi", "msi"),
    LINE("line set", "KVM_IRQ_LINE", "KVM_IRQ_LINE_STATUS", "irq_line"),
    DEVICE_CREATE("device create", "device test", "KVM_CREATE_DEVICE"),
    ATTRIBUTE_GET("device attribute get", "KVM_GET_DEVICE_ATTR", "get_device_attr"),
    ATTRIBUTE(
            "device attribute set",
            "device attribute probe",
            "KVM_SET_DEVICE_ATTR",
            "KVM_HAS_DEVICE_ATTR",
            "set_device_attr",
            "has_device_attr",
            "device attribute"),
    STATS("stats open", "KVM_GET_STATS_FD"),
    ANY_IOCTL("ioctl"),
    VFIO_GROUP("vfio group open"),
    VFIO_DEVICE_FD("vfio device open", "VFIO_GROUP_GET_DEVICE_FD", "VFIO_DEVICE_BIND_IOMMUFD"),
    VFIO_IRQ_INFO("vfio irq info", "VFIO_DEVICE_GET_IRQ_INFO"),
    SET_IRQS("vfio set irqs", "VFIO_DEVICE_SET_IRQS", "set_irqs"),
    VFIO_RESET("vfio reset", "VFIO_DEVICE_RESET");

    private final String label;

    @SuppressWarnings("ImmutableEnumChecker") // made by List.of
    private final List<String> otherNames;

    KernelCall(String label, String... otherNames) {
        this.label = label;
        this.otherNames = List.of(otherNames);
    }

    /** As messages name it. */
    public String label() {
        return label;
    }

    /** By any of its names, whatever its case, and with spaces, hyphens or underscores. */
    public static Optional<KernelCall> of(String name) {
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

    /** Calls that go by the same name of the kernel's: what they are refused for may be meant, too. */
    List<KernelCall> alsoMeant() {
        return switch (this) {
            case CAP_ENABLE -> List.of(SPLIT_IRQCHIP, X2APIC);
            case IRQFD -> List.of(IRQFD_DEASSIGN);
            case ATTRIBUTE_GET -> List.of(ATTRIBUTE);
            case IOEVENTFD -> List.of(IOEVENTFD_DEASSIGN);
            default -> List.of();
        };
    }

    /** What a name of it tells of the state. */
    static List<Fact> implied(String name) {
        return switch (name) {
            case "irqfd assign" -> List.of(Fact.EDGE);
            case "irqfd assign level" -> List.of(Fact.LEVEL);
            default -> List.of();
        };
    }
}
