/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Fact.ARM64;
import static io.kvmirq.explain.Fact.GICV3;
import static io.kvmirq.explain.Fact.TYPED_CALL;
import static io.kvmirq.explain.Fact.VGIC;
import static io.kvmirq.explain.Fact.VGIC_DEVICE;

import io.kvmirq.Errno;

/** Of the VGIC and the ITS of arm64: arch/arm64/kvm/vgic. */
public enum VgicCause implements Cause {
    VGIC_SECOND(refusal(
                    KernelCall.DEVICE_CREATE,
                    Errno.EEXIST,
                    "the VM has a VGIC, and closing its descriptor does not take it away",
                    "who made it",
                    "vgic-init.c kvm_vgic_create()")
            .needs(ARM64)),
    VGIC_VCPU_RAN(refusal(
                    KernelCall.DEVICE_CREATE,
                    Errno.EBUSY,
                    "a vCPU of the VM runs, or has run",
                    "the order: create the VGIC before the first KVM_RUN",
                    "vgic-init.c kvm_vgic_create()")
            .needs(ARM64, VGIC_DEVICE)),
    VGIC_VCPUS(refusal(
                    KernelCall.DEVICE_CREATE,
                    Errno.E2BIG,
                    "the VM has more vCPUs than the GIC can serve: a GICv2 serves 8",
                    "the number of vCPUs",
                    "vgic-init.c kvm_vgic_create()")
            .needs(ARM64, VGIC_DEVICE)),
    VGIC_RUN_WITHOUT_PLACE(refusal(
                    KernelCall.VCPU_RUN,
                    Errno.ENXIO,
                    "an address of the VGIC is not set",
                    "the distributor, and the redistributors of a GICv3 or the CPU interface of a GICv2; " + Text.DEAD,
                    "vgic-v2.c vgic_v2_map_resources(), vgic-v3.c vgic_v3_map_resources()")
            .needs(ARM64, VGIC)),
    VGIC_RUN_OVERLAP(refusal(
                    KernelCall.VCPU_RUN,
                    Errno.EINVAL,
                    "addresses of the VGIC overlap",
                    "all addresses of the VGIC; " + Text.DEAD,
                    "vgic-v2.c vgic_v2_check_base(), vgic-v3.c vgic_v3_check_base()")
            .needs(ARM64, VGIC)),
    VGIC_RUN_BEFORE_INIT(refusal(
                    KernelCall.VCPU_RUN,
                    Errno.EBUSY,
                    "the GICv3 is not initialised",
                    "KVM_DEV_ARM_VGIC_CTRL_INIT before the first KVM_RUN; " + Text.DEAD,
                    "vgic-v3.c vgic_v3_map_resources()")
            .needs(ARM64, VGIC, GICV3)),
    VGIC_ATTRIBUTE(refusal(
                    KernelCall.ATTRIBUTE,
                    Errno.ENXIO,
                    "the VGIC does not have this group or attribute: a GICv2 has others than a GICv3",
                    "group and attr",
                    "vgic-kvm-device.c vgic_v3_has_attr(), vgic_v2_has_attr()")
            .needs(ARM64)),
    VGIC_PLACE_SET(refusal(
                    KernelCall.VGIC_ADDRESS,
                    Errno.EEXIST,
                    "this place was set already",
                    "KVM_GET_DEVICE_ATTR of it",
                    "vgic-kvm-device.c vgic_check_iorange()")
            .needs(ARM64)),
    VGIC_PLACE_ALIGNMENT(refusal(
                    KernelCall.VGIC_ADDRESS,
                    Errno.EINVAL,
                    "a place is a multiple of 64 KiB, of a GICv2 of 4 KiB, and does not wrap",
                    "the address",
                    "vgic-kvm-device.c vgic_check_iorange()")
            .needs(ARM64)
            .unless(TYPED_CALL)),
    VGIC_PLACE_BEYOND(refusal(
                    KernelCall.VGIC_ADDRESS,
                    Errno.E2BIG,
                    "the place is beyond the VM's addresses",
                    "the address against the VM's IPA size",
                    "vgic-kvm-device.c vgic_check_iorange()")
            .needs(ARM64)),
    VGIC_REGION_WORD(refusal(
                    KernelCall.VGIC_REGION,
                    Errno.EINVAL,
                    "a redistributor region has at least one, and no flags",
                    "count in bits 63:52, base, index in 11:0",
                    "vgic-kvm-device.c kvm_vgic_addr()")
            .needs(ARM64)
            .unless(TYPED_CALL)),
    VGIC_REGION_INDEX(refusal(
                    KernelCall.VGIC_REGION,
                    Errno.EINVAL,
                    "regions come in the order of their index, and KVM_VGIC_V3_ADDR_TYPE_REDIST not after one",
                    "the index",
                    "vgic-mmio-v3.c vgic_v3_alloc_redist_region()")
            .needs(ARM64)),
    VGIC_REGION_OVERLAP(refusal(
                    KernelCall.VGIC_REGION,
                    Errno.EINVAL,
                    "redistributors overlap others or the distributor",
                    "all places of the VGIC",
                    "vgic-mmio-v3.c vgic_v3_alloc_redist_region()")
            .needs(ARM64)),
    VGIC_NO_REGION(refusal(
                    KernelCall.VGIC_REGION,
                    Errno.ENOENT,
                    "there is no region of that index",
                    "the index in bits 11:0",
                    "vgic-kvm-device.c kvm_vgic_addr()")
            .needs(ARM64)),
    VGIC_INTERRUPTS(refusal(
                    KernelCall.VGIC_INTERRUPTS,
                    Errno.EINVAL,
                    "interrupts are 64 to 992, a multiple of 32",
                    "the number, SGIs and PPIs included",
                    "vgic-kvm-device.c KVM_DEV_ARM_VGIC_GRP_NR_IRQS")
            .needs(ARM64)
            .unless(TYPED_CALL)),
    VGIC_INTERRUPTS_SET(refusal(
                    KernelCall.VGIC_INTERRUPTS,
                    Errno.EBUSY,
                    "the number of interrupts is set already, by init at the latest",
                    "the order: number, vCPUs, init",
                    "vgic-kvm-device.c KVM_DEV_ARM_VGIC_GRP_NR_IRQS")
            .needs(ARM64)),
    VGIC_NO_VCPU(refusal(
                    KernelCall.VGIC_REGISTER,
                    Errno.EINVAL,
                    "no vCPU has that affinity, or with a GICv2 that id",
                    "bits 63:32 of attr",
                    "vgic-kvm-device.c vgic_v3_parse_attr()")
            .needs(ARM64)),
    VGIC_REGISTER_BEFORE_INIT(refusal(
                    KernelCall.VGIC_REGISTER,
                    Errno.EBUSY,
                    "registers are there after init",
                    "KVM_DEV_ARM_VGIC_CTRL_INIT first",
                    "vgic-kvm-device.c vgic_v3_attr_regs_access()")
            .needs(ARM64)),
    VGIC_IDENTIFICATION(refusal(
                    KernelCall.VGIC_REGISTER,
                    Errno.EINVAL,
                    "GICD_IIDR or GICD_TYPER2 is restored with a value of another VGIC",
                    "what a read gives: only the revision, bits 15:12 of GICD_IIDR, may differ",
                    "vgic-mmio-v3.c vgic_mmio_uaccess_write_v3_misc()")
            .needs(ARM64)),
    VGIC_NO_SYSTEM_REGISTER(refusal(
                    KernelCall.VGIC_SYSTEM_REGISTER,
                    Errno.ENOENT,
                    "the CPU interface has no system register of that id",
                    "bits 15:0 of attr: Op0, Op1, CRn, CRm, Op2",
                    "vgic-sys-reg-v3.c vgic_v3_cpu_sysregs_uaccess()")
            .needs(ARM64)),
    VGIC_SYSTEM_REGISTER_VALUE(refusal(
                    KernelCall.VGIC_SYSTEM_REGISTER,
                    Errno.EINVAL,
                    "the host's CPU interface cannot have that register or value",
                    "priority and id bits of ICC_CTLR_EL1, the SRE bit of ICC_SRE_EL1, and the number of ICC_AP0Rn_EL1",
                    "vgic-sys-reg-v3.c set_gic_ctlr()")
            .needs(ARM64)),
    VGIC_LEVEL_INFO(refusal(
                    KernelCall.VGIC_REGISTER,
                    Errno.EINVAL,
                    "levels are read from a multiple of 32",
                    "bits 9:0 of attr",
                    "vgic-mmio-v3.c vgic_v3_line_level_info_uaccess()")
            .needs(ARM64)
            .unless(TYPED_CALL)),
    VGIC_INIT_CREATING(refusal(
                    KernelCall.VGIC_CONTROL,
                    Errno.EBUSY,
                    "KVM_DEV_ARM_VGIC_CTRL_INIT came while a vCPU is being created",
                    "the order: vCPUs, init",
                    "vgic-init.c vgic_init()")
            .needs(ARM64)),
    VGIC_SAVE_RUNNING(refusal(
                    KernelCall.VGIC_CONTROL,
                    Errno.EBUSY,
                    "KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES came while a vCPU runs",
                    "all vCPUs must have left KVM_RUN",
                    "vgic-kvm-device.c vgic_v3_set_attr()")
            .needs(ARM64)),
    VGIC_SAVE_BEFORE_INIT(refusal(
                    KernelCall.VGIC_CONTROL,
                    Errno.ENXIO,
                    "before init there is nothing to save",
                    "KVM_DEV_ARM_VGIC_CTRL_INIT first",
                    "vgic-v3.c vgic_v3_save_pending_tables()")
            .needs(ARM64)),
    VGIC_SAVE_MEMORY(refusal(
                    KernelCall.VGIC_CONTROL,
                    Errno.EFAULT,
                    "the pending table of a vCPU lies outside the memory of the guest",
                    "GICR_PENDBASER of each vCPU and the memory slots",
                    "vgic-v3.c vgic_v3_save_pending_tables()")
            .needs(ARM64)),
    VGIC_REGISTER_RUNNING(refusal(
                    KernelCall.VGIC_REGISTER,
                    Errno.EBUSY,
                    "a vCPU runs",
                    "all vCPUs must have left KVM_RUN",
                    "vgic-kvm-device.c vgic_v3_attr_regs_access()")
            .needs(ARM64)),
    ITS_CONTROL_RUNNING(refusal(
                    KernelCall.ITS_CONTROL,
                    Errno.EBUSY,
                    "a vCPU runs",
                    "all vCPUs must have left KVM_RUN",
                    "vgic-its.c vgic_its_ctrl()")
            .needs(ARM64)),
    ITS_TABLES_MEMORY(refusal(
                    KernelCall.ITS_CONTROL,
                    Errno.EFAULT,
                    "the tables lie outside the memory of the guest",
                    "GITS_BASER and the memory slots",
                    "vgic-its.c vgic_its_save_tables_v0()")
            .needs(ARM64)),
    ITS_TABLES_HARDWARE(refusal(
                    KernelCall.ITS_CONTROL,
                    Errno.EACCES,
                    "a physical GICv4 holds the state and cannot tell it",
                    "whether the host has GICv4.1; unforward the interrupts first",
                    "vgic-its.c vgic_its_save_itt()")
            .needs(ARM64)),
    ITS_REGISTER_RUNNING(refusal(
                    KernelCall.ITS_REGISTER,
                    Errno.EBUSY,
                    "a vCPU runs",
                    "all vCPUs must have left KVM_RUN",
                    "vgic-its.c vgic_its_attr_regs_access()")
            .needs(ARM64)),
    ITS_ATTRIBUTE(refusal(
                    KernelCall.ATTRIBUTE,
                    Errno.ENXIO,
                    "an ITS does not have this group or attribute",
                    "group and attr",
                    "vgic-its.c vgic_its_has_attr()")
            .needs(ARM64)),
    ITS_PLACE_TYPE(refusal(
                    KernelCall.ITS_ADDRESS,
                    Errno.ENODEV,
                    "the place is not KVM_VGIC_ITS_ADDR_TYPE",
                    "attr",
                    "vgic-its.c vgic_its_set_attr()")
            .needs(ARM64)
            .unless(TYPED_CALL)),
    ITS_REGISTER_ALIGNMENT(refusal(
                    KernelCall.ITS_REGISTER,
                    Errno.EINVAL,
                    "off the size of the register",
                    "attr, the register's offset",
                    "vgic-its.c vgic_its_attr_regs_access()")
            .needs(ARM64)
            .unless(TYPED_CALL)),
    ITS_NO_REGISTER(refusal(
                    KernelCall.ITS_REGISTER,
                    Errno.ENXIO,
                    "no such register, or the ITS has no place yet",
                    "attr, and KVM_DEV_ARM_VGIC_GRP_ADDR first",
                    "vgic-its.c vgic_its_attr_regs_access()")
            .needs(ARM64)),
    ITS_TABLES_CONTRADICT(refusal(
                    KernelCall.ITS_CONTROL,
                    Errno.EINVAL,
                    "an entry of the tables in guest memory names a collection, LPI or vCPU that does not exist",
                    "the tables, and the registers, which are restored first",
                    "vgic-its.c vgic_its_restore_ite()")
            .needs(ARM64)),
    ITS_COLLECTION_EXISTS(refusal(
                    KernelCall.ITS_CONTROL,
                    Errno.EEXIST,
                    "a collection of the table exists already",
                    "that the ITS was reset before its tables are restored",
                    "vgic-its.c vgic_its_restore_cte()")
            .needs(ARM64)),
    ITS_TABLES_VLPI(refusal(
                    KernelCall.ITS_CONTROL,
                    Errno.EACCES,
                    "an LPI is a vLPI of GICv4.0, and KVM cannot read whether it is pending",
                    "deassign the irqfds before the tables are saved",
                    "vgic-its.c vgic_its_save_itt()")
            .needs(ARM64)),
    ITS_VERSION(refusal(
                    KernelCall.ITS_IIDR,
                    Errno.EINVAL,
                    "GITS_IIDR names a version of the tables that this kernel does not have",
                    "bits 15:12 of GITS_IIDR; 0 is the only version",
                    "vgic-its.c vgic_mmio_uaccess_write_its_iidr()")
            .needs(ARM64)),
    ITS_READER_ENABLED(refusal(
                    KernelCall.ITS_CREADR,
                    Errno.EBUSY,
                    "GITS_CREADR cannot be set while the ITS is enabled",
                    "the order: GITS_CREADR before GITS_CTLR",
                    "vgic-its.c vgic_mmio_uaccess_write_its_creadr()")
            .needs(ARM64)),
    ITS_READER_BEYOND(refusal(
                    KernelCall.ITS_CREADR,
                    Errno.EINVAL,
                    "GITS_CREADR is beyond the ring of commands",
                    "the value, and the size in GITS_CBASER, which comes first",
                    "vgic-its.c vgic_mmio_uaccess_write_its_creadr()")
            .needs(ARM64));

    /** A constant of the enum itself could not be used by its values. */
    private static final class Text {
        /** Source: {@code kvm_vgic_map_resources()} in vgic-init.c. Kernels without it destroy the VGIC instead. */
        static final String DEAD = "newer kernels, and stable ones with that fix, mark the VM dead";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    VgicCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
