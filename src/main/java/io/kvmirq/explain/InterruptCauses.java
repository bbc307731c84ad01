/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Cause.cause;
import static io.kvmirq.explain.Cause.success;
import static io.kvmirq.explain.Fact.NO_IRQCHIP;
import static io.kvmirq.explain.Fact.NO_VCPU;
import static io.kvmirq.explain.Fact.VCPUS;
import static io.kvmirq.explain.Fact.X86;

import io.kvmirq.Errno;
import java.util.List;

/** Of routes, messages, lines, and the KVM-VFIO device. */
final class InterruptCauses {
    private static final String THE_ENTRIES = "the entries in order: the first that is wrong refuses the whole table";
    private static final String LONG_IDS =
            "address bits 39:32 are set while 32-bit APIC ids (KVM_CAP_X2APIC_API) are enabled";

    private InterruptCauses() {}

    static List<Cause> rows() {
        return List.of(
                cause(
                        "ROUTES_NEED_IRQCHIP",
                        KernelCall.ROUTES,
                        Errno.EINVAL,
                        "no in-kernel irqchip",
                        "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP first",
                        X86,
                        NO_IRQCHIP),
                cause(
                        "ROUTE_PIN",
                        KernelCall.ROUTES,
                        Errno.EINVAL,
                        "a chip or pin that does not exist, such as any on a split irqchip",
                        THE_ENTRIES + "; PIC pins are 0-7, IOAPIC pins 0-23",
                        X86),
                cause("ROUTE_HIGH_ADDRESS", KernelCall.ROUTES, Errno.EINVAL, LONG_IDS, THE_ENTRIES, X86),
                cause(
                        "ROUTE_CONFLICT",
                        KernelCall.ROUTES,
                        Errno.EINVAL,
                        "a GSI has two entries that are not pins of different chips",
                        THE_ENTRIES),
                cause("ROUTE_GSI", KernelCall.ROUTES, Errno.EINVAL, "a GSI is 4096 or more", THE_ENTRIES),
                cause("ROUTES_TOO_MANY", KernelCall.ROUTES, Errno.EINVAL, "more than 4096 entries", "nr"),
                cause(
                        "ROUTE_FLAGS",
                        KernelCall.ROUTES,
                        Errno.EINVAL,
                        "an entry has flags its type has not",
                        THE_ENTRIES),
                cause("ROUTES_FLAGS", KernelCall.ROUTES, Errno.EINVAL, "a table has no flags", "kvm_irq_routing.flags"),
                cause(
                        "ROUTE_TYPE",
                        KernelCall.ROUTES,
                        Errno.EINVAL,
                        "a type of entry this kernel does not have (Hyper-V and Xen are optional)",
                        THE_ENTRIES),
                cause(
                        "MSI_NOBODY",
                        KernelCall.MSI,
                        Errno.EPERM,
                        "the VM has no vCPU yet, so nobody could take it: this is the kernel's -1 for no destination, not a"
                                + " question of permission",
                        "create the vCPUs before signalling",
                        NO_VCPU),
                cause(
                        "MSI_NOBODY",
                        KernelCall.MSI,
                        Errno.EPERM,
                        "no LAPIC matched the destination: this is the kernel's -1, not a question of permission",
                        "destination and mode in the address against the vCPUs' APIC ids",
                        VCPUS),
                success(
                        "MSI_BY_MAP",
                        KernelCall.MSI,
                        "0 means that no vCPU took it: none has that APIC id, or its LAPIC is software-disabled",
                        "the destination in bits 19:12 of the address, and SVR bit 8 of the vCPU's LAPIC"),
                cause(
                        "MSI_NEEDS_IRQCHIP",
                        KernelCall.MSI,
                        Errno.EINVAL,
                        "no in-kernel irqchip",
                        "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP first",
                        X86,
                        NO_IRQCHIP),
                cause("MSI_HIGH_ADDRESS", KernelCall.MSI, Errno.EINVAL, LONG_IDS, "address_hi", X86),
                cause("MSI_FLAGS", KernelCall.MSI, Errno.EINVAL, "flags other than VALID_DEVID", "kvm_msi.flags"),
                cause(
                        "LINE_NEEDS_IRQCHIP",
                        KernelCall.LINE,
                        Errno.ENXIO,
                        "the VM has no in-kernel irqchip",
                        "KVM_CREATE_IRQCHIP first",
                        NO_IRQCHIP),
                success(
                        "LINE_UNROUTED",
                        KernelCall.LINE,
                        "0 does not say that anybody listened: KVM_IRQ_LINE_STATUS gives -1 for a GSI without route, or whose"
                                + " pins are all masked",
                        "the status, the routes of the GSI, and the mask bits of its pins"),
                cause(
                        "DEVICE_TYPE",
                        KernelCall.DEVICE_CREATE,
                        Errno.ENODEV,
                        "this kernel or architecture has no such device",
                        "the type, and whether its module is loaded"),
                cause(
                        "DEVICE_SECOND",
                        KernelCall.DEVICE_CREATE,
                        Errno.EBUSY,
                        "this VM already has one",
                        "who made it: a VM has one KVM-VFIO device, use that or do without"),
                cause(
                        "DEVICE_NO_GETTER",
                        KernelCall.ATTRIBUTE_GET,
                        Errno.EPERM,
                        "this device has nothing to get, whatever the attribute: not a question of permission",
                        "HAS_DEVICE_ATTR, which tells whether an attribute exists"),
                cause(
                        "VFIO_ATTRIBUTE",
                        KernelCall.ATTRIBUTE,
                        Errno.ENXIO,
                        "the device has no such group or attribute on this kernel",
                        "KVM-VFIO has group 1 with ADD (1) and DEL (2); group 2, of 2014's forwarding, never merged"),
                cause(
                        "KVM_ATTRIBUTE",
                        KernelCall.ATTRIBUTE,
                        Errno.ENXIO,
                        "the system has attribute 0 of group 0 only",
                        "group and attr"),
                cause(
                        "VCPU_ATTRIBUTE",
                        KernelCall.ATTRIBUTE,
                        Errno.ENXIO,
                        "an x86 vCPU has the TSC offset only",
                        "group and attr"),
                cause(
                        "VFIO_FILE_FD",
                        KernelCall.ATTRIBUTE,
                        Errno.EBADF,
                        "the VFIO file is not open",
                        "the descriptor behind addr"),
                cause(
                        "VFIO_NOT_A_VFIO_FILE",
                        KernelCall.ATTRIBUTE,
                        Errno.EINVAL,
                        "the file is not a VFIO group or device, or VFIO is not loaded",
                        "the descriptor behind addr; device files (cdev) are accepted since 6.6"),
                cause(
                        "vfio-file-twice",
                        KernelCall.ATTRIBUTE,
                        Errno.EEXIST,
                        "this file was added already",
                        "whether it is a copy of one descriptor: a file opened again is another file"),
                cause(
                        "VFIO_FILE_UNKNOWN",
                        KernelCall.ATTRIBUTE,
                        Errno.ENOENT,
                        "this file was not added, or was deleted already",
                        "that the same open file is meant, and delete it before closing it"));
    }
}
