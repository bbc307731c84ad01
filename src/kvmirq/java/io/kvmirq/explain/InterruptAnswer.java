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

/** Refusals and behaviours of KVM's GSI routes, MSIs, interrupt lines, and devices such as KVM-VFIO. */
public enum InterruptAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // Routes
    ROUTES_NEED_IRQCHIP(refusal(MEASURED, ROUTES, EINVAL, "no in-kernel irqchip",
        "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP first",
        "x86 kvm_arch_can_set_irq_routing()").certainWhen(X86, NO_IRQCHIP)),
    ROUTE_TYPE(refusal(MEASURED, ROUTES, EINVAL,
        "an entry type that this kernel does not have (Hyper-V and Xen are optional)",
        ENTRIES, "irq.c kvm_set_routing_entry()").needs(OTHER_ROUTES)),
    ROUTE_PIN(refusal(MEASURED, ROUTES, EINVAL, "a chip or pin that does not exist, such as any on a split irqchip",
        ENTRIES + "; PIC pins are 0-7, IOAPIC pins 0-23", "irq.c kvm_set_routing_entry()").needs(X86)),
    ROUTE_HIGH_ADDRESS(refusal(MEASURED, ROUTES, EINVAL, LONG_IDS, ENTRIES, "irq.c kvm_route_invalid()").needs(X86)),
    ROUTE_CONFLICT(refusal(MEASURED, ROUTES, EINVAL, "a GSI has two entries that are not pins of different chips",
        ENTRIES, "irqchip.c setup_routing_entry()").unless(TYPED_CALL)),
    ROUTE_GSI(refusal(MEASURED, ROUTES, EINVAL, "a GSI is 4096 or more", ENTRIES,
        "irqchip.c kvm_set_irq_routing()").unless(TYPED_CALL)),
    ROUTES_TOO_MANY(refusal(MEASURED, ROUTES, EINVAL, "more than 4096 entries", "nr",
        "kvm_main.c KVM_SET_GSI_ROUTING").unless(TYPED_CALL)),
    ROUTE_FLAGS(refusal(MEASURED, ROUTES, EINVAL, "an entry has flags that its type lacks", ENTRIES,
        "irqchip.c kvm_set_irq_routing()").unless(TYPED_CALL)),
    ROUTES_FLAGS(refusal(MEASURED, ROUTES, EINVAL, "a routing table has no flags", "kvm_irq_routing.flags",
        "kvm_main.c KVM_SET_GSI_ROUTING").unless(TYPED_CALL)),
    ROUTE_XEN(refusal(SOURCE, ROUTES, EINVAL, "a Xen event channel of 1024 or above in a 32-bit guest",
        "KVM_XEN_ATTR_TYPE_LONG_MODE first", "xen.c kvm_xen_setup_evtchn()").needs(X86, OTHER_ROUTES)),
    ROUTE_SYNTHETIC(behaviour(LAB,
        "with Hyper-V built in a route may be a synthetic interrupt; a vCPU without SynIC does not accept it",
        "hyperv.c kvm_hv_set_sint()")),
    ROUTES_REPLACED(behaviour(MEASURED, "the table is replaced as a whole, or not at all on an error",
        "irqchip.c kvm_set_irq_routing()")),

    // Messages and lines
    MSI_NO_VCPU(refusal(UNTESTED, MSI, EPERM, "the VM has no vCPU yet, so none could accept it: this is the kernel's"
        + " -1 for no destination, not a permission error",
        "create the vCPUs before signalling", "irq.c kvm_irq_delivery_to_apic()").certainWhen(NO_VCPU)),
    MSI_NOBODY(refusal(MEASURED, MSI, EPERM, "no LAPIC matched the destination: this is the kernel's -1, not a"
        + " permission error", "destination and mode in the address against the vCPUs' APIC ids",
        "irq.c kvm_irq_delivery_to_apic()").needs(VCPUS).or(MSI_NO_VCPU.row)),
    MSI_FILTERED(refusal(UNTESTED, MSI, EPERM,
        "a system call filter, such as a seccomp profile, refuses KVM_SIGNAL_MSI before KVM sees it",
        "the same call with flags 2: KVM returns EINVAL, a filter EPERM", "seccomp.c __seccomp_filter()")),
    MSI_BY_MAP(success(MEASURED, MSI, "0 means that no vCPU accepted it: none has that APIC id, or its LAPIC is"
        + " software-disabled", "the destination in bits 19:12 of the address, and SVR bit 8 of the vCPU's LAPIC",
        "lapic.c kvm_irq_delivery_to_apic_fast()").needs(X86)),
    MSI_NEEDS_IRQCHIP(refusal(MEASURED, MSI, EINVAL, "no in-kernel irqchip",
        "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP first",
        "irqchip.c kvm_send_userspace_msi()").certainWhen(X86, NO_IRQCHIP)),
    MSI_HIGH_ADDRESS(refusal(MEASURED, MSI, EINVAL, LONG_IDS, "address_hi", "irq.c kvm_set_msi()").needs(X86)),
    MSI_FLAGS(refusal(MEASURED, MSI, EINVAL, "flags other than VALID_DEVID", "kvm_msi.flags",
        "irqchip.c kvm_send_userspace_msi()").unless(TYPED_CALL)),
    MSI_LOGICAL(behaviour(MEASURED, "a logical destination is looked up in the APIC map if all LAPICs use one format",
        "lapic.c kvm_apic_map_get_logical_dest()")),
    MSI_LOGICAL_NOBODY_BEFORE(behaviour(LAB,
        "before 6.3, if no LAPIC has a logical id, every LAPIC is compared with a logical destination",
        "lapic.c kvm_apic_map_get_logical_dest()")),
    MSI_MAP_FIRST_BEFORE(behaviour(LAB, "before 6.3, the APIC map keeps the first of several LAPICs with the same id, but the"
        + " last of those with the same logical id, of which only the lowest bit counts",
        "lapic.c kvm_recalculate_apic_map()")),
    MSI_BROADCAST(behaviour(MEASURED, "a broadcast reaches all LAPICs, or one with the redirection hint",
        "irq.c kvm_irq_delivery_to_apic()")),
    LINE_NEEDS_IRQCHIP(refusal(MEASURED, LINE, ENXIO, "the VM has no in-kernel irqchip", "KVM_CREATE_IRQCHIP first",
        "x86.c kvm_vm_ioctl_irq_line()").certainWhen(NO_IRQCHIP)),
    LINE_UNROUTED(success(MEASURED, LINE,
        "0 does not mean that a chip accepted it: KVM_IRQ_LINE_STATUS returns -1 for a GSI"
        + " without a route, or whose pins are all masked",
        "the status, the routes of the GSI, and the mask bits of its pins", "irqchip.c kvm_set_irq()")),
    LINE_STATUS_SUM(behaviour(MEASURED, "the status is the sum of all route results except -1",
        "irqchip.c kvm_set_irq()")),

    // Devices
    DEVICE_TYPE(refusal(MEASURED, DEVICE_CREATE, ENODEV, "this kernel or architecture has no such device",
        "the type, and whether its module is loaded", "kvm_main.c kvm_ioctl_create_device()")),
    DEVICE_SECOND(refusal(MEASURED, DEVICE_CREATE, EBUSY, "this VM already has one",
        "which code created it: a VM has at most one KVM-VFIO device; use that one",
        "vfio.c kvm_vfio_create()").needs(KVM_VFIO)),
    DEVICE_TEST(behaviour(MEASURED, "TEST creates no device and leaves the fd field alone",
        "kvm_main.c kvm_ioctl_create_device()")),
    DEVICE_UNKNOWN_REQUEST(like(MEASURED, FileAnswer.VM_UNKNOWN_REQUEST.row())),
    DEVICE_NO_GETTER(refusal(MEASURED, ATTRIBUTE_GET, EPERM,
        "this device has no readable attributes: not a permission error",
        "HAS_DEVICE_ATTR, which reports whether an attribute exists", "kvm_main.c kvm_device_ioctl_attr()")),
    VFIO_ATTRIBUTE(refusal(MEASURED, ATTRIBUTE, ENXIO, "the device has no such group or attribute on this kernel",
        "KVM-VFIO has group 1 with ADD (1) and DEL (2); group 2, the forwarding of 2014, was never merged",
        "vfio.c kvm_vfio_set_attr()").unless(VGIC_DEVICE)),
    KVM_ATTRIBUTE(refusal(MEASURED, ATTRIBUTE, ENXIO, "/dev/kvm has only attribute 0 of group 0,"
        + " and, with kvm_amd since 6.10, attribute 0 of group 1", "group and attr",
        "x86.c kvm_x86_dev_get_attr()").needs(X86).unless(KVM_VFIO)),
    KVM_ATTRIBUTE_OF_AMD(behaviour(SOURCE, "since 6.10 kvm_amd has attribute 0 of group 1, the features of an encrypted"
        + " guest's state", "sev.c sev_dev_get_attr()")),
    VCPU_ATTRIBUTE(refusal(MEASURED, ATTRIBUTE, ENXIO, "an x86 vCPU has only the TSC offset", "group and attr",
        "x86.c kvm_arch_tsc_has_attr()").needs(X86).unless(KVM_VFIO)),
    VFIO_FILE_FD(refusal(MEASURED, ATTRIBUTE, EBADF, "the VFIO file is not open", "the descriptor behind addr",
        "vfio.c kvm_vfio_file_add()").unless(VGIC_DEVICE)),
    VFIO_NOT_A_VFIO_FILE(refusal(MEASURED, ATTRIBUTE, EINVAL,
        "the file is not a VFIO group or device, or VFIO is not loaded",
        "the descriptor behind addr; device files (cdev) are accepted since 6.6", "vfio.c kvm_vfio_file_add()")
        .unless(VGIC_DEVICE)),
    VFIO_FILE_TWICE(refusal(LAB, ATTRIBUTE, EEXIST, "this file was added already",
        "whether the descriptor is a duplicate: a file that is opened again is a different file",
        "vfio.c kvm_vfio_file_add()")
        .unless(VGIC_DEVICE)),
    VFIO_FILE_UNKNOWN(refusal(MEASURED, ATTRIBUTE, ENOENT, "this file was not added, or was deleted already",
        "whether it is the same open file; delete it before closing it",
        "vfio.c kvm_vfio_file_del()").unless(VGIC_DEVICE)),

    // KVM_DEV_VFIO_DEVICE of 2014, as in its third version and the review, because no released kernel has it
    FORWARD_ABSENT(refusal(UNTESTED, KVM_VFIO_FORWARD, ENXIO,
        "this kernel does not have the forwarding of 2014, which was never merged",
        "use an irqfd on the interrupt's eventfd", "vfio.c kvm_vfio_set_attr()").or(VFIO_ATTRIBUTE.row)),
    FORWARD_NOT_A_DEVICE(refusal(SOURCE, KVM_VFIO_FORWARD, EINVAL, "the file is not an open VFIO device",
        "the descriptor in struct kvm_arch_forwarded_irq", FORWARDING)),
    FORWARD_TWICE(refusal(SOURCE, KVM_VFIO_FORWARD, EINVAL,
        "this interrupt is forwarded already, to this GSI or another one", "unforward it first", FORWARDING)),
    FORWARD_NO_LINE(refusal(INFERRED, KVM_VFIO_FORWARD, EINVAL,
        "the device has no such interrupt, or the GSI is not an SPI of the guest's VGIC; messages cannot be forwarded",
        "index, subindex and GSI", FORWARDING)),
    FORWARD_UNKNOWN(refusal(SOURCE, KVM_VFIO_FORWARD, EINVAL, "UNFORWARD names an interrupt that is not forwarded",
        "device, index and subindex; the GSI is ignored", FORWARDING)),
    FORWARD_SIGNALLED(refusal(SOURCE, KVM_VFIO_FORWARD, EBUSY, "VFIO signals an eventfd for this interrupt already",
        "forward it first, then arm it", FORWARDING)),
    FORWARD_STUB(behaviour(SOURCE,
        "on an architecture that does not forward, KVM-VFIO registers the interrupt, returns 0 and changes nothing",
        "[PATCH v3 7/8] KVM: kvm-vfio: kvm_arch_vfio_set_forward()")),
    UNFORWARD_LIVE(behaviour(INFERRED,
        "an active interrupt can be unforwarded: the host ends it, and the handler masks from then on",
        "[PATCH v3 7/8] KVM: kvm-vfio: kvm_arch_vfio_set_forward()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    InterruptAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
