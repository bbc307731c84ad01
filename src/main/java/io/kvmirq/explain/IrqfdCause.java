/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Explanation.success;
import static io.kvmirq.explain.Fact.LEVEL;
import static io.kvmirq.explain.Fact.NEW;
import static io.kvmirq.explain.Fact.NO_IRQCHIP;
import static io.kvmirq.explain.Fact.OLD;
import static io.kvmirq.explain.Fact.OWN_EVENTFD;
import static io.kvmirq.explain.Fact.SPLIT_IRQCHIP;
import static io.kvmirq.explain.Fact.TYPED_CALL;
import static io.kvmirq.explain.Fact.X86;

import io.kvmirq.Errno;

/** Of irqfds and ioeventfds. */
public enum IrqfdCause implements Cause {
    IRQFD_BUSY_HOST(refusal(
                    KernelCall.IRQFD,
                    Errno.EBUSY,
                    "this eventfd already feeds a GSI, maybe in another VM",
                    Text.WHO_HAS_IT,
                    "eventfd.c kvm_irqfd_register()")
            .needs(NEW)),
    IRQFD_BUSY_VM(refusal(
                    KernelCall.IRQFD,
                    Errno.EBUSY,
                    "this eventfd already feeds a GSI of this VM (before 6.17 another VM may have it too, and then only"
                            + " the first one gets the signals)",
                    "the assignments of this VM; one eventfd per GSI",
                    "eventfd.c kvm_irqfd_assign()")
            .needs(OLD)),
    IRQFD_NEEDS_IRQCHIP(refusal(
                    KernelCall.IRQFD,
                    Errno.EINVAL,
                    "the VM has no in-kernel irqchip",
                    "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP before any irqfd",
                    "irq.c kvm_arch_irqfd_allowed()")
            .certainWhen(X86, NO_IRQCHIP)),
    IRQFD_RESAMPLE_NEEDS_FULL(refusal(
                    KernelCall.IRQFD,
                    Errno.EINVAL,
                    "resampling needs the full in-kernel irqchip, which sees the guest's EOI",
                    "with a split irqchip the VMM gets KVM_EXIT_IOAPIC_EOI and unmasks the device itself",
                    "irq.c kvm_arch_irqfd_allowed()")
            .certainWhen(X86, LEVEL, SPLIT_IRQCHIP, NO_IRQCHIP)),
    IRQFD_NOT_AN_EVENTFD(refusal(
                    KernelCall.IRQFD,
                    Errno.EINVAL,
                    "the eventfd or resamplefd is a descriptor of something else",
                    Text.WHICH_FD,
                    "fs/eventfd.c eventfd_ctx_fileget()")
            .unless(OWN_EVENTFD)),
    IRQFD_FLAGS(refusal(
                    KernelCall.IRQFD,
                    Errno.EINVAL,
                    "flags other than DEASSIGN and RESAMPLE",
                    "kvm_irqfd.flags",
                    "eventfd.c kvm_irqfd()")
            .unless(TYPED_CALL)),
    IRQFD_FD(refusal(
            KernelCall.IRQFD,
            Errno.EBADF,
            "the eventfd or resamplefd is not open",
            Text.WHICH_FD + "; a number may be another file's by now",
            "eventfd.c kvm_irqfd_assign()")),
    IRQFD_DEASSIGN(success(
            KernelCall.IRQFD_DEASSIGN,
            "0 does not say that anything was assigned: a pair of eventfd and GSI that was never assigned is ignored",
            "the GSI: it must be the one of the assignment, a wrong one leaves the irqfd armed",
            "eventfd.c kvm_irqfd_deassign()")),
    IRQFD_FD_DEASSIGN(refusal(
            KernelCall.IRQFD_DEASSIGN,
            Errno.EBADF,
            "the eventfd is not open",
            "nothing: closing its last descriptor has detached the irqfd already",
            "eventfd.c kvm_irqfd_assign()")),
    IRQFD_NOT_AN_EVENTFD_DEASSIGN(refusal(
            KernelCall.IRQFD_DEASSIGN,
            Errno.EINVAL,
            "the descriptor is not an eventfd",
            "whether the number was closed and given to another file",
            "fs/eventfd.c eventfd_ctx_fileget()")),
    IRQFD_FLAGS_DEASSIGN(refusal(
                    KernelCall.IRQFD_DEASSIGN,
                    Errno.EINVAL,
                    "flags other than DEASSIGN and RESAMPLE",
                    "kvm_irqfd.flags",
                    "eventfd.c kvm_irqfd()")
            .unless(TYPED_CALL)),
    IOEVENTFD_COLLIDES(refusal(
            KernelCall.IOEVENTFD,
            Errno.EEXIST,
            "another ioeventfd already takes this address with the same or any data",
            Text.THE_RANGE + " of both: a length of 0 collides with every length, no datamatch with every data",
            "eventfd.c ioeventfd_check_collision()")),
    IOEVENTFD_ARGUMENTS(refusal(
            KernelCall.IOEVENTFD,
            Errno.EINVAL,
            "the length is not 0, 1, 2, 4 or 8, the range wraps, a flag is unknown, or data is to match without"
                    + " a length",
            Text.THE_RANGE,
            "eventfd.c kvm_assign_ioeventfd()")),
    IOEVENTFD_NOT_AN_EVENTFD(refusal(
                    KernelCall.IOEVENTFD,
                    Errno.EINVAL,
                    "the descriptor is not an eventfd",
                    Text.WHICH_FD,
                    "fs/eventfd.c eventfd_ctx_fdget()")
            .unless(OWN_EVENTFD)),
    IOEVENTFD_FD(refusal(
            KernelCall.IOEVENTFD,
            Errno.EBADF,
            "the eventfd is not open",
            Text.WHICH_FD,
            "eventfd.c kvm_assign_ioeventfd_idx()")),
    IOEVENTFD_BUS(refusal(
            KernelCall.IOEVENTFD,
            Errno.ENOSPC,
            "this VM's I/O bus is full",
            "coalesced zones and in-kernel devices: at most 1000 beside ioeventfds",
            "kvm_main.c kvm_io_bus_register_dev()")),
    IOEVENTFD_NONE(refusal(
            KernelCall.IOEVENTFD_DEASSIGN,
            Errno.ENOENT,
            "none was assigned with exactly this eventfd, bus, address, length and datamatch (an irqfd's"
                    + " deassign says 0 in such a case)",
            Text.THE_RANGE + ": as at the assignment; the eventfd's close does not remove it",
            "eventfd.c kvm_deassign_ioeventfd_idx()")),
    IOEVENTFD_FD_DEASSIGN(refusal(
            KernelCall.IOEVENTFD_DEASSIGN,
            Errno.EBADF,
            "the eventfd is not open",
            Text.WHICH_FD,
            "eventfd.c kvm_assign_ioeventfd_idx()")),
    IOEVENTFD_NOT_AN_EVENTFD_DEASSIGN(refusal(
            KernelCall.IOEVENTFD_DEASSIGN,
            Errno.EINVAL,
            "the descriptor is not an eventfd",
            Text.WHICH_FD,
            "fs/eventfd.c eventfd_ctx_fdget()"));

    /** What several say. */
    private static final class Text {
        static final String WHO_HAS_IT =
                "which irqfd has it: eventfd-id in /proc/*/fdinfo is the same for every copy; deassign it there, or wait until"
                        + " that VM's last descriptor is closed (a forked child may hold one)";
        static final String WHICH_FD = "both descriptors: /proc/PID/fd shows anon_inode:[eventfd]";
        static final String THE_RANGE = "addr, len, flags and datamatch";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    IrqfdCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
