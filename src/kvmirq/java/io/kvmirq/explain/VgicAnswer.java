/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.like;
import static io.kvmirq.explain.Row.refusal;
import static io.kvmirq.explain.Text.*;

/** Refusals and behaviours of the arm64 VGIC and ITS. Source: arch/arm64/kvm/vgic. */
public enum VgicAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // The device
    GICV2_SECOND(refusal(LAB, IRQCHIP_CREATE, EEXIST, "the VM has a VGIC already",
        "which code created it: on arm64, KVM_CREATE_IRQCHIP creates a GICv2, as KVM_CREATE_DEVICE does",
        "vgic-init.c kvm_vgic_create()").needs(ARM64)),
    GICV2_VCPUS(refusal(LAB, VCPU_CREATE, EINVAL, "with a GICv2 in the VM or the host: a ninth vCPU, or an id above 7",
        "KVM_CAP_MAX_VCPUS of the VM, and the type of its VGIC",
        "arm.c kvm_arch_vcpu_precreate()").needs(ARM64, GICV2)),
    VGIC_SECOND(refusal(LAB, DEVICE_CREATE, EEXIST,
        "the VM has a VGIC, and closing its descriptor does not remove it",
        "which code created it", "vgic-init.c kvm_vgic_create()").needs(ARM64)),
    VGIC_VCPU_RAN(refusal(UNTESTED, DEVICE_CREATE, EBUSY, "a vCPU of the VM runs, or has run",
        "the order: create the VGIC before the first KVM_RUN",
        "vgic-init.c kvm_vgic_create()").needs(ARM64, VGIC_DEVICE)),
    VGIC_VCPUS(refusal(UNTESTED, DEVICE_CREATE, E2BIG, "the VM has more vCPUs than the GIC can serve: a GICv2 serves 8",
        "the number of vCPUs", "vgic-init.c kvm_vgic_create()").needs(ARM64, VGIC_DEVICE)),
    VGIC_RUN_WITHOUT_PLACE(refusal(UNTESTED, VCPU_RUN, ENXIO, "an address of the VGIC is not set",
        "the distributor, and the redistributors of a GICv3 or the CPU interface of a GICv2; " + DEAD,
        "vgic-v2.c vgic_v2_map_resources(), vgic-v3.c vgic_v3_map_resources()").needs(ARM64, VGIC)),
    VGIC_RUN_OVERLAP(refusal(UNTESTED, VCPU_RUN, EINVAL, "addresses of the VGIC overlap",
        "all addresses of the VGIC; " + DEAD,
        "vgic-v2.c vgic_v2_check_base(), vgic-v3.c vgic_v3_check_base()").needs(ARM64, VGIC)),
    VGIC_RUN_BEFORE_INIT(refusal(UNTESTED, VCPU_RUN, EBUSY, "the GICv3 is not initialized",
        "KVM_DEV_ARM_VGIC_CTRL_INIT before the first KVM_RUN; " + DEAD,
        "vgic-v3.c vgic_v3_map_resources()").needs(ARM64, VGIC, GICV3)),

    // VGIC attributes
    ARM_VCPU_REDISTRIBUTOR(refusal(UNTESTED, VCPU_CREATE, EINVAL, "the vCPU's redistributor would overlap the distributor",
        "all addresses of the VGIC", "vgic-mmio-v3.c vgic_register_redist_iodev()").needs(ARM64, VGIC, GICV3)),
    VGIC_REGION_GROWN(refusal(SOURCE, VCPU_CREATE, EINVAL, "the single region of redistributors, which grows with the"
        + " vCPUs, ends beyond the VM's addresses", "its address, and 128 KiB for each vCPU that exists",
        "vgic-v3.c vgic_v3_check_base()").needs(ARM64, VGIC, GICV3)),
    VGIC_ATTRIBUTE(refusal(LAB, ATTRIBUTE, ENXIO,
        "the VGIC does not have this group or attribute: those of GICv2 and GICv3 differ",
        "group and attr", "vgic-kvm-device.c vgic_v3_has_attr(), vgic_v2_has_attr()")
        .also(VGIC_ADDRESS, KernelCall.VGIC_INTERRUPTS, KernelCall.VGIC_CONTROL, VGIC_REGISTER)
        .needs(ARM64, GICV2, GICV3).unless(Condition.KVM_VFIO)),
    VGIC_PLACE_SET(refusal(LAB, VGIC_ADDRESS, EEXIST, "this address was set already", "KVM_GET_DEVICE_ATTR of it",
        "vgic-kvm-device.c vgic_check_iorange()").needs(ARM64)),
    VGIC_PLACE_ALIGNMENT(refusal(LAB, VGIC_ADDRESS, EINVAL,
        "an address is a multiple of 64 KiB (GICv2: 4 KiB), and its range does not wrap",
        "the address", "vgic-kvm-device.c vgic_check_iorange()").needs(ARM64).unless(TYPED_CALL)),
    VGIC_PLACE_BEYOND(refusal(LAB, VGIC_ADDRESS, E2BIG, "the range is beyond the VM's addresses",
        "the address against the VM's IPA size", "vgic-kvm-device.c vgic_check_iorange()").needs(ARM64)),
    VGIC_REGION_WORD(refusal(LAB, VGIC_REGION, EINVAL, "a region has at least one redistributor, and no flags",
        "count in bits 63:52, base, index in 11:0",
        "vgic-kvm-device.c kvm_vgic_addr()").needs(ARM64).unless(TYPED_CALL)),
    VGIC_REGION_INDEX(refusal(LAB, VGIC_REGION, EINVAL,
        "regions are set in index order, and KVM_VGIC_V3_ADDR_TYPE_REDIST not after one",
        "the index", "vgic-mmio-v3.c vgic_v3_alloc_redist_region()").needs(ARM64)),
    VGIC_REGION_OVERLAP(refusal(LAB, VGIC_REGION, EINVAL, "redistributors overlap others or the distributor",
        "all addresses of the VGIC",
        "vgic-mmio-v3.c vgic_v3_alloc_redist_region()").needs(ARM64).or(ARM_VCPU_REDISTRIBUTOR.row)),
    VGIC_NO_REGION(refusal(LAB, VGIC_REGION, ENOENT, "no region has that index", "the index in bits 11:0",
        "vgic-kvm-device.c kvm_vgic_addr()").needs(ARM64)),
    VGIC_INTERRUPTS(refusal(LAB, KernelCall.VGIC_INTERRUPTS, EINVAL, "interrupts are 64 to 992, a multiple of 32",
        "the number, SGIs and PPIs included",
        "vgic-kvm-device.c KVM_DEV_ARM_VGIC_GRP_NR_IRQS").needs(ARM64).unless(TYPED_CALL)),
    VGIC_INTERRUPTS_SET(refusal(LAB, KernelCall.VGIC_INTERRUPTS, EBUSY,
        "the number of interrupts is set already, by init at the latest",
        "the order: number, vCPUs, init", "vgic-kvm-device.c KVM_DEV_ARM_VGIC_GRP_NR_IRQS").needs(ARM64)),
    VGIC_INIT_CREATING(refusal(UNTESTED, KernelCall.VGIC_CONTROL, EBUSY,
        "KVM_DEV_ARM_VGIC_CTRL_INIT was called while a vCPU was being created",
        "the order: vCPUs, init", "vgic-init.c vgic_init()").needs(ARM64)),
    VGIC_SAVE_RUNNING(refusal(UNTESTED, KernelCall.VGIC_CONTROL, EBUSY,
        "KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES was called while a vCPU was running",
        "all vCPUs must have left KVM_RUN", "vgic-kvm-device.c vgic_v3_set_attr()").needs(ARM64)),
    VGIC_SAVE_BEFORE_INIT(refusal(SOURCE, KernelCall.VGIC_CONTROL, ENXIO, "before init there is nothing to save",
        "KVM_DEV_ARM_VGIC_CTRL_INIT first", "vgic-v3.c vgic_v3_save_pending_tables()").needs(ARM64)),
    VGIC_SAVE_MEMORY(refusal(SOURCE, KernelCall.VGIC_CONTROL, EFAULT,
        "a vCPU's pending table lies outside guest memory",
        "GICR_PENDBASER of each vCPU and the memory slots", "vgic-v3.c vgic_v3_save_pending_tables()").needs(ARM64)),
    VGIC_DEFAULT_ROUTES(behaviour(LAB, "init replaces the routes: GSI 0 goes to SPI 32, GSI 1 to SPI 33, and so on",
        "vgic-irqfd.c kvm_vgic_setup_default_irq_routing()")),
    VGIC_NO_VCPU(refusal(LAB, VGIC_REGISTER, EINVAL, "no vCPU has that affinity, or with a GICv2 that id",
        "bits 63:32 of attr", "vgic-kvm-device.c vgic_v3_parse_attr()").needs(ARM64)),
    VGIC_REGISTER_BEFORE_INIT(refusal(LAB, VGIC_REGISTER, EBUSY, "most registers are accessible only after init",
        "KVM_DEV_ARM_VGIC_CTRL_INIT first", "vgic-kvm-device.c vgic_v3_attr_regs_access()").needs(ARM64)),
    VGIC_IDENTIFICATION(refusal(LAB, VGIC_REGISTER, EINVAL,
        "GICD_IIDR or GICD_TYPER2 is restored with another VGIC's value", "what a read returns: only the revision,"
        + " bits 15:12 of GICD_IIDR, may differ, and is 2 or 3", "vgic-mmio-v3.c vgic_mmio_uaccess_write_v3_misc()").needs(ARM64)),
    GICD_TYPER2_AFTER_INIT(refusal(SOURCE, VGIC_REGISTER, EBUSY, "since 6.17 GICD_TYPER2 changes only before init",
        "whether it is written before init", "vgic-mmio-v3.c vgic_mmio_uaccess_write_v3_misc()").needs(ARM64)),
    VGIC_NO_SYSTEM_REGISTER(refusal(SOURCE, VGIC_SYSTEM_REGISTER, ENOENT,
        "the CPU interface has no system register with that id",
        "bits 15:0 of attr: Op0, Op1, CRn, CRm, Op2", "vgic-sys-reg-v3.c vgic_v3_cpu_sysregs_uaccess()").needs(ARM64)),
    VGIC_SYSTEM_REGISTER_VALUE(refusal(SOURCE, VGIC_SYSTEM_REGISTER, EINVAL,
        "the host's CPU interface cannot have that register or value", "priority and id bits of ICC_CTLR_EL1, the SRE"
        + " bit of ICC_SRE_EL1, and the number of ICC_AP0Rn_EL1", "vgic-sys-reg-v3.c set_gic_ctlr()").needs(ARM64)),
    VGIC_LEVEL_INFO(refusal(LAB, VGIC_REGISTER, EINVAL, "levels are read starting at a multiple of 32", "bits 9:0 of attr",
        "vgic-mmio-v3.c vgic_v3_line_level_info_uaccess()").needs(ARM64).unless(TYPED_CALL)),
    VGIC_RUNNING(refusal(UNTESTED, VGIC_REGISTER, EBUSY, "a vCPU is running", "all vCPUs must have left KVM_RUN",
        "vgic-kvm-device.c vgic_v3_attr_regs_access(), vgic-its.c vgic_its_ctrl(),"
        + " vgic_its_attr_regs_access()").also(KernelCall.ITS_CONTROL, KernelCall.ITS_REGISTER).needs(ARM64)),
    VGIC_PENDING_IS_LATCHED(behaviour(LAB,
        "a VMM access to ISPENDR reads or replaces the latch of edges; ICPENDR reads 0, writes do nothing",
        "vgic-mmio.c __read_pending()")),

    VGIC_REVISION(behaviour(LAB, "a VMM may restore GICD_IIDR with revision 2, and GICR_CTLR then has neither IR nor"
        + " CES; kernels before May 2026 stay at 3", "vgic-mmio-v3.c vgic_mmio_uaccess_write_v3_misc()")),

    // Delivery
    VGIC_CONTROL(behaviour(SOURCE, "while GICD_CTLR.EnableGrp1 is 0, interrupts become pending, but no guest takes one",
        "vgic.c vgic_target_oracle()")),
    VGIC_MASK(behaviour(SOURCE,
        "a vCPU takes interrupts of group 1 while its ICC_IGRPEN1_EL1 is 1 and their priority is below ICC_PMR_EL1",
        "vgic.c kvm_vgic_vcpu_pending_irq() checks ICC_PMR_EL1, hardware checks ICC_IGRPEN1_EL1: ARM IHI 0069")),
    VGIC_LEVEL_LATCH(behaviour(SOURCE, "a level's latch, which only ISPENDR sets, is cleared when the interrupt ends,"
        + " not when the guest takes it", "vgic-v3.c vgic_v3_fold_lr_state()")),
    VGIC_QUEUED_ONCE(behaviour(SOURCE, "an interrupt that is signalled while the distributor is disabled, or routed to"
        + " no vCPU, waits for its next signal or write", "vgic.c vgic_queue_irq_unlock()")),
    VGIC_EDGE(behaviour(LAB, "a rising edge is latched, a falling is not; SPIs start as edges",
        "vgic.c kvm_vgic_inject_irq()")),
    VGIC_LEVEL(behaviour(LAB, "a level follows the last value that any source set on its line",
        "vgic.c kvm_vgic_inject_irq()")),

    // GICv2
    GICV2_INITIALIZED_BY_USE(behaviour(LAB, "the first use of a line or register initializes a GICv2",
        "vgic-init.c vgic_lazy_init()")),
    GICV2_PENDING(behaviour(LAB, "a GICv2's ISPENDR and ICPENDR also show high level lines, a 0 that is"
        + " written changes nothing, and an SGI made pending has its own vCPU as source",
        "vgic-mmio.c vgic_uaccess_write_spending()")),
    GICV2_GROUPS(behaviour(LAB, "a VMM can write the groups of a GICv2 only after it has written GICD_IIDR",
        "vgic-mmio-v2.c vgic_mmio_uaccess_write_v2_group()")),
    GICV2_OWN_TARGET(behaviour(LAB,
        "the target of a private interrupt is the vCPU's place in creation order, and since 6.14 its id",
        "vgic-init.c vgic_allocate_private_irqs_locked()")),
    GICV2_CPU_INTERFACE(behaviour(LAB,
        "a CPU interface keeps the bits that GICH_VMCR has; GICC_PMR keeps those of VMPriMask",
        "vgic-mmio-v2.c vgic_mmio_write_vcpuif()")),
    GICV2_MASK(behaviour(SOURCE, "a vCPU takes an interrupt while its GICC_CTLR enables the group and the priority is"
        + " below GICC_PMR; GICC_IAR reads 1022 for group 1 while AckCtl is 0", "ARM IHI 0048 GICV_IAR")),

    // ITS
    ITS_TABLES_MEMORY(refusal(UNTESTED, ITS_CONTROL, EFAULT, "the tables lie outside guest memory",
        "GITS_BASER and the memory slots", "vgic-its.c vgic_its_save_tables_v0()").needs(ARM64)),
    ITS_TABLES_HARDWARE(refusal(UNTESTED, ITS_CONTROL, EACCES,
        "the state is in a physical GICv4, from which KVM cannot read it",
        "whether the host has GICv4.1; unforward the interrupts first", "vgic-its.c vgic_its_save_itt()").needs(ARM64)),
    ITS_ATTRIBUTE(refusal(LAB, ATTRIBUTE, ENXIO, "an ITS does not have this group or attribute", "group and attr",
        "vgic-its.c vgic_its_has_attr()").also(KernelCall.ITS_CONTROL, KernelCall.ITS_REGISTER).needs(ARM64)
        .unless(Condition.KVM_VFIO)),
    ITS_CONTROL_UNKNOWN(like(SOURCE, ITS_ATTRIBUTE.row)),
    ITS_PLACE_TYPE(refusal(LAB, ITS_ADDRESS, ENODEV, "the type is not KVM_VGIC_ITS_ADDR_TYPE", "attr",
        "vgic-its.c vgic_its_set_attr()").needs(ARM64).unless(TYPED_CALL)),
    ITS_REGISTER_ALIGNMENT(refusal(LAB, ITS_REGISTER, EINVAL, "not aligned to the register's size",
        "attr, the register's offset", "vgic-its.c vgic_its_attr_regs_access()").needs(ARM64).unless(TYPED_CALL)),
    ITS_NO_REGISTER(refusal(LAB, ITS_REGISTER, ENXIO, "no such register, or the ITS has no address yet",
        "attr, and KVM_DEV_ARM_VGIC_GRP_ADDR first", "vgic-its.c vgic_its_attr_regs_access()").needs(ARM64)),
    ITS_TABLES_CONTRADICT(refusal(LAB, ITS_CONTROL, EINVAL,
        "an entry of the tables in guest memory names a collection, LPI or vCPU that does not exist",
        "the tables, and the registers, which are restored first", "vgic-its.c vgic_its_restore_ite()").needs(ARM64)),
    ITS_COLLECTION_EXISTS(refusal(LAB, ITS_CONTROL, EEXIST, "a collection of the table exists already",
        "whether the ITS was reset before its tables were restored", "vgic-its.c vgic_its_restore_cte()").needs(ARM64)),
    ITS_TABLES_VLPI(refusal(SOURCE, ITS_CONTROL, EACCES,
        "an LPI is a vLPI of GICv4.0, and KVM cannot read whether it is pending",
        "deassign the irqfds before the tables are saved", "vgic-its.c vgic_its_save_itt()").needs(ARM64)),
    ITS_VERSION(refusal(LAB, ITS_IIDR, EINVAL,
        "GITS_IIDR names a version of the tables that this kernel does not have", "bits 15:12 of GITS_IIDR; 0 is the"
        + " only version", "vgic-its.c vgic_mmio_uaccess_write_its_iidr()").needs(ARM64)),
    ITS_READER_ENABLED(refusal(LAB, ITS_CREADR, EBUSY, "GITS_CREADR cannot be set while the ITS is enabled",
        "the order: GITS_CREADR before GITS_CTLR", "vgic-its.c vgic_mmio_uaccess_write_its_creadr()").needs(ARM64)),
    ITS_READER_BEYOND(refusal(LAB, ITS_CREADR, EINVAL, "GITS_CREADR is beyond the command queue",
        "the value, and the size in GITS_CBASER, which comes first",
        "vgic-its.c vgic_mmio_uaccess_write_its_creadr()").needs(ARM64)),
    ITS_CONTROL_IGNORED(behaviour(LAB, "before 6.17 an unknown control attribute does nothing and returns 0",
        "vgic-its.c vgic_its_ctrl()")),
    ITS_TARGET(behaviour(LAB, "the target of a collection is a vCPU's index before 6.7, and its id since then",
        "vgic-its.c vgic_its_cmd_handle_mapc()")),
    ITS_COMMANDS(behaviour(LAB,
        "a write to GITS_CWRITER, or one that enables the ITS, processes the queued commands",
        "vgic-its.c vgic_its_process_commands()")),
    ITS_TABLES(behaviour(LAB,
        "saving writes the devices, events and collections of an ITS to guest memory, restoring reads them",
        "vgic-its.c vgic_its_save_tables_v0()")),
    VGIC_LPI_TABLES(behaviour(SOURCE,
        "enabled LPIs take their pending bits from the guest's table; saving writes them there",
        "vgic-v3.c vgic_v3_save_pending_tables()")),

    // GICv4 vLPIs
    VLPI_MADE(behaviour(SOURCE,
        "with GICv4, connecting an irqfd to a device's vector makes the LPI of its route a vLPI",
        "vgic-v4.c kvm_vgic_v4_set_forwarding()")),
    VLPI_NOT_MADE(behaviour(SOURCE,
        "if GICv4, the device id, an ITS at the doorbell or a mapped event is missing, KVM delivers the LPI,"
        + " and no call reports it",
        "vgic-v4.c kvm_vgic_v4_set_forwarding()")),
    VLPI_NOT_CONNECTED_BEFORE(behaviour(SOURCE,
        "before 6.16 an irqfd whose event is not mapped is not connected: register the one that came second again",
        "vgic-v4.c kvm_vgic_v4_set_forwarding()")),
    VLPI_ENDS_WITH_ROUTE(behaviour(SOURCE,
        "since 6.16 a changed route ends the vLPI, until the irqfd or the vector is registered again",
        "arm.c kvm_arch_update_irqfd_routing()")),
    VLPI_STAYS_BEFORE(behaviour(SOURCE, "before 6.16 a changed route leaves the LPI of the old one a vLPI",
        "vgic-v4.c")),
    VLPI_WARNS(behaviour(SOURCE, "the kernel logs a warning when it finds an LPI that is not the vLPI it expects",
        "vgic-v4.c kvm_vgic_v4_unset_forwarding()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    VgicAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
