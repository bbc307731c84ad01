/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Condition.SPLIT_IRQCHIP;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.refusal;
import static io.kvmirq.explain.Row.success;
import static io.kvmirq.explain.Text.*;

/** Refusals and behaviours of ioeventfds and irqfds, including irqfds whose eventfd a device vector signals. */
public enum IrqfdAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // irqfds
    IRQFD_BUSY_HOST(refusal(MEASURED, IRQFD, EBUSY, "this eventfd already feeds a GSI, maybe in another VM", WHO_HAS_IT,
        "eventfd.c kvm_irqfd_register()").needs(NEW)),
    IRQFD_BUSY_VM(refusal(LAB, IRQFD, EBUSY, "this eventfd already feeds a GSI of this VM (before 6.17 another VM may"
        + " have it too, and then only the first one gets the signals)",
        "the assignments of this VM; one eventfd per GSI", "eventfd.c kvm_irqfd_assign()").needs(OLD)),
    IRQFD_NEEDS_IRQCHIP(refusal(MEASURED, IRQFD, EINVAL, "the VM has no in-kernel irqchip",
        "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP before any irqfd",
        "irq.c kvm_arch_irqfd_allowed()").certainWhen(X86, NO_IRQCHIP)),
    IRQFD_RESAMPLE_NEEDS_FULL(refusal(MEASURED, IRQFD, EINVAL, "resampling needs the full in-kernel irqchip, which"
        + " sees the guest's EOI", "with a split irqchip the VMM gets KVM_EXIT_IOAPIC_EOI and unmasks the device"
        + " itself", "irq.c kvm_arch_irqfd_allowed()").certainWhen(X86, LEVEL, SPLIT_IRQCHIP, NO_IRQCHIP)),
    IRQFD_NOT_AN_EVENTFD(refusal(MEASURED, IRQFD, EINVAL, "the eventfd or resamplefd descriptor is not an eventfd",
        EVENTFDS, "fs/eventfd.c eventfd_ctx_fileget()").unless(OWN_EVENTFD)),
    IRQFD_NOT_AN_EVENTFD_DEASSIGN(refusal(UNTESTED, KernelCall.IRQFD_DEASSIGN, EINVAL,
        "the descriptor is not an eventfd", "whether the number was closed and given to another file",
        "fs/eventfd.c eventfd_ctx_fileget()").or(IRQFD_NOT_AN_EVENTFD.row)),
    IRQFD_FLAGS(refusal(MEASURED, IRQFD, EINVAL, "flags other than DEASSIGN and RESAMPLE", "kvm_irqfd.flags",
        "eventfd.c kvm_irqfd()").also(KernelCall.IRQFD_DEASSIGN).unless(TYPED_CALL)),
    IRQFD_FD(refusal(MEASURED, IRQFD, EBADF, "the eventfd or resamplefd is not open",
        EVENTFDS + "; the number may since have been reused for another file", "eventfd.c kvm_irqfd_assign()")),
    IRQFD_DEASSIGN(success(MEASURED, KernelCall.IRQFD_DEASSIGN, "0 does not mean that anything was deassigned: KVM"
        + " ignores an eventfd and GSI that were never assigned", "the GSI: if it is not the assigned one, the irqfd"
        + " stays armed", "eventfd.c kvm_irqfd_deassign()")),
    IRQFD_FD_DEASSIGN(refusal(UNTESTED, KernelCall.IRQFD_DEASSIGN, EBADF, "the eventfd is not open",
        "nothing: closing its last descriptor has detached the irqfd already",
        "eventfd.c kvm_irqfd_assign()").or(IRQFD_FD.row)),
    IRQFD_CONSUMES(behaviour(MEASURED, "a signal is consumed from the count and injected once",
        "eventfd.c irqfd_wakeup()")),
    IRQFD_FIRST_TAKES(behaviour(LAB, "before 6.17, if two VMs share an eventfd, the first one gets a signal",
        "eventfd.c irqfd_wakeup()")),
    IRQFD_PRE_SIGNALLED(behaviour(MEASURED, "an earlier signal is injected once and stays in the count",
        "eventfd.c kvm_irqfd_assign()")),
    IRQFD_DETACH_DRAINS(behaviour(MEASURED, "detaching an irqfd reads the eventfd",
        "fs/eventfd.c eventfd_ctx_remove_wait_queue()")),
    IRQFD_GONE_WITH_EVENTFD(behaviour(MEASURED, "the last close() of the eventfd removes the irqfd, asynchronously",
        "eventfd.c irqfd_wakeup() EPOLLHUP")),
    IRQFD_GONE_WITH_VM(behaviour(MEASURED, "the last close() of the VM removes its irqfds, synchronously",
        "eventfd.c kvm_irqfd_release()")),
    RESAMPLE_SOURCE(behaviour(MEASURED, "resampling irqfds share one interrupt source of the line",
        "eventfd.c irqfd_inject()")),
    RESAMPLE_ON_EOI(behaviour(MEASURED, "the guest's EOI lowers the line and signals every resamplefd of the GSI",
        "eventfd.c irqfd_resampler_ack()")),
    RESAMPLE_AT_UNMASK(behaviour(MEASURED, "unmasking a pending level signals the resamplefds and does not interrupt;"
        + " before 6.4 it interrupts", "ioapic.c ioapic_write_indirect()")),
    RESAMPLE_LAST_LOWERS(behaviour(MEASURED,
        "removing the last resampling irqfd of a GSI lowers its line; so does a first one refused with EBUSY",
        "eventfd.c irqfd_resampler_shutdown()")),

    // ioeventfds
    IOEVENTFD_COLLIDES(refusal(MEASURED, IOEVENTFD, EEXIST,
        "another ioeventfd already matches this address with the same or any data", RANGE + " of both: a length of 0"
        + " collides with every length, no datamatch with every data", "eventfd.c ioeventfd_check_collision()")),
    IOEVENTFD_ARGUMENTS(refusal(MEASURED, IOEVENTFD, EINVAL,
        "the length is not 0, 1, 2, 4 or 8, the range wraps, a flag is unknown, or DATAMATCH is set without a length",
        RANGE, "eventfd.c kvm_assign_ioeventfd()")),
    IOEVENTFD_NOT_AN_EVENTFD(refusal(MEASURED, IOEVENTFD, EINVAL, "the descriptor is not an eventfd", EVENTFDS,
        "fs/eventfd.c eventfd_ctx_fdget()").unless(OWN_EVENTFD)),
    IOEVENTFD_FD(refusal(MEASURED, IOEVENTFD, EBADF, "the eventfd is not open", EVENTFDS,
        "eventfd.c kvm_assign_ioeventfd_idx()").also(IOEVENTFD_DEASSIGN)),
    IOEVENTFD_BUS(refusal(UNTESTED, IOEVENTFD, ENOSPC, "this VM's I/O bus is full",
        "coalesced zones and in-kernel devices: at most 1000 beside ioeventfds",
        "kvm_main.c kvm_io_bus_register_dev()")),
    IOEVENTFD_NONE(refusal(MEASURED, IOEVENTFD_DEASSIGN, ENOENT, "no ioeventfd was assigned with exactly this eventfd, bus,"
        + " address, length and datamatch (deassigning an irqfd returns 0 in this case)", RANGE + ": the same as at"
        + " the assignment; closing the eventfd does not remove the ioeventfd",
        "eventfd.c kvm_deassign_ioeventfd_idx()")),
    IOEVENTFD_NOT_AN_EVENTFD_DEASSIGN(refusal(UNTESTED, IOEVENTFD_DEASSIGN, EINVAL, "the descriptor is not an eventfd",
        EVENTFDS, "fs/eventfd.c eventfd_ctx_fdget()").or(IOEVENTFD_NOT_AN_EVENTFD.row)),
    IOEVENTFD_TAKES(behaviour(MEASURED, "a matching guest write signals the eventfd without an exit",
        "eventfd.c ioeventfd_write()")),

    // An irqfd that shares its eventfd with a device vector
    BYPASS_CONNECTS(behaviour(SOURCE,
        "an irqfd and an MSI or MSI-X vector that VFIO has enabled with the same eventfd are connected,"
        + " in either order",
        "virt/lib/irqbypass.c __connect()")),
    BYPASS_BUSY(behaviour(SOURCE, "a second irqfd or vector of one eventfd is not connected, but its call succeeds",
        "virt/lib/irqbypass.c irq_bypass_register_producer()")),
    IRTE_POSTED(behaviour(SOURCE,
        "a device's interrupt is posted if its route is a fixed or lowest-priority message to one vCPU",
        "irq.c kvm_pi_update_irte()")),
    IRTE_NOT_POSTED(behaviour(SOURCE, "a device's interrupt with any other route goes through the eventfd",
        "irq.c kvm_pi_update_irte()")),
    IRTE_RESTORED(behaviour(SOURCE, "once the irqfd or the vector is removed, the interrupt goes through the eventfd again",
        "irq.c kvm_arch_irq_bypass_del_producer()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    IrqfdAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
