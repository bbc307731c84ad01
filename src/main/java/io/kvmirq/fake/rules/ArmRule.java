/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import static io.kvmirq.fake.rules.Grade.LAB;
import static io.kvmirq.fake.rules.Grade.SOURCE;

import io.kvmirq.explain.ArmCause;
import io.kvmirq.explain.Cause;
import io.kvmirq.explain.VgicCause;
import io.kvmirq.explain.VmCause;

/**
 * Rules of KVM on arm64. The lab is Debian's 6.1 and 6.12 on a machine with GICv3 only, so a change is dated between
 * these two. The rules of a GICv2 were seen on 6.1, 6.12 and 7.2 on a machine with one.
 */
public enum ArmRule implements KernelRule {
    ARM_VM_TYPE(LAB, ArmCause.ARM_VM_TYPE),
    ARM_MSI_DEVID_OF_VM(LAB, ArmCause.ARM_MSI_DEVID_OF_VM),
    ARM_VM_UNKNOWN_REQUEST(LAB, ArmCause.ARM_VM_UNKNOWN_REQUEST),
    ARM_VM_ATTRIBUTE(LAB, ArmCause.ARM_VCPU_ATTRIBUTE),
    ARM_CAP_FLAGS(LAB, VmCause.CAP_FLAGS),
    ARM_CAP_UNKNOWN(LAB, ArmCause.ARM_CAP_UNKNOWN),
    ARM_MEMORY_BEYOND(LAB, ArmCause.ARM_MEMORY_BEYOND),
    ARM_VCPU_ID(LAB, ArmCause.ARM_VCPU_ID),
    ARM_VCPU_ID_TRUNCATED(
            LAB, "on 6.1 the upper 32 bits of a vCPU id are ignored", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    ARM_VCPU_AFTER_INIT(LAB, ArmCause.ARM_VCPU_AFTER_INIT),
    ARM_VCPU_TARGET(LAB, ArmCause.ARM_VCPU_TARGET),
    ARM_VCPU_FEATURE(LAB, ArmCause.ARM_VCPU_FEATURE),
    ARM_VCPU_FEATURES_OF_VM(LAB, ArmCause.ARM_VCPU_FEATURES_OF_VM),
    ARM_VCPU_FEATURES_BEFORE(LAB, ArmCause.ARM_VCPU_FEATURES_BEFORE),
    ARM_VCPU_NOT_INITIALIZED(LAB, ArmCause.ARM_VCPU_NOT_INITIALIZED),
    ARM_VCPU_ATTRIBUTE(LAB, ArmCause.ARM_VCPU_ATTRIBUTE),

    ARM_ROUTES_WITHOUT_VGIC(LAB, "routes can be set without a VGIC", "kvm_main.c kvm_arch_can_set_irq_routing()"),
    ARM_ROUTE_PIN(LAB, ArmCause.ARM_ROUTE_PIN),
    ARM_PIN_NOWHERE(
            LAB,
            "a signal to a pin beyond the VGIC's interrupts is lost without an error",
            "vgic-irqfd.c vgic_irqfd_set_irq()"),
    ARM_MESSAGE_LOST(LAB, "a routed message is lost without an ITS that is enabled", "vgic-irqfd.c kvm_set_msi()"),
    ARM_IRQFD_BEFORE_INIT(LAB, ArmCause.ARM_IRQFD_BEFORE_INIT),
    ARM_IRQFD_STAYS_UP(
            LAB, "an irqfd's signal raises a pin and does not lower it", "vgic-irqfd.c kvm_arch_set_irq_inatomic()"),

    ARM_LINE_KIND(LAB, ArmCause.ARM_LINE_KIND),
    ARM_LINE_HAS_VGIC(LAB, ArmCause.ARM_LINE_HAS_VGIC),
    ARM_LINE_NEEDS_VGIC(LAB, ArmCause.ARM_LINE_NEEDS_VGIC),
    ARM_LINE_NUMBER(LAB, ArmCause.ARM_LINE_NUMBER),
    ARM_LINE_BEFORE_INIT(LAB, ArmCause.ARM_LINE_BEFORE_INIT),
    ARM_LINE_VCPU_BY_INDEX(LAB, "on 6.1 the line names a vCPU by creation order", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_VCPU_TWICE(LAB, ArmCause.ARM_LINE_VCPU_TWICE),
    ARM_LINE_NO_STATUS(LAB, "KVM_IRQ_LINE_STATUS returns its argument unchanged", "kvm_main.c KVM_IRQ_LINE_STATUS"),
    ARM_MSI_NEEDS_VGIC(LAB, ArmCause.ARM_MSI_NEEDS_VGIC),
    ARM_MSI_NEEDS_ITS(LAB, ArmCause.ARM_MSI_NEEDS_ITS),
    ARM_MSI_NEEDS_DEVICE(LAB, ArmCause.ARM_MSI_NEEDS_DEVICE),
    ARM_MSI_DOORBELL(LAB, ArmCause.ARM_MSI_DOORBELL),
    ARM_MSI_ITS_OFF(LAB, ArmCause.ARM_MSI_ITS_OFF),
    ARM_MSI_UNMAPPED(SOURCE, "a message whose event is not mapped returns 0", "vgic-its.c vgic_its_inject_msi()"),

    ARM_DEVICE_TYPE(LAB, ArmCause.ARM_DEVICE_TYPE),
    ARM_NO_GICV2(LAB, ArmCause.ARM_NO_GICV2),
    GICV2_SECOND(LAB, ArmCause.ARM_IRQCHIP_EXISTS),
    GICV2_VCPUS(LAB, ArmCause.ARM_VCPU_GICV2),
    GICV2_INITIALIZED_BY_USE(
            LAB, "the first line or register of a GICv2 initialises it", "vgic-init.c vgic_lazy_init()"),
    GICV2_PENDING(
            LAB,
            "ISPENDR and ICPENDR of a GICv2 have the high lines of levels too, a 0 that is written changes nothing, and"
                    + " an SGI made pending has its own vCPU as source",
            "vgic-mmio.c vgic_uaccess_write_spending()"),
    GICV2_GROUPS(
            LAB,
            "a VMM can write the groups of a GICv2 only after it has written GICD_IIDR",
            "vgic-mmio-v2.c vgic_mmio_uaccess_write_v2_group()"),
    GICV2_OWN_TARGET(
            LAB,
            "the target of a private interrupt is the vCPU's place in creation order, and since 6.14 its id",
            "vgic-init.c vgic_allocate_private_irqs_locked()"),
    GICV2_CPU_INTERFACE(
            LAB,
            "a CPU interface keeps the bits that GICH_VMCR has; GICC_PMR has those of its VMPriMask",
            "vgic-mmio-v2.c vgic_mmio_write_vcpuif()"),
    GICV2_MASK(
            SOURCE,
            "a vCPU takes an interrupt while its GICC_CTLR enables the group and the priority is below GICC_PMR;"
                    + " GICC_IAR answers 1022 for group 1 while AckCtl is 0",
            "ARM IHI 0048 GICV_IAR"),
    VGIC_SECOND(LAB, VgicCause.VGIC_SECOND),
    VGIC_ATTRIBUTE(LAB, VgicCause.VGIC_ATTRIBUTE),
    VGIC_PLACE_SET(LAB, VgicCause.VGIC_PLACE_SET),
    VGIC_PLACE_ALIGNMENT(LAB, VgicCause.VGIC_PLACE_ALIGNMENT),
    VGIC_PLACE_BEYOND(LAB, VgicCause.VGIC_PLACE_BEYOND),
    VGIC_REGION_WORD(LAB, VgicCause.VGIC_REGION_WORD),
    VGIC_REGION_INDEX(LAB, VgicCause.VGIC_REGION_INDEX),
    VGIC_REGION_OVERLAP(LAB, VgicCause.VGIC_REGION_OVERLAP, ArmCause.ARM_VCPU_REDISTRIBUTOR),
    VGIC_REGION_GROWN(SOURCE, ArmCause.ARM_VCPU_REGION_GROWN),
    VGIC_NO_REGION(LAB, VgicCause.VGIC_NO_REGION),
    VGIC_INTERRUPTS(LAB, VgicCause.VGIC_INTERRUPTS),
    VGIC_INTERRUPTS_SET(LAB, VgicCause.VGIC_INTERRUPTS_SET),
    VGIC_DEFAULT_ROUTES(
            LAB,
            "init replaces the routes: GSI 0 goes to SPI 32, GSI 1 to SPI 33, and so on",
            "vgic-irqfd.c kvm_vgic_setup_default_irq_routing()"),
    VGIC_NO_VCPU(LAB, VgicCause.VGIC_NO_VCPU),
    VGIC_REGISTER_BEFORE_INIT(LAB, VgicCause.VGIC_REGISTER_BEFORE_INIT),
    VGIC_SAVE_BEFORE_INIT(SOURCE, VgicCause.VGIC_SAVE_BEFORE_INIT),
    VGIC_SAVE_MEMORY(SOURCE, VgicCause.VGIC_SAVE_MEMORY),
    VGIC_PENDING_IS_LATCHED(
            LAB,
            "an access of the VMM to ISPENDR reads or replaces the latch of edges; ICPENDR reads 0, writes do nothing",
            "vgic-mmio.c __read_pending()"),
    VGIC_IDENTIFICATION(SOURCE, VgicCause.VGIC_IDENTIFICATION),
    VGIC_CONTROL(
            SOURCE,
            "while GICD_CTLR.EnableGrp1 is 0, interrupts become pending and no guest takes one",
            "vgic.c vgic_target_oracle()"),
    VGIC_MASK(
            SOURCE,
            "a vCPU takes interrupts of group 1 while its ICC_IGRPEN1_EL1 is 1 and their priority is below ICC_PMR_EL1",
            "vgic.c kvm_vgic_vcpu_pending_irq() checks ICC_PMR_EL1, hardware checks ICC_IGRPEN1_EL1: ARM IHI 0069"),
    VGIC_LEVEL_LATCH(
            SOURCE,
            "the latch of a level, which only ISPENDR sets, is cleared at the end of the interrupt, and not when the guest"
                    + " takes it",
            "vgic-v3.c vgic_v3_fold_lr_state()"),
    VGIC_QUEUED_ONCE(
            SOURCE,
            "an interrupt that is signalled while the distributor is disabled, or routed to no vCPU, waits for its next"
                    + " signal or write",
            "vgic.c vgic_queue_irq_unlock()"),
    VGIC_NO_SYSTEM_REGISTER(SOURCE, VgicCause.VGIC_NO_SYSTEM_REGISTER),
    VGIC_SYSTEM_REGISTER_VALUE(SOURCE, VgicCause.VGIC_SYSTEM_REGISTER_VALUE),
    VGIC_LEVEL_INFO(LAB, VgicCause.VGIC_LEVEL_INFO),
    VGIC_EDGE(LAB, "a rising edge is latched, a falling is not; SPIs start as edges", "vgic.c kvm_vgic_inject_irq()"),
    VGIC_LEVEL(LAB, "a level follows the last value that any source gave its line", "vgic.c kvm_vgic_inject_irq()"),

    ITS_ATTRIBUTE(LAB, VgicCause.ITS_ATTRIBUTE),
    ITS_PLACE_TYPE(LAB, VgicCause.ITS_PLACE_TYPE),
    ITS_CONTROL_IGNORED(
            LAB, "before 6.17 an unknown control attribute does nothing and returns 0", "vgic-its.c vgic_its_ctrl()"),
    ITS_CONTROL_UNKNOWN(SOURCE, VgicCause.ITS_ATTRIBUTE),
    ITS_REGISTER_ALIGNMENT(LAB, VgicCause.ITS_REGISTER_ALIGNMENT),
    ITS_NO_REGISTER(LAB, VgicCause.ITS_NO_REGISTER),
    ITS_TARGET(
            SOURCE,
            "the target of a collection is a vCPU's index before 6.7, and its id since then",
            "vgic-its.c vgic_its_cmd_handle_mapc()"),
    ITS_COMMANDS(
            SOURCE,
            "a write to GITS_CWRITER, or one that enables the ITS, handles the commands that wait",
            "vgic-its.c vgic_its_process_commands()"),
    ITS_TABLES(
            SOURCE,
            "saving writes the devices, events and collections of an ITS to guest memory, restoring reads them",
            "vgic-its.c vgic_its_save_tables_v0()"),
    ITS_TABLES_CONTRADICT(SOURCE, VgicCause.ITS_TABLES_CONTRADICT),
    ITS_COLLECTION_EXISTS(SOURCE, VgicCause.ITS_COLLECTION_EXISTS),
    ITS_VERSION(SOURCE, VgicCause.ITS_VERSION),
    ITS_READER_ENABLED(SOURCE, VgicCause.ITS_READER_ENABLED),
    ITS_READER_BEYOND(SOURCE, VgicCause.ITS_READER_BEYOND),
    VGIC_LPI_TABLES(
            SOURCE,
            "enabled LPIs take their pending bits from the guest's table; saving writes them there",
            "vgic-v3.c vgic_v3_save_pending_tables()"),
    ITS_TABLES_VLPI(SOURCE, VgicCause.ITS_TABLES_VLPI),
    VLPI_MADE(
            SOURCE,
            "with GICv4, an irqfd that meets the vector of a device makes the LPI of its route a vLPI",
            "vgic-v4.c kvm_vgic_v4_set_forwarding()"),
    VLPI_NOT_MADE(
            SOURCE,
            "without GICv4, a device id, an ITS at the doorbell or a mapped event the LPI is KVM's, and no call says so",
            "vgic-v4.c kvm_vgic_v4_set_forwarding()"),
    VLPI_NOT_CONNECTED_BEFORE(
            SOURCE,
            "before 6.16 an irqfd whose event is not mapped is not connected: register the one that came second again",
            "vgic-v4.c kvm_vgic_v4_set_forwarding()"),
    VLPI_ENDS_WITH_ROUTE(
            SOURCE,
            "since 6.16 a changed route ends the vLPI, until the irqfd or the vector is registered again",
            "arm.c kvm_arch_update_irqfd_routing()"),
    VLPI_STAYS_BEFORE(SOURCE, "before 6.16 a changed route leaves the LPI of the old one a vLPI", "vgic-v4.c"),
    VLPI_WARNS(
            SOURCE,
            "the kernel logs a warning when it finds an LPI that is not the vLPI it expects",
            "vgic-v4.c kvm_vgic_v4_unset_forwarding()");

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Decision decision;

    ArmRule(Grade grade, String text, String source) {
        decision = new Decision(grade, text, source);
    }

    ArmRule(Grade grade, Cause cause, Cause... more) {
        decision = new Decision(grade, cause, more);
    }

    @Override
    public Decision decision() {
        return decision;
    }
}
