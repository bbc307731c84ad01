/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Explanation.success;
import static io.kvmirq.explain.Fact.NO_IRQCHIP;
import static io.kvmirq.explain.Fact.NO_VCPU;
import static io.kvmirq.explain.Fact.TYPED_CALL;
import static io.kvmirq.explain.Fact.VCPUS;
import static io.kvmirq.explain.Fact.X86;

import io.kvmirq.Errno;

/** Of routes, messages, lines, and the KVM-VFIO device. */
public enum InterruptCause implements Cause {
    ROUTES_NEED_IRQCHIP(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "no in-kernel irqchip",
                    "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP first",
                    "x86 kvm_arch_can_set_irq_routing()")
            .certainWhen(X86, NO_IRQCHIP)),
    ROUTE_PIN(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "a chip or pin that does not exist, such as any on a split irqchip",
                    Text.THE_ENTRIES + "; PIC pins are 0-7, IOAPIC pins 0-23",
                    "irq.c kvm_set_routing_entry()")
            .needs(X86)),
    ROUTE_HIGH_ADDRESS(
            refusal(KernelCall.ROUTES, Errno.EINVAL, Text.LONG_IDS, Text.THE_ENTRIES, "irq.c kvm_route_invalid()")
                    .needs(X86)),
    ROUTE_CONFLICT(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "a GSI has two entries that are not pins of different chips",
                    Text.THE_ENTRIES,
                    "irqchip.c setup_routing_entry()")
            .unless(TYPED_CALL)),
    ROUTE_GSI(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "a GSI is 4096 or more",
                    Text.THE_ENTRIES,
                    "irqchip.c kvm_set_irq_routing()")
            .unless(TYPED_CALL)),
    ROUTES_TOO_MANY(
            refusal(KernelCall.ROUTES, Errno.EINVAL, "more than 4096 entries", "nr", "kvm_main.c KVM_SET_GSI_ROUTING")
                    .unless(TYPED_CALL)),
    ROUTE_FLAGS(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "an entry has flags its type has not",
                    Text.THE_ENTRIES,
                    "irqchip.c kvm_set_irq_routing()")
            .unless(TYPED_CALL)),
    ROUTES_FLAGS(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "a table has no flags",
                    "kvm_irq_routing.flags",
                    "kvm_main.c KVM_SET_GSI_ROUTING")
            .unless(TYPED_CALL)),
    ROUTE_TYPE(refusal(
                    KernelCall.ROUTES,
                    Errno.EINVAL,
                    "a type of entry this kernel does not have (Hyper-V and Xen are optional)",
                    Text.THE_ENTRIES,
                    "irq.c kvm_set_routing_entry()")
            .unless(TYPED_CALL)),
    MSI_NO_VCPU(refusal(
                    KernelCall.MSI,
                    Errno.EPERM,
                    "the VM has no vCPU yet, so no vCPU could take it: this is the kernel's -1 for no destination, not a"
                            + " question of permission",
                    "create the vCPUs before signalling",
                    "irq.c kvm_irq_delivery_to_apic()")
            .certainWhen(NO_VCPU)),
    MSI_NOBODY(refusal(
                    KernelCall.MSI,
                    Errno.EPERM,
                    "no LAPIC matched the destination: this is the kernel's -1, not a question of permission",
                    "destination and mode in the address against the vCPUs' APIC ids",
                    "irq.c kvm_irq_delivery_to_apic()")
            .needs(VCPUS)),
    MSI_FILTERED(refusal(
            KernelCall.MSI,
            Errno.EPERM,
            "a system call filter, such as a seccomp profile, refuses KVM_SIGNAL_MSI before KVM sees it",
            "the same call with flags 2: KVM answers EINVAL, a filter EPERM",
            "seccomp.c __seccomp_filter()")),
    MSI_BY_MAP(success(
                    KernelCall.MSI,
                    "0 means that no vCPU took it: none has that APIC id, or its LAPIC is software-disabled",
                    "the destination in bits 19:12 of the address, and SVR bit 8 of the vCPU's LAPIC",
                    "lapic.c kvm_irq_delivery_to_apic_fast()")
            .needs(X86)),
    MSI_NEEDS_IRQCHIP(refusal(
                    KernelCall.MSI,
                    Errno.EINVAL,
                    "no in-kernel irqchip",
                    "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP first",
                    "irqchip.c kvm_send_userspace_msi()")
            .certainWhen(X86, NO_IRQCHIP)),
    MSI_HIGH_ADDRESS(refusal(KernelCall.MSI, Errno.EINVAL, Text.LONG_IDS, "address_hi", "irq.c kvm_set_msi()")
            .needs(X86)),
    MSI_FLAGS(refusal(
                    KernelCall.MSI,
                    Errno.EINVAL,
                    "flags other than VALID_DEVID",
                    "kvm_msi.flags",
                    "irqchip.c kvm_send_userspace_msi()")
            .unless(TYPED_CALL)),
    LINE_NEEDS_IRQCHIP(refusal(
                    KernelCall.LINE,
                    Errno.ENXIO,
                    "the VM has no in-kernel irqchip",
                    "KVM_CREATE_IRQCHIP first",
                    "x86.c kvm_vm_ioctl_irq_line()")
            .certainWhen(NO_IRQCHIP)),
    LINE_UNROUTED(success(
            KernelCall.LINE,
            "0 does not say that a chip took it: KVM_IRQ_LINE_STATUS gives -1 for a GSI without route, or whose"
                    + " pins are all masked",
            "the status, the routes of the GSI, and the mask bits of its pins",
            "irqchip.c kvm_set_irq()")),
    DEVICE_TYPE(refusal(
            KernelCall.DEVICE_CREATE,
            Errno.ENODEV,
            "this kernel or architecture has no such device",
            "the type, and whether its module is loaded",
            "kvm_main.c kvm_ioctl_create_device()")),
    DEVICE_SECOND(refusal(
                    KernelCall.DEVICE_CREATE,
                    Errno.EBUSY,
                    "this VM already has one",
                    "which code made it: a VM has one KVM-VFIO device; use that one, or none",
                    "vfio.c kvm_vfio_create()")
            .needs(Fact.KVM_VFIO)),
    DEVICE_NO_GETTER(refusal(
            KernelCall.ATTRIBUTE_GET,
            Errno.EPERM,
            "this device has nothing to get, whatever the attribute: not a question of permission",
            "HAS_DEVICE_ATTR, which tells whether an attribute exists",
            "kvm_main.c kvm_device_ioctl_attr()")),
    VFIO_ATTRIBUTE(refusal(
            KernelCall.ATTRIBUTE,
            Errno.ENXIO,
            "the device has no such group or attribute on this kernel",
            "KVM-VFIO has group 1 with ADD (1) and DEL (2); group 2, of 2014's forwarding, never merged",
            "vfio.c kvm_vfio_set_attr()")),
    KVM_ATTRIBUTE(refusal(
            KernelCall.ATTRIBUTE,
            Errno.ENXIO,
            "the system has attribute 0 of group 0 only",
            "group and attr",
            "x86.c kvm_x86_dev_get_attr()")),
    VCPU_ATTRIBUTE(refusal(
            KernelCall.ATTRIBUTE,
            Errno.ENXIO,
            "an x86 vCPU has the TSC offset only",
            "group and attr",
            "x86.c kvm_arch_tsc_has_attr()")),
    VFIO_FILE_FD(refusal(
            KernelCall.ATTRIBUTE,
            Errno.EBADF,
            "the VFIO file is not open",
            "the descriptor behind addr",
            "vfio.c kvm_vfio_file_add()")),
    VFIO_NOT_A_VFIO_FILE(refusal(
            KernelCall.ATTRIBUTE,
            Errno.EINVAL,
            "the file is not a VFIO group or device, or VFIO is not loaded",
            "the descriptor behind addr; device files (cdev) are accepted since 6.6",
            "vfio.c kvm_vfio_file_add()")),
    VFIO_FILE_TWICE(refusal(
            KernelCall.ATTRIBUTE,
            Errno.EEXIST,
            "this file was added already",
            "whether it is a copy of one descriptor: a file opened again is another file",
            "vfio.c kvm_vfio_file_add()")),
    VFIO_FILE_UNKNOWN(refusal(
            KernelCall.ATTRIBUTE,
            Errno.ENOENT,
            "this file was not added, or was deleted already",
            "that the same open file is meant, and delete it before closing it",
            "vfio.c kvm_vfio_file_del()")),
    FORWARD_ABSENT(refusal(
            KernelCall.KVM_VFIO_FORWARD,
            Errno.ENXIO,
            "this kernel does not have the forwarding of 2014, which was never merged",
            "use an irqfd on the eventfd of the interrupt",
            "vfio.c kvm_vfio_set_attr()")),
    FORWARD_NOT_A_DEVICE(refusal(
            KernelCall.KVM_VFIO_FORWARD,
            Errno.EINVAL,
            "the file is not an open VFIO device",
            "the descriptor in struct kvm_arch_forwarded_irq",
            Text.FORWARDING)),
    FORWARD_TWICE(refusal(
            KernelCall.KVM_VFIO_FORWARD,
            Errno.EINVAL,
            "this interrupt is forwarded already, to this GSI or another one",
            "unforward it first",
            Text.FORWARDING)),
    FORWARD_NO_LINE(refusal(
            KernelCall.KVM_VFIO_FORWARD,
            Errno.EINVAL,
            "the device has no such interrupt, or the GSI is no SPI of the guest's VGIC; messages do not forward",
            "index, subindex and GSI",
            Text.FORWARDING)),
    FORWARD_UNKNOWN(refusal(
            KernelCall.KVM_VFIO_FORWARD,
            Errno.EINVAL,
            "UNFORWARD names an interrupt that is not forwarded",
            "device, index and subindex; the GSI does not count",
            Text.FORWARDING)),
    FORWARD_SIGNALLED(refusal(
            KernelCall.KVM_VFIO_FORWARD,
            Errno.EBUSY,
            "VFIO signals an eventfd for this interrupt already",
            "forward it first, then arm it",
            Text.FORWARDING));

    /** What several say. */
    private static final class Text {
        static final String FORWARDING = "[PATCH v3 7/8] KVM: kvm-vfio: generic forwarding control, December 2014";
        static final String THE_ENTRIES = "the entries in order: the first that is wrong refuses the whole table";
        static final String LONG_IDS =
                "address bits 39:32 are set while 32-bit APIC ids (KVM_CAP_X2APIC_API) are enabled";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    InterruptCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
