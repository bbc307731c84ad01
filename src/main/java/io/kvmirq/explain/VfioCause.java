/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Fact.ERR_REQ;
import static io.kvmirq.explain.Fact.INTX;
import static io.kvmirq.explain.Fact.MSI;

import io.kvmirq.Errno;

/** Of VFIO devices: drivers/vfio/vfio_main.c, drivers/vfio/pci/vfio_pci_intrs.c. */
public enum VfioCause implements Cause {
    SET_IRQS_MSI_MASK(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOTTY,
                    "MSI and MSI-X have no MASK and UNMASK in VFIO",
                    "mask by deassigning the irqfd: signals wait in the eventfd until it is assigned again",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(MSI)),
    SET_IRQS_INTX_MASK_EVENTFD(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOTTY,
                    "INTx can be unmasked through an eventfd, not masked",
                    "MASK with DATA_NONE",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(INTX)),
    SET_IRQS_ERR_REQ(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOTTY,
                    "the error and request interrupts have TRIGGER only",
                    Text.THE_SET,
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(ERR_REQ)),
    SET_IRQS_ACTION(refusal(
            KernelCall.SET_IRQS,
            Errno.ENOTTY,
            "not exactly one of MASK, UNMASK and TRIGGER",
            "flags: one action, one kind of data",
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_UNMASK_EVENTFD(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EBUSY,
                    "INTx has an unmask eventfd already",
                    "clear it with -1 before setting another",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(INTX)),
    SET_IRQS_SHARED(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EBUSY,
                    "the line must be exclusive, because the device cannot mask itself, and another driver has it",
                    "/proc/interrupts for the line's other users",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(INTX)),
    SET_IRQS_RANGE(refusal(
            KernelCall.SET_IRQS,
            Errno.EINVAL,
            "start + count is beyond what the index has (an index may have none)",
            "VFIO_DEVICE_GET_IRQ_INFO of the index",
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_OTHER_MODE(refusal(
            KernelCall.SET_IRQS,
            Errno.EINVAL,
            "another of INTx, MSI and MSI-X is active: there is no implicit switch",
            "disable the other first: TRIGGER, DATA_NONE, count 0",
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_INACTIVE(refusal(
            KernelCall.SET_IRQS,
            Errno.EINVAL,
            "the index is not active: to disable twice, or to raise or mask what is off, is refused",
            "whether TRIGGER with eventfds came before",
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_ARGUMENTS(refusal(
            KernelCall.SET_IRQS,
            Errno.EINVAL,
            "argsz is too short for the data, a flag is unknown, or there is not exactly one kind of data",
            Text.THE_SET,
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_FD(refusal(
            KernelCall.SET_IRQS,
            Errno.EBADF,
            "one of the eventfds is not open; vectors from start through that one are detached now",
            "every descriptor of the data, -1 for none; then set the whole range again",
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_NONE(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ERANGE,
                    "MSI or MSI-X cannot be enabled with no vector",
                    "count: at least 1",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(MSI)),
    SET_IRQS_VECTORS(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOSPC,
                    "the host has no interrupt vectors left (a positive result means so many would be had, and nothing"
                            + " is enabled)",
                    "fewer vectors, or spread the device's interrupts over more CPUs",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(MSI)),
    IRQ_INFO_INDEX(refusal(
            KernelCall.VFIO_IRQ_INFO,
            Errno.EINVAL,
            "no such index, argsz below 16, or the error interrupt of a device that is not PCI Express",
            "index and argsz",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    GROUP_BUSY(refusal(
            KernelCall.VFIO_GROUP,
            Errno.EBUSY,
            "another process has the group open, or one of its devices through a cdev",
            "ls -l /proc/*/fd | grep vfio",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    GROUP_NO_DEVICE(refusal(
            KernelCall.VFIO_DEVICE_FD,
            Errno.ENODEV,
            "no device of that name is in the group, or its driver is gone",
            "/sys/kernel/iommu_groups/N/devices, and the device's driver link",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    GROUP_NO_CONTAINER(refusal(
            KernelCall.VFIO_DEVICE_FD,
            Errno.EINVAL,
            "the group has no container, or the device file is bound already",
            "SET_CONTAINER and SET_IOMMU, or BIND_IOMMUFD, in order and once",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    RESET_IMPOSSIBLE(refusal(
            KernelCall.VFIO_RESET,
            Errno.EINVAL,
            "the device has no function reset",
            "bit 0 of the flags of VFIO_DEVICE_GET_INFO; a hot reset takes the whole bus",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    RESET_BUSY(refusal(
            KernelCall.VFIO_RESET,
            Errno.EAGAIN,
            "another call holds the device's lock",
            "ask again",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c"));

    /** What several say. */
    private static final class Text {
        static final String THE_SET = "flags, index, start, count and argsz of vfio_irq_set";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    VfioCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
