/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Condition.MSI;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.like;
import static io.kvmirq.explain.Row.refusal;
import static io.kvmirq.explain.Text.*;

/** Refusals and behaviours of VFIO for interrupts of PCI and platform devices. */
public enum VfioIrqAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // VFIO_DEVICE_GET_IRQ_INFO
    VFIO_IRQ_INFO_ARGUMENTS(refusal(LAB, VFIO_IRQ_INFO, EINVAL,
        "no such index, argsz below 16, or the error interrupt of a device that is not PCI Express",
        "index and argsz", "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    VFIO_IRQ_FLAGS(behaviour(LAB,
        "INTx is maskable and automasked; the others are NORESIZE, except the vectors of MSI-X on x86 since 6.5",
        "vfio_pci_core.c vfio_pci_ioctl_get_irq_info()")),

    // VFIO_DEVICE_SET_IRQS
    VFIO_IRQS_MSI_MASK(refusal(LAB, SET_IRQS, ENOTTY, "VFIO cannot mask or unmask MSI and MSI-X",
        "mask by deassigning the irqfd: signals wait in the eventfd until it is assigned again",
        "drivers/vfio/pci/vfio_pci_intrs.c").needs(MSI)),
    VFIO_IRQS_INTX_MASK_EVENTFD(refusal(LAB, SET_IRQS, ENOTTY, "INTx can be unmasked through an eventfd, not masked",
        "MASK with DATA_NONE", "drivers/vfio/pci/vfio_pci_intrs.c").needs(INTX)),
    VFIO_IRQS_ERR_REQ(refusal(LAB, SET_IRQS, ENOTTY, "the error and request interrupts support only TRIGGER", SET,
        "drivers/vfio/pci/vfio_pci_intrs.c").needs(ERR_REQ)),
    VFIO_IRQS_ACTION(refusal(LAB, SET_IRQS, ENOTTY, "not exactly one of MASK, UNMASK and TRIGGER",
        "flags: one action, one kind of data", "drivers/vfio/pci/vfio_pci_intrs.c").unless(TYPED_CALL)),
    VFIO_IRQS_UNMASK_EVENTFD(refusal(LAB, SET_IRQS, EBUSY, "INTx has an unmask eventfd already",
        "clear it with -1 before setting another", "drivers/vfio/pci/vfio_pci_intrs.c").needs(INTX)),
    SET_IRQS_NO_LINE(refusal(UNTESTED, SET_IRQS, ENODEV,
        "the host has no line for the device's pin: use MSI or MSI-X",
        "irq below the device in sysfs, which is 0 then", "vfio_pci_intrs.c vfio_intx_enable()").needs(INTX)),
    VFIO_IRQS_SHARED(refusal(LAB, SET_IRQS, EBUSY, "another handler has the line, and one of the two must be"
        + " exclusive: its device cannot mask itself, or vfio-pci has nointxmask=1",
        HANDLERS, "kernel/irq/manage.c __setup_irq()").needs(INTX)),
    VFIO_IRQS_RANGE(refusal(LAB, SET_IRQS, EINVAL,
        "start + count exceeds the index's interrupt count, which may be 0",
        "VFIO_DEVICE_GET_IRQ_INFO of the index", "drivers/vfio/pci/vfio_pci_intrs.c").unless(TYPED_CALL)),
    VFIO_IRQS_NOT_AN_EVENTFD(refusal(LAB, SET_IRQS, EINVAL, "one of the files is not an eventfd",
        "every descriptor of the data; MSI vectors from start through that one are detached: set them again",
        "vfio_pci_intrs.c vfio_msi_set_vector_signal()")),
    VFIO_IRQS_OTHER_MODE(refusal(LAB, SET_IRQS, EINVAL,
        "another of INTx, MSI and MSI-X is active, and VFIO does not switch implicitly",
        "disable the other first: TRIGGER,"
        + " DATA_NONE, count 0", "drivers/vfio/pci/vfio_pci_intrs.c").unless(ERR_REQ, PLATFORM)),
    VFIO_IRQS_INACTIVE(refusal(LAB, SET_IRQS, EINVAL,
        "the index is not active, so it cannot be disabled, triggered or masked",
        "whether TRIGGER with eventfds came first", "drivers/vfio/pci/vfio_pci_intrs.c")),
    VFIO_IRQS_INDEX(refusal(LAB, SET_IRQS, EINVAL,
        "the index or a flag is unknown, argsz is too short for the data, or there is not exactly one kind of data",
        SET, "drivers/vfio/pci/vfio_pci_intrs.c").unless(TYPED_CALL)),
    VFIO_IRQS_HEADER(like(LAB, VFIO_IRQS_INDEX.row)),
    VFIO_IRQS_DATA(like(LAB, VFIO_IRQS_INDEX.row)),
    VFIO_IRQS_FD(refusal(LAB, SET_IRQS, EBADF, "one of the eventfds is not open", "every descriptor of the data, -1"
        + " for none; MSI vectors from start through that one are detached: set them again",
        "drivers/vfio/pci/vfio_pci_intrs.c")),
    VFIO_IRQS_ASLEEP(refusal(LAB, SET_IRQS, EINVAL, "MSI or MSI-X cannot be enabled while the device sleeps in D3hot",
        "the power state in its configuration space", "msi.c __pci_enable_msi_range(), __pci_enable_msix_range()").needs(MSI)),
    VFIO_IRQS_NO_VECTOR(refusal(LAB, SET_IRQS, ERANGE, "MSI or MSI-X cannot be enabled with no vector",
        "count: at least 1", "drivers/vfio/pci/vfio_pci_intrs.c").needs(MSI)),
    VFIO_IRQS_NO_SPACE(refusal(LAB, SET_IRQS, ENOSPC, "the host has no interrupt vectors left (a positive result is"
        + " the number that it could get, and nothing is enabled)",
        "fewer vectors, or spread the device's interrupts over"
        + " more CPUs", "drivers/vfio/pci/vfio_pci_intrs.c").needs(MSI)),
    VFIO_IRQS_COUNT(refusal(LAB, SET_IRQS, EINVAL,
        "count 0 is valid only for TRIGGER with DATA_NONE, which disables the index",
        "count: 1 for INTx, the error and the request interrupt",
        "vfio_pci_intrs.c vfio_pci_set_intx_trigger()").unless(TYPED_CALL)),
    VFIO_IRQS_ALLOCATED(refusal(LAB, SET_IRQS, EINVAL,
        "the vector is beyond those that were enabled, and the index is NORESIZE",
        "disable, then enable as many as are needed", "vfio_pci_intrs.c vfio_msi_set_block()").unless(TYPED_CALL)),
    VFIO_IRQS_SINGLE_FD(refusal(SOURCE, SET_IRQS, EINVAL, "the descriptor is below -1", "-1 to remove the eventfd",
        "vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()").unless(TYPED_CALL)),
    VFIO_MSIX_PENDING(behaviour(LAB, "a message of an MSI-X vector without an eventfd is sent when it gets one",
        "PCI 3.0, MSI-X PBA")),
    VFIO_INTX_WITHOUT_TRIGGER(behaviour(LAB, "INTx with descriptor -1 stays enabled without a trigger",
        "vfio_pci_intrs.c vfio_intx_enable()")),
    VFIO_INTX_DIRECT(behaviour(INFERRED,
        "the historic profile forwards a level: its handler signals, masks nothing and claims every interrupt",
        "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler, May 2017")),
    VFIO_CLOSE_DISINTX(behaviour(SOURCE, "the last close restores the configuration: DisINTx is clear, and a device"
        + " that is not reset may assert its line", "vfio_pci_core.c vfio_pci_core_disable()")),
    HOST_LINE_POLLED(behaviour(SOURCE,
        "a shared line that is disabled because no handler claims its interrupts is polled ten times a second",
        "kernel/irq/spurious.c poll_spurious_irqs()")),
    VFIO_UNMASK_READS(behaviour(LAB, "a signal of the unmask eventfd is consumed and unmasks INTx",
        "virqfd.c virqfd_wakeup()")),
    VFIO_UNMASK_DETACH_DRAINS(behaviour(LAB, "removing the unmask eventfd of INTx reads the eventfd",
        "virqfd.c virqfd_shutdown()")),
    VFIO_IRQS_SHORT(behaviour(LAB,
        "if the host has too few vectors, the result is their number and nothing is enabled",
        "vfio_pci_intrs.c vfio_msi_enable()")),
    VFIO_IRQS_UNWOUND(behaviour(LAB, "a failure detaches all vectors from start through the one that failed",
        "vfio_pci_intrs.c vfio_msi_set_block()")),
    VFIO_IRQS_SINGLE_FD_BEFORE(behaviour(LAB,
        "on 6.1 a descriptor below -1 leaves the error and the request interrupt as they are",
        "vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()")),

    // Platform devices
    VFIO_PLATFORM_ONE(refusal(SOURCE, SET_IRQS, EINVAL, "an index of a platform device has one interrupt",
        "start 0 and count 1; count 0 is for TRIGGER with DATA_NONE, which disables",
        "vfio_platform_irq.c vfio_platform_set_irq_trigger()").needs(PLATFORM).unless(TYPED_CALL)),
    VFIO_PLATFORM_EDGE(refusal(SOURCE, SET_IRQS, EINVAL, "the platform device's interrupt is an edge, which"
        + " cannot be masked", "VFIO_IRQ_INFO_MASKABLE of VFIO_DEVICE_GET_IRQ_INFO",
        "vfio_platform_irq.c vfio_platform_set_irq_mask()").needs(PLATFORM).unless(TYPED_CALL)),
    VFIO_PLATFORM_EVENTFD(refusal(SOURCE, SET_IRQS, EBUSY,
        "the interrupt already has an eventfd that masks it, or one that unmasks it", "clear it with -1 before setting"
        + " another", "vfio_platform_irq.c vfio_platform_set_irq_unmask()").needs(PLATFORM)),
    PLATFORM_SHARED(refusal(UNTESTED, SET_IRQS, EBUSY, "another driver has the line of the platform device's interrupt",
        "/proc/interrupts for the line's other users", "vfio_platform_irq.c vfio_set_trigger()").needs(PLATFORM)),
    VFIO_PLATFORM_EDGE_LATCHED(behaviour(INFERRED,
        "an edge that comes while the interrupt has no eventfd is delivered when it gets one",
        "kernel/irq/resend.c check_irq_resend()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    VfioIrqAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
