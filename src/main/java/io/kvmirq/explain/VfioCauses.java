/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Cause.cause;
import static io.kvmirq.explain.Fact.ERR_REQ;
import static io.kvmirq.explain.Fact.INTX;
import static io.kvmirq.explain.Fact.MSI;

import io.kvmirq.Errno;
import java.util.List;

/** Of VFIO devices: drivers/vfio/vfio_main.c, drivers/vfio/pci/vfio_pci_intrs.c. */
final class VfioCauses {
    private static final String THE_SET = "flags, index, start, count and argsz of vfio_irq_set";

    private VfioCauses() {}

    static List<Cause> rows() {
        return List.of(
                cause(
                        "set-irqs-msi-mask",
                        KernelCall.SET_IRQS,
                        Errno.ENOTTY,
                        "MSI and MSI-X have no MASK and UNMASK in VFIO",
                        "mask by deassigning the irqfd: signals wait in the eventfd until it is assigned again",
                        MSI),
                cause(
                        "set-irqs-intx-mask-eventfd",
                        KernelCall.SET_IRQS,
                        Errno.ENOTTY,
                        "INTx can be unmasked through an eventfd, not masked",
                        "MASK with DATA_NONE",
                        INTX),
                cause(
                        "set-irqs-err-req",
                        KernelCall.SET_IRQS,
                        Errno.ENOTTY,
                        "the error and request interrupts have TRIGGER only",
                        THE_SET,
                        ERR_REQ),
                cause(
                        "set-irqs-action",
                        KernelCall.SET_IRQS,
                        Errno.ENOTTY,
                        "not exactly one of MASK, UNMASK and TRIGGER",
                        "flags: one action, one kind of data"),
                cause(
                        "set-irqs-unmask-eventfd",
                        KernelCall.SET_IRQS,
                        Errno.EBUSY,
                        "INTx has an unmask eventfd already",
                        "clear it with -1 before setting another",
                        INTX),
                cause(
                        "set-irqs-shared",
                        KernelCall.SET_IRQS,
                        Errno.EBUSY,
                        "the line must be exclusive, because the device cannot mask itself, and another driver has it",
                        "/proc/interrupts for the line's other users",
                        INTX),
                cause(
                        "set-irqs-range",
                        KernelCall.SET_IRQS,
                        Errno.EINVAL,
                        "start + count is beyond what the index has (an index may have none)",
                        "VFIO_DEVICE_GET_IRQ_INFO of the index"),
                cause(
                        "set-irqs-other-mode",
                        KernelCall.SET_IRQS,
                        Errno.EINVAL,
                        "another of INTx, MSI and MSI-X is active: there is no implicit switch",
                        "disable the other first: TRIGGER, DATA_NONE, count 0"),
                cause(
                        "set-irqs-inactive",
                        KernelCall.SET_IRQS,
                        Errno.EINVAL,
                        "the index is not active: to disable twice, or to raise or mask what is off, is refused",
                        "whether TRIGGER with eventfds came before"),
                cause(
                        "set-irqs-arguments",
                        KernelCall.SET_IRQS,
                        Errno.EINVAL,
                        "argsz is too short for the data, a flag is unknown, or there is not exactly one kind of data",
                        THE_SET),
                cause(
                        "set-irqs-fd",
                        KernelCall.SET_IRQS,
                        Errno.EBADF,
                        "one of the eventfds is not open; vectors from start through that one are detached now",
                        "every descriptor of the data, -1 for none; then set the whole range again"),
                cause(
                        "set-irqs-none",
                        KernelCall.SET_IRQS,
                        Errno.ERANGE,
                        "MSI or MSI-X cannot be enabled with no vector",
                        "count: at least 1",
                        MSI),
                cause(
                        "set-irqs-vectors",
                        KernelCall.SET_IRQS,
                        Errno.ENOSPC,
                        "the host has no interrupt vectors left (a positive result means so many would be had, and nothing"
                                + " is enabled)",
                        "fewer vectors, or spread the device's interrupts over more CPUs",
                        MSI),
                cause(
                        "irq-info-index",
                        KernelCall.VFIO_IRQ_INFO,
                        Errno.EINVAL,
                        "no such index, argsz below 16, or the error interrupt of a device that is not PCI Express",
                        "index and argsz"),
                cause(
                        "group-busy",
                        KernelCall.VFIO_GROUP,
                        Errno.EBUSY,
                        "another process has the group open, or one of its devices through a cdev",
                        "ls -l /proc/*/fd | grep vfio"),
                cause(
                        "group-no-device",
                        KernelCall.VFIO_DEVICE_FD,
                        Errno.ENODEV,
                        "no device of that name is in the group, or its driver is gone",
                        "/sys/kernel/iommu_groups/N/devices, and the device's driver link"),
                cause(
                        "group-no-container",
                        KernelCall.VFIO_DEVICE_FD,
                        Errno.EINVAL,
                        "the group has no container, or the device file is bound already",
                        "SET_CONTAINER and SET_IOMMU, or BIND_IOMMUFD, in order and once"),
                cause(
                        "reset-impossible",
                        KernelCall.VFIO_RESET,
                        Errno.EINVAL,
                        "the device has no function reset",
                        "bit 0 of the flags of VFIO_DEVICE_GET_INFO; a hot reset takes the whole bus"),
                cause(
                        "reset-busy",
                        KernelCall.VFIO_RESET,
                        Errno.EAGAIN,
                        "somebody else holds the device's lock",
                        "ask again"));
    }
}
