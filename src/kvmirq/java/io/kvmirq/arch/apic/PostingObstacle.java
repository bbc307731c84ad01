/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** Reasons why an interrupt is not posted, in the order of {@code kvm_pi_update_irte()} and its callers (Linux 7.1). */
public enum PostingObstacle {
    NO_REMAPPING(
            "the host does not remap interrupts",
            "irq_remapping_prepare(), at boot",
            "/proc/interrupts has no chip whose name begins with IR-",
            "enable the IOMMU in firmware; remove intremap=off and nointremap from the kernel command line"),
    SWITCHED_OFF(
            "the kernel command line disables posting",
            "irq_remapping_cap(), from intremap=nopost or intremap=off; AMD hosts obey it too",
            "/proc/cmdline",
            "remove intremap=nopost from the kernel command line"),
    /** Exists only on Intel hosts. */
    UNIT_CANNOT_POST(
            "the hardware cannot post interrupts",
            "set_irq_posting_cap(), which checks all units",
            "bit 59 of /sys/class/iommu/dmar*/intel-iommu/cap; cx16 in /proc/cpuinfo",
            "use hardware that can post; emulated IOMMUs normally cannot"),
    /** Exists only on AMD hosts. */
    NO_VIRTUAL_APIC(
            "no AMD IOMMU uses its virtual APIC mode",
            "enable_iommus_vapic(), from EFR bit 21 (GAM), GASup, SNP without SNPAVIC, and amd_iommu_intr=legacy",
            "dmesg has no line \"AMD-Vi: Virtual APIC enabled\"; features of /sys/class/iommu/ivhd*/amd-iommu",
            "remove amd_iommu_intr=legacy from the kernel command line; if it is not there, this hardware cannot post"),
    NO_APIC_VIRTUALIZATION(
            "KVM does not virtualize the APIC",
            "vmx hardware_setup() or avic_want_avic_enabled(), when the module is loaded",
            "/sys/module/kvm_intel/parameters/enable_apicv or /sys/module/kvm_amd/parameters/avic",
            "load the module with enable_apicv=1, or avic=1 (and npt=1)"),
    /** The module parameter enable_device_posted_irqs, which exists since Linux 6.16, is 0. */
    DEVICES_NOT_POSTED(
            "KVM does not post device interrupts",
            "kvm_x86_vendor_init(), when the module is loaded",
            "/sys/module/kvm_intel/parameters/enable_device_posted_irqs, or that of kvm_amd, is N",
            "load the module with enable_device_posted_irqs=1"),
    NO_LAPIC_IN_KERNEL(
            "the VM has no in-kernel LAPICs",
            "kvm_arch_irqfd_allowed(): KVM_IRQFD fails with EINVAL",
            "the errno of KVM_IRQFD",
            "create an in-kernel irqchip, full or split"),
    NO_PRODUCER(
            "the interrupt has no irqbypass producer; VFIO registers one for each enabled MSI or MSI-X vector",
            "vfio_msi_set_vector_signal() and vhost-vDPA register producers, nothing else does",
            "/proc/interrupts has no vfio-msi[N](BDF) or vfio-msix[N](BDF) for it",
            "have the guest use MSI or MSI-X, and enable the vector through VFIO"),
    NO_CONSUMER(
            "no irqfd listens to the eventfd, so the VMM delivers the interrupt itself",
            "kvm_irqfd_assign() registers the consumer",
            "/proc/PID/fdinfo of the VMM shows the eventfd-id",
            "assign an irqfd (QEMU: without x-no-kvm-msix=on, with an irqchip in the kernel)"),
    EVENTFD_TAKEN(
            "the eventfd has another producer or consumer",
            "irq_bypass_register_producer(), EBUSY",
            "dmesg: irq bypass producer|consumer (eventfd ...) registration fails: -16",
            "give each vector its own eventfd"),
    NOT_ONE_MESSAGE(
            "the GSI does not have exactly one MSI route",
            "irqfd_update() and kvm_arch_irq_bypass_add_producer()",
            "the tracepoint kvm_set_irq shows a pin where kvm_msi_set_irq would show a message",
            "set one MSI route for the GSI; while the guest masks the vector, a VMM may have none"),
    NOT_DECODED(
            "the message sets address bits [39:32], which must be 0 with 32-bit APIC ids",
            "kvm_set_routing_entry()",
            "KVM_SET_GSI_ROUTING fails with EINVAL",
            "put destination bits [31:8] into address bits [63:40]"),
    MODE_NOT_POSTABLE(
            "the delivery mode is neither fixed nor lowest priority",
            "kvm_irq_is_postable()",
            "the tracepoint kvm_msi_set_irq shows the mode",
            "nothing, because software delivers SMI, NMI, INIT and ExtINT"),
    NOT_ONE_VCPU(
            "the message does not target exactly one vCPU",
            "kvm_intr_is_single_vcpu()",
            "the tracepoint kvm_msi_set_irq shows dst; in the guest, /proc/irq/N/effective_affinity",
            "have the guest direct the vector to exactly one of the VM's vCPUs"),
    /** Exists only on AMD hosts. */
    DOMAIN_NOT_UNMANAGED(
            "the device is not in a VFIO domain",
            "amd_ir_set_vcpu_affinity(), EINVAL: the domain must be of type UNMANAGED",
            "the driver is vfio-pci and a container or IOAS is open; iommu_group/type does not show it",
            "attach the group to a container, or the device to an IOAS"),
    /** Exists only on AMD hosts. */
    INHIBITED(
            "KVM inhibits AVIC for this VM",
            "avic_pi_update_irte() and avic_refresh_apicv_exec_ctrl()",
            "the last inhibits= of the tracepoint kvm_apicv_inhibit_changed; kvm_pi_irte_update says \"enabled\""
                    + " nevertheless",
            "end every reason in inhibits=; kvmirq decide --inhibit REASON shows how");

    private final String text;
    private final String decidedBy;
    private final String seen;
    private final String remedy;

    PostingObstacle(String text, String decidedBy, String seen, String remedy) {
        this.text = text;
        this.decidedBy = decidedBy;
        this.seen = seen;
        this.remedy = remedy;
    }

    /** The obstacle as a clause, such as "KVM does not post device interrupts". */
    public String text() {
        return text;
    }

    /** The kernel function that checks for the obstacle. */
    public String decidedBy() {
        return decidedBy;
    }

    /** Files, messages or tools that show the obstacle to root. */
    public String seen() {
        return seen;
    }

    /**
     * The general remedy. {@link io.kvmirq.arch.apic.model.PostingDecision.Unposted} has the remedy for one interrupt.
     */
    public String remedy() {
        return remedy;
    }
}
