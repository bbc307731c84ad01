/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Explanation.success;
import static io.kvmirq.explain.Fact.ARM64;
import static io.kvmirq.explain.Fact.DEVICE_ID;
import static io.kvmirq.explain.Fact.GICV2;
import static io.kvmirq.explain.Fact.GICV3;
import static io.kvmirq.explain.Fact.HIGH_VCPU_ID;
import static io.kvmirq.explain.Fact.NO_DEVICE_ID;
import static io.kvmirq.explain.Fact.NO_IRQCHIP;
import static io.kvmirq.explain.Fact.OLD;
import static io.kvmirq.explain.Fact.TYPED_CALL;
import static io.kvmirq.explain.Fact.VGIC;

import io.kvmirq.Errno;

/** What arm64 says otherwise: arch/arm64/kvm. */
public enum ArmCause implements Cause {
    ARM_VM_TYPE(refusal(
                    KernelCall.VM_CREATE,
                    Errno.EINVAL,
                    "the type is the size of guest addresses, 32 bits to what the host has (0 for 40)",
                    "KVM_CAP_ARM_VM_IPA_SIZE",
                    "arm64 mmu.c kvm_init_ipa_range()")
            .needs(ARM64)),
    ARM_MSI_DEVID_OF_VM(refusal(
                    KernelCall.CAPABILITY,
                    Errno.EINVAL,
                    "whether messages need a device id is asked of a VM, not of /dev/kvm",
                    "the descriptor",
                    "arm.c KVM_CAP_MSI_DEVID")
            .needs(ARM64)),
    ARM_VM_UNKNOWN_REQUEST(refusal(
                    KernelCall.ANY_IOCTL,
                    Errno.EINVAL,
                    "a VM on arm64 does not know the request (on x86 it would say ENOTTY)",
                    "whether the request is x86's",
                    "arm.c kvm_arch_vm_ioctl()")
            .needs(ARM64)),
    ARM_CAP_UNKNOWN(refusal(
                    KernelCall.CAP_ENABLE,
                    Errno.EINVAL,
                    "the capability is not one to enable on arm64",
                    "KVM_CHECK_EXTENSION of it",
                    "arm.c kvm_vm_ioctl_enable_cap()")
            .needs(ARM64)),
    ARM_NO_GICV2(refusal(
                    KernelCall.IRQCHIP_CREATE,
                    Errno.ENODEV,
                    "KVM_CREATE_IRQCHIP makes a GICv2, which this host does not have",
                    "KVM_CREATE_DEVICE with KVM_DEV_TYPE_ARM_VGIC_V3 instead",
                    "vgic-init.c kvm_vgic_create()")
            .needs(ARM64)),
    ARM_IRQCHIP_EXISTS(refusal(
                    KernelCall.IRQCHIP_CREATE,
                    Errno.EEXIST,
                    "the VM has a VGIC already",
                    "who made it: on arm64 KVM_CREATE_IRQCHIP makes a GICv2, as KVM_CREATE_DEVICE does",
                    "vgic-init.c kvm_vgic_create()")
            .needs(ARM64)),
    ARM_MEMORY_BEYOND(refusal(
                    KernelCall.MEMORY,
                    Errno.EFAULT,
                    "the slot ends beyond the VM's addresses",
                    "the size given to KVM_CREATE_VM",
                    "arm64 mmu.c kvm_arch_prepare_memory_region()")
            .needs(ARM64)),
    ARM_VCPU_ID(refusal(
                    KernelCall.VCPU_CREATE,
                    Errno.EINVAL,
                    "a vCPU id of 512 or more",
                    "KVM_CAP_MAX_VCPUS",
                    "kvm_main.c kvm_vm_ioctl_create_vcpu()")
            .certainWhen(ARM64, HIGH_VCPU_ID)),
    ARM_VCPU_GICV2(refusal(
                    KernelCall.VCPU_CREATE,
                    Errno.EINVAL,
                    "with a GICv2 in the VM or the host: a ninth vCPU, or an id above 7",
                    "KVM_CAP_MAX_VCPUS of the VM, and the type of its VGIC",
                    "arm.c kvm_arch_vcpu_precreate()")
            .needs(ARM64, GICV2)),
    ARM_VCPU_AFTER_INIT(refusal(
                    KernelCall.VCPU_CREATE,
                    Errno.EBUSY,
                    "the VGIC is initialised already",
                    "create all vCPUs before KVM_DEV_ARM_VGIC_CTRL_INIT",
                    "arm.c kvm_arch_vcpu_precreate()")
            .needs(ARM64)),
    ARM_VCPU_REDISTRIBUTOR(refusal(
                    KernelCall.VCPU_CREATE,
                    Errno.EINVAL,
                    "its redistributor would overlap the distributor",
                    "all addresses of the VGIC",
                    "vgic-mmio-v3.c vgic_register_redist_iodev()")
            .needs(ARM64, VGIC, GICV3)),
    ARM_VCPU_REGION_GROWN(refusal(
                    KernelCall.VCPU_CREATE,
                    Errno.EINVAL,
                    "the single region of redistributors, which grows with the vCPUs, ends beyond the VM's addresses",
                    "its address, and 128 KiB for each vCPU that exists",
                    "vgic-v3.c vgic_v3_check_base()")
            .needs(ARM64, VGIC, GICV3)),
    ARM_VCPU_TARGET(refusal(
                    KernelCall.VCPU_INIT,
                    Errno.EINVAL,
                    "the target is not the one KVM_ARM_PREFERRED_TARGET gives",
                    "kvm_vcpu_init.target",
                    "arm.c kvm_vcpu_set_target()")
            .needs(ARM64)),
    ARM_VCPU_FEATURE(refusal(
                    KernelCall.VCPU_INIT,
                    Errno.ENOENT,
                    "a feature this kernel or host does not have",
                    "the bits of kvm_vcpu_init.features",
                    "arm.c kvm_vcpu_init_check_features()")
            .needs(ARM64)),
    ARM_VCPU_FEATURES_OF_VM(refusal(
                    KernelCall.VCPU_INIT,
                    Errno.EINVAL,
                    "other features than the first vCPU of the VM has",
                    "the bits of all vCPUs: only power-off may differ",
                    "arm.c kvm_vcpu_init_changed()")
            .needs(ARM64)),
    ARM_VCPU_FEATURES_BEFORE(refusal(
                    KernelCall.VCPU_INIT,
                    Errno.EINVAL,
                    "other features than this vCPU was initialised with",
                    "the bits of the first KVM_ARM_VCPU_INIT",
                    "arm.c kvm_vcpu_set_target()")
            .needs(ARM64)),
    ARM_VCPU_NOT_INITIALIZED(refusal(
                    KernelCall.ANY_IOCTL,
                    Errno.ENOEXEC,
                    "the vCPU was not initialised",
                    "KVM_ARM_VCPU_INIT before registers and KVM_RUN",
                    "arm.c kvm_arch_vcpu_ioctl()")
            .needs(ARM64)),
    ARM_VCPU_ATTRIBUTE(refusal(
                    KernelCall.ATTRIBUTE,
                    Errno.ENXIO,
                    "an attribute a VM or vCPU on arm64 does not have",
                    "group and attr",
                    "arm64 guest.c kvm_arm_vcpu_arch_has_attr(), arm.c kvm_vm_has_attr()")
            .needs(ARM64)),
    ARM_ROUTE_PIN(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "the only chip is 0, with pins 0-987, which are SPIs from 32 on",
                    "the entries in order: the first that is wrong refuses the whole table",
                    "vgic-irqfd.c kvm_set_routing_entry()")
            .needs(ARM64)),
    ARM_IRQFD_BEFORE_INIT(refusal(
                    KernelCall.IRQFD,
                    Errno.EAGAIN,
                    "the interrupt controller is not initialised yet",
                    "KVM_DEV_ARM_VGIC_CTRL_INIT before the first irqfd",
                    "vgic-init.c kvm_arch_intc_initialized()")
            .needs(ARM64)),
    ARM_LINE_KIND(refusal(
                    KernelCall.LINE,
                    Errno.EINVAL,
                    "bits 27:24 name neither CPU (0), SPI (1) nor PPI (2)",
                    "kvm_irq_level.irq: type in bits 27:24, vCPU in 23:16, number in 15:0",
                    "arm.c kvm_vm_ioctl_irq_line()")
            .needs(ARM64)
            .unless(TYPED_CALL)),
    ARM_LINE_HAS_VGIC(refusal(
                    KernelCall.LINE,
                    Errno.ENXIO,
                    "a CPU's own pins are the VMM's only without VGIC",
                    "use an SPI or PPI",
                    "arm.c kvm_vm_ioctl_irq_line()")
            .needs(ARM64, VGIC)),
    ARM_LINE_NEEDS_VGIC(refusal(
                    KernelCall.LINE,
                    Errno.ENXIO,
                    "the VM has no VGIC",
                    "create one before driving SPIs and PPIs",
                    "arm.c kvm_vm_ioctl_irq_line()")
            .certainWhen(ARM64, NO_IRQCHIP)),
    ARM_LINE_NUMBER(refusal(
                    KernelCall.LINE,
                    Errno.EINVAL,
                    "no such vCPU or interrupt: PPIs are 16-31, SPIs 32 to the VGIC's last",
                    "vCPU and number in the word",
                    "arm.c kvm_vm_ioctl_irq_line()")
            .needs(ARM64)),
    ARM_LINE_BEFORE_INIT(refusal(
                    KernelCall.LINE,
                    Errno.EBUSY,
                    "the VGIC is not initialised yet",
                    "KVM_DEV_ARM_VGIC_CTRL_INIT first",
                    "vgic-init.c vgic_lazy_init()")
            .needs(ARM64)),
    ARM_LINE_VCPU_TWICE(refusal(
                    KernelCall.PPI_LINE,
                    Errno.EINVAL,
                    "on 6.1 the id of the vCPU found by index is taken as an index again",
                    "vCPU ids that are 0, 1, 2 and so on",
                    "vgic.c kvm_vgic_inject_irq()")
            .needs(ARM64, OLD)),
    ARM_MSI_UNMAPPED(success(
                    KernelCall.MSI,
                    "0 means that the guest has not mapped this device and event",
                    "the device id and the data, which is the event id, against MAPD, MAPTI and MAPC of the guest's ITS",
                    "vgic-its.c vgic_its_inject_msi()")
            .needs(ARM64)),
    ARM_MSI_NEEDS_VGIC(refusal(
                    KernelCall.MSI,
                    Errno.EINVAL,
                    "the VM has no VGIC",
                    "create VGIC and ITS first",
                    "irqchip.c kvm_send_userspace_msi()")
            .certainWhen(ARM64, NO_IRQCHIP)),
    ARM_MSI_NEEDS_ITS(refusal(
                    KernelCall.MSI,
                    Errno.ENODEV,
                    "the VM has no ITS",
                    "create KVM_DEV_TYPE_ARM_VGIC_ITS and initialise it",
                    "vgic-irqfd.c kvm_set_msi()")
            .needs(ARM64)),
    ARM_MSI_NEEDS_DEVICE(refusal(
                    KernelCall.MSI,
                    Errno.EINVAL,
                    "an ITS needs the device: VALID_DEVID is missing",
                    "flags and devid",
                    "vgic-its.c vgic_msi_to_its()")
            .certainWhen(ARM64, VGIC, NO_DEVICE_ID)),
    ARM_MSI_DOORBELL(refusal(
                    KernelCall.MSI,
                    Errno.EINVAL,
                    "no ITS is at that address",
                    "the doorbell: the ITS's address plus 0x10040",
                    "vgic-its.c __vgic_doorbell_to_its()")
            .needs(ARM64, VGIC, DEVICE_ID)),
    ARM_MSI_ITS_OFF(refusal(
                    KernelCall.MSI,
                    Errno.EBUSY,
                    "the guest has not turned the ITS on",
                    "GITS_CTLR.Enabled; the ITS takes messages once the guest's driver has enabled it",
                    "vgic-its.c vgic_its_resolve_lpi()")
            .needs(ARM64)),
    ARM_DEVICE_TYPE(refusal(
                    KernelCall.DEVICE_CREATE,
                    Errno.ENODEV,
                    "the host's GIC has no such VGIC: many GICv3 hosts run no GICv2 guests, and GICv2 hosts no GICv3 and no ITS",
                    "the type, and dmesg: 'disabling GICv2 emulation' is of a GICv3 that runs no GICv2 guests",
                    "kvm_main.c kvm_ioctl_create_device()")
            .needs(ARM64));

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    ArmCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
