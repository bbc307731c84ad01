/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.KernelCall.MSI;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.like;
import static io.kvmirq.explain.Row.refusal;
import static io.kvmirq.explain.Row.success;
import static io.kvmirq.explain.Text.*;

/** Refusals and behaviours of KVM on arm64, except the VGIC's. Source: arch/arm64/kvm. */
public enum ArmAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // VMs
    ARM_VM_TYPE(refusal(LAB, VM_CREATE, EINVAL,
        "the type is the guest address size, from 32 bits to the host's limit (0 means 40)",
        "KVM_CAP_ARM_VM_IPA_SIZE", "arm64 mmu.c kvm_init_ipa_range()").needs(ARM64)),
    ARM_MSI_DEVID_OF_VM(refusal(LAB, CAPABILITY, EINVAL,
        "check KVM_CAP_MSI_DEVID on a VM, not on /dev/kvm",
        "the descriptor", "arm.c KVM_CAP_MSI_DEVID").needs(ARM64)),
    ARM_VM_UNKNOWN_REQUEST(refusal(LAB, ANY_IOCTL, EINVAL,
        "arm64 VMs do not support this request (x86 returns ENOTTY)",
        "whether the request is x86-only", "arm.c kvm_arch_vm_ioctl()").needs(ARM64)),
    ARM_CAP_UNKNOWN(refusal(LAB, CAP_ENABLE, EINVAL, "the capability cannot be enabled on arm64",
        "KVM_CHECK_EXTENSION of it", "arm.c kvm_vm_ioctl_enable_cap()").needs(ARM64)),
    ARM_CAP_FLAGS(like(LAB, VmAnswer.CAP_FLAGS.row())),
    ARM_NO_GICV2(refusal(LAB, IRQCHIP_CREATE, ENODEV, "KVM_CREATE_IRQCHIP creates a GICv2, which this host does not have",
        "KVM_CREATE_DEVICE with KVM_DEV_TYPE_ARM_VGIC_V3 instead", "vgic-init.c kvm_vgic_create()").needs(ARM64)),
    ARM_DEVICE_TYPE(refusal(LAB, DEVICE_CREATE, ENODEV, "the host's GIC does not support this VGIC: many GICv3 hosts"
        + " cannot run GICv2 guests, and GICv2 hosts have neither a GICv3 nor an ITS",
        "the type, and dmesg: 'disabling GICv2 emulation'"
        + " means a GICv3 that cannot run GICv2 guests", "kvm_main.c kvm_ioctl_create_device()").needs(ARM64)),
    ARM_NO_VGIC(refusal(UNTESTED, DEVICE_CREATE, ENODEV, "KVM has no VGIC at all: firmware or the device tree"
        + " describes no maintenance interrupt for the host's GIC",
        "dmesg | grep -i vgic: 'No vgic maintenance irq', or no line; the property"
        + " interrupts of the GIC's node, or the GICC entries of the MADT",
        "vgic-init.c kvm_vgic_hyp_init()").needs(ARM64)),
    ARM_NO_VGIC_FOR_IRQCHIP(refusal(UNTESTED, IRQCHIP_CREATE, ENXIO, "KVM has no VGIC at all: firmware or the device"
        + " tree describes no maintenance interrupt for the host's GIC", "dmesg | grep -i vgic",
        "arm.c kvm_arch_vm_ioctl()").needs(ARM64)),
    ARM_MEMORY_BEYOND(refusal(LAB, MEMORY, EFAULT, "the slot ends beyond the VM's addresses",
        "the size given to KVM_CREATE_VM", "arm64 mmu.c kvm_arch_prepare_memory_region()").needs(ARM64)),

    // vCPUs
    ARM_VCPU_ID(refusal(LAB, VCPU_CREATE, EINVAL, "a vCPU id of 512 or more", "KVM_CAP_MAX_VCPUS",
        "kvm_main.c kvm_vm_ioctl_create_vcpu()").certainWhen(ARM64, HIGH_VCPU_ID)),
    ARM_VCPU_AFTER_INIT(refusal(LAB, VCPU_CREATE, EBUSY, "the VGIC is initialized already",
        "create all vCPUs before KVM_DEV_ARM_VGIC_CTRL_INIT", "arm.c kvm_arch_vcpu_precreate()").needs(ARM64)),
    ARM_VCPU_ID_TRUNCATED(behaviour(LAB, "on 6.1 the upper 32 bits of a vCPU id are ignored",
        "kvm_main.c kvm_vm_ioctl_create_vcpu()")),
    ARM_VCPU_FEATURE_OF_HOST(refusal(SOURCE, VCPU_INIT, EINVAL, "a feature that this host lacks, such as SVE or a PMU, or"
        + " one half of pointer authentication without the other", "KVM_CHECK_EXTENSION of KVM_CAP_ARM_SVE,"
        + " KVM_CAP_ARM_PMU_V3 and KVM_CAP_ARM_PTRAUTH_ADDRESS", "arm.c kvm_vcpu_init_check_features()").needs(ARM64)),
    ARM_VCPU_TARGET(refusal(LAB, VCPU_INIT, EINVAL, "the target is not the one that KVM_ARM_PREFERRED_TARGET returns",
        "kvm_vcpu_init.target", "arm.c kvm_vcpu_set_target()").needs(ARM64)),
    ARM_VCPU_FEATURE(refusal(LAB, VCPU_INIT, ENOENT, "a feature that this kernel or host does not support",
        "the bits of kvm_vcpu_init.features", "arm.c kvm_vcpu_init_check_features()").needs(ARM64)),
    ARM_VCPU_FEATURES_OF_VM(refusal(LAB, VCPU_INIT, EINVAL, "the features differ from those of the VM's first vCPU",
        "the bits of all vCPUs: only power-off may differ", "arm.c kvm_vcpu_init_changed()").needs(ARM64)),
    ARM_VCPU_FEATURES_BEFORE(refusal(LAB, VCPU_INIT, EINVAL,
        "the features differ from those that this vCPU was initialized with",
        "the bits of the first KVM_ARM_VCPU_INIT", "arm.c kvm_vcpu_set_target()").needs(ARM64)),
    ARM_VCPU_FEATURES_KEPT(behaviour(LAB,
        "on 6.1 a refused KVM_ARM_VCPU_INIT keeps the features before the unknown one", "arm.c kvm_vcpu_set_target()")),
    ARM_VCPU_NOT_INITIALIZED(refusal(LAB, ANY_IOCTL, ENOEXEC, "the vCPU was not initialized",
        "KVM_ARM_VCPU_INIT before registers and KVM_RUN", "arm.c kvm_arch_vcpu_ioctl()").needs(ARM64)),
    ARM_VCPU_ATTRIBUTE(refusal(LAB, ATTRIBUTE, ENXIO, "an attribute that arm64 VMs or vCPUs do not have",
        "group and attr", "arm64 guest.c kvm_arm_vcpu_arch_has_attr(), arm.c kvm_vm_has_attr()").needs(ARM64)
        .unless(Condition.KVM_VFIO, Condition.VGIC_DEVICE)),
    ARM_VM_ATTRIBUTE(like(LAB, ARM_VCPU_ATTRIBUTE.row)),

    ARM_FINALIZE_FEATURE(refusal(LAB, VCPU_FINALIZE, EINVAL, "only SVE can be finalized, on a vCPU initialized with it",
        "KVM_ARM_VCPU_SVE (4), here and in kvm_vcpu_init.features", "reset.c kvm_arm_vcpu_finalize()").needs(ARM64)),
    ARM_FINALIZE_TWICE(refusal(SOURCE, VCPU_FINALIZE, EPERM, "SVE is finalized already", "one KVM_ARM_VCPU_FINALIZE",
        "reset.c kvm_arm_vcpu_finalize()").needs(ARM64)),
    ARM_FINALIZE_FIRST(refusal(SOURCE, REGISTER_LIST, EPERM, "the vCPU has SVE, which is not finalized",
        "KVM_ARM_VCPU_FINALIZE first", "arm.c KVM_GET_REG_LIST").also(VCPU_RUN).needs(ARM64)),
    ARM_REGISTER_ROOM(refusal(LAB, REGISTER_LIST, E2BIG, "the list is too short for all registers",
        "kvm_reg_list.n now holds the required count", "arm.c KVM_GET_REG_LIST").needs(ARM64)),
    ARM_REGISTER_NONE(refusal(LAB, REGISTER_GET, ENOENT, "the vCPU has no such register",
        "KVM_GET_REG_LIST", "arm64 guest.c get_core_reg(), sys_regs.c").needs(ARM64)),
    ARM_REGISTER_SIZE(refusal(LAB, REGISTER_GET, EINVAL, "no register begins there, or it has another size",
        "size and number in the id; with SVE, V registers are Z registers",
        "arm64 guest.c core_reg_addr()").needs(ARM64)),
    ARM_REGISTER_KIND(refusal(LAB, REGISTER_GET, EINVAL, "the id is not an arm64 one", "bits 63:56 of the id: 0x60",
        "arm64 guest.c kvm_arm_get_reg()").needs(ARM64)),
    ARM_REGISTER_MODE(refusal(LAB, REGISTER_SET, EINVAL, "PSTATE names a mode that the vCPU does not have",
        "bits 4:0: 0 EL0t, 4 EL1t, 5 EL1h", "arm64 guest.c set_core_reg()").needs(ARM64)),
    ARM_STATE(refusal(LAB, VCPU_STATE, EINVAL, "an arm64 vCPU is runnable, stopped or suspended",
        "kvm_mp_state: 0, 5 or 10", "arm.c kvm_arch_vcpu_ioctl_set_mpstate()").needs(ARM64)),
    ARM_TIMER_IRQCHIP(refusal(LAB, VCPU_TIMER, EINVAL, "the VM has no VGIC", "create it first",
        "arch_timer.c kvm_arm_timer_set_attr()").certainWhen(ARM64, NO_IRQCHIP)),
    ARM_TIMER_PPI(refusal(LAB, VCPU_TIMER, EINVAL, "a timer raises a PPI, 16-31", "the number",
        "arch_timer.c kvm_arm_timer_set_attr()").needs(ARM64).unless(TYPED_CALL)),
    ARM_TIMER_LATE(refusal(LAB, VCPU_TIMER, EBUSY, "a vCPU of the VM has run",
        "set timer interrupts before the first KVM_RUN",
        "arch_timer.c kvm_arm_timer_set_attr()").needs(ARM64)),
    ARM_PMU_NONE(refusal(LAB, VCPU_PMU, ENODEV, "the vCPU was not initialized with a PMU, or the VGIC is not ready",
        "KVM_ARM_VCPU_PMU_V3 in kvm_vcpu_init.features; KVM_DEV_ARM_VGIC_CTRL_INIT",
        "pmu-emul.c kvm_arm_pmu_v3_set_attr(), kvm_arm_pmu_v3_init()").needs(ARM64)),
    ARM_PMU_INTERRUPT(refusal(SOURCE, VCPU_PMU, EINVAL, "the VM has no VGIC, the number is not a PPI or SPI, or"
        + " another vCPU has a different PPI", "KVM_ARM_VCPU_PMU_V3_IRQ, the same PPI for all vCPUs",
        "pmu-emul.c kvm_arm_pmu_v3_set_attr()").needs(ARM64)),
    ARM_PMU_TWICE(refusal(SOURCE, VCPU_PMU, EBUSY, "the PMU already has an interrupt, or is initialized",
        "one KVM_ARM_VCPU_PMU_V3_IRQ", "pmu-emul.c kvm_arm_pmu_v3_set_attr()").needs(ARM64)),
    ARM_PMU_NO_INTERRUPT(refusal(SOURCE, VCPU_PMU, ENXIO, "the PMU has no interrupt", "KVM_ARM_VCPU_PMU_V3_IRQ first",
        "pmu-emul.c kvm_arm_pmu_v3_init()").needs(ARM64)),

    // Routes and irqfds
    ARM_ROUTE_PIN(refusal(LAB, ROUTES, EINVAL, "the only chip is 0, with pins 0-987, which are SPIs from 32 on",
        ENTRIES, "vgic-irqfd.c kvm_set_routing_entry()").needs(ARM64)),
    ARM_ROUTES_WITHOUT_VGIC(behaviour(LAB, "routes can be set without a VGIC",
        "kvm_main.c kvm_arch_can_set_irq_routing()")),
    ARM_PIN_NOWHERE(behaviour(LAB, "a signal to a pin beyond the VGIC's interrupts is lost without an error",
        "vgic-irqfd.c vgic_irqfd_set_irq()")),
    ARM_MESSAGE_LOST(behaviour(LAB, "a routed message is lost without an enabled ITS",
        "vgic-irqfd.c kvm_set_msi()")),
    ARM_IRQFD_BEFORE_INIT(refusal(LAB, IRQFD, EAGAIN, "the interrupt controller is not initialized yet",
        "KVM_DEV_ARM_VGIC_CTRL_INIT before the first irqfd", "vgic-init.c kvm_arch_intc_initialized()").needs(ARM64)),
    ARM_IRQFD_STAYS_UP(behaviour(LAB, "an irqfd's signal raises a pin but does not lower it",
        "vgic-irqfd.c kvm_arch_set_irq_inatomic()")),

    // Lines and messages
    ARM_LINE_KIND(refusal(LAB, LINE, EINVAL, "bits 27:24 name neither CPU (0), SPI (1) nor PPI (2)",
        "kvm_irq_level.irq: type in bits 27:24, vCPU in 23:16, number in 15:0",
        "arm.c kvm_vm_ioctl_irq_line()").needs(ARM64).unless(TYPED_CALL)),
    ARM_LINE_HAS_VGIC(refusal(LAB, LINE, ENXIO, "the VMM drives a CPU's own pins only if the VM has no VGIC", "use an SPI or PPI",
        "arm.c kvm_vm_ioctl_irq_line()").needs(ARM64, VGIC)),
    ARM_LINE_NEEDS_VGIC(refusal(LAB, LINE, ENXIO, "the VM has no VGIC", "create one before driving SPIs and PPIs",
        "arm.c kvm_vm_ioctl_irq_line()").certainWhen(ARM64, NO_IRQCHIP)),
    ARM_LINE_NUMBER(refusal(LAB, LINE, EINVAL, "no such vCPU or interrupt: PPIs are 16-31, SPIs 32 to the VGIC's last",
        "vCPU and number in the word", "arm.c kvm_vm_ioctl_irq_line()").needs(ARM64)),
    ARM_LINE_BEFORE_INIT(refusal(LAB, LINE, EBUSY, "the VGIC is not initialized yet",
        "KVM_DEV_ARM_VGIC_CTRL_INIT first", "vgic-init.c vgic_lazy_init()").needs(ARM64)),
    ARM_LINE_VCPU_TWICE(refusal(LAB, PPI_LINE, EINVAL,
        "on 6.1 the id of the vCPU found by index is used as an index again",
        "vCPU ids that are 0, 1, 2 and so on", "vgic.c kvm_vgic_inject_irq()").needs(ARM64, OLD)),
    ARM_LINE_VCPU_BY_INDEX(behaviour(LAB, "on 6.1 the line names a vCPU by creation order",
        "arm.c kvm_vm_ioctl_irq_line()")),
    ARM_LINE_NO_STATUS(behaviour(LAB, "KVM_IRQ_LINE_STATUS returns its argument unchanged",
        "kvm_main.c KVM_IRQ_LINE_STATUS")),
    ARM_MSI_UNMAPPED(success(SOURCE, MSI, "0 means that the guest has not mapped this device and event",
        "the device id and the data, which is the event id, against MAPD, MAPTI and MAPC of the guest's ITS",
        "vgic-its.c vgic_its_inject_msi()").needs(ARM64)),
    ARM_MSI_NEEDS_VGIC(refusal(LAB, MSI, EINVAL, "the VM has no VGIC", "create VGIC and ITS first",
        "irqchip.c kvm_send_userspace_msi()").certainWhen(ARM64, NO_IRQCHIP)),
    ARM_MSI_NEEDS_ITS(refusal(LAB, MSI, ENODEV, "the VM has no ITS",
        "create KVM_DEV_TYPE_ARM_VGIC_ITS and initialize it", "vgic-irqfd.c kvm_set_msi()").needs(ARM64)),
    ARM_MSI_NEEDS_DEVICE(refusal(LAB, MSI, EINVAL, "an ITS needs the device: VALID_DEVID is missing", "flags and devid",
        "vgic-its.c vgic_msi_to_its()").certainWhen(ARM64, VGIC, NO_DEVICE_ID)),
    ARM_MSI_DOORBELL(refusal(LAB, MSI, EINVAL, "no ITS is at that address",
        "the doorbell: the ITS's address plus 0x10040",
        "vgic-its.c __vgic_doorbell_to_its()").needs(ARM64, VGIC, DEVICE_ID)),
    ARM_MSI_ITS_OFF(refusal(LAB, MSI, EBUSY, "the guest has not turned the ITS on",
        "GITS_CTLR.Enabled; the ITS accepts messages once the guest's driver has enabled it",
        "vgic-its.c vgic_its_resolve_lpi()").needs(ARM64));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    ArmAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
