/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Cause.cause;
import static io.kvmirq.explain.Cause.success;
import static io.kvmirq.explain.Fact.LEVEL;
import static io.kvmirq.explain.Fact.NEW;
import static io.kvmirq.explain.Fact.NO_IRQCHIP;
import static io.kvmirq.explain.Fact.OLD;
import static io.kvmirq.explain.Fact.SPLIT_IRQCHIP;
import static io.kvmirq.explain.Fact.X86;

import io.kvmirq.Errno;
import java.util.List;

/** Of irqfds and ioeventfds. */
final class IrqfdCauses {
    private static final String WHO_HAS_IT =
            "who else has it: eventfd-id in /proc/*/fdinfo is the same for every copy; deassign it there, or wait until"
                    + " that VM's last descriptor is closed (a forked child may hold one)";
    private static final String WHICH_FD = "both descriptors: /proc/PID/fd shows anon_inode:[eventfd]";
    private static final String THE_RANGE = "addr, len, flags and datamatch";

    private IrqfdCauses() {}

    static List<Cause> rows() {
        return List.of(
                cause(
                        "IRQFD_BUSY_HOST",
                        KernelCall.IRQFD,
                        Errno.EBUSY,
                        "this eventfd already feeds a GSI, maybe in another VM",
                        WHO_HAS_IT,
                        NEW),
                cause(
                        "IRQFD_BUSY_VM",
                        KernelCall.IRQFD,
                        Errno.EBUSY,
                        "this eventfd already feeds a GSI of this VM (before 6.17 another VM may have it too, and then only"
                                + " the first one hears)",
                        "the assignments of this VM; one eventfd per GSI",
                        OLD),
                cause(
                        "IRQFD_NEEDS_IRQCHIP",
                        KernelCall.IRQFD,
                        Errno.EINVAL,
                        "the VM has no in-kernel irqchip",
                        "KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP before any irqfd",
                        X86,
                        NO_IRQCHIP),
                cause(
                        "IRQFD_RESAMPLE_NEEDS_FULL",
                        KernelCall.IRQFD,
                        Errno.EINVAL,
                        "resampling needs the full in-kernel irqchip, which hears the guest's EOI",
                        "with a split irqchip the VMM gets KVM_EXIT_IOAPIC_EOI and unmasks the device itself",
                        X86,
                        LEVEL,
                        SPLIT_IRQCHIP,
                        NO_IRQCHIP),
                cause(
                        "IRQFD_NOT_AN_EVENTFD",
                        KernelCall.IRQFD,
                        Errno.EINVAL,
                        "the eventfd or resamplefd is a descriptor of something else",
                        WHICH_FD),
                cause(
                        "IRQFD_FLAGS",
                        KernelCall.IRQFD,
                        Errno.EINVAL,
                        "flags other than DEASSIGN and RESAMPLE",
                        "kvm_irqfd.flags"),
                cause(
                        "IRQFD_FD",
                        KernelCall.IRQFD,
                        Errno.EBADF,
                        "the eventfd or resamplefd is not open",
                        WHICH_FD + "; a number may be another file's by now"),
                success(
                        "IRQFD_DEASSIGN",
                        KernelCall.IRQFD_DEASSIGN,
                        "0 does not say that anything was assigned: a pair of eventfd and GSI nobody assigned is ignored",
                        "the GSI: it must be the one of the assignment, a wrong one leaves the irqfd armed"),
                cause(
                        "IRQFD_FD",
                        KernelCall.IRQFD_DEASSIGN,
                        Errno.EBADF,
                        "the eventfd is not open",
                        "nothing: closing its last descriptor has detached the irqfd already"),
                cause(
                        "IRQFD_NOT_AN_EVENTFD",
                        KernelCall.IRQFD_DEASSIGN,
                        Errno.EINVAL,
                        "the descriptor is not an eventfd",
                        "whether the number was closed and given to another file"),
                cause(
                        "IRQFD_FLAGS",
                        KernelCall.IRQFD_DEASSIGN,
                        Errno.EINVAL,
                        "flags other than DEASSIGN and RESAMPLE",
                        "kvm_irqfd.flags"),
                cause(
                        "IOEVENTFD_COLLIDES",
                        KernelCall.IOEVENTFD,
                        Errno.EEXIST,
                        "another ioeventfd already takes this address with the same or any data",
                        THE_RANGE + " of both: a length of 0 collides with every length, no datamatch with every data"),
                cause(
                        "IOEVENTFD_ARGUMENTS",
                        KernelCall.IOEVENTFD,
                        Errno.EINVAL,
                        "the length is not 0, 1, 2, 4 or 8, the range wraps, a flag is unknown, or data is to match without"
                                + " a length",
                        THE_RANGE),
                cause(
                        "IOEVENTFD_NOT_AN_EVENTFD",
                        KernelCall.IOEVENTFD,
                        Errno.EINVAL,
                        "the descriptor is not an eventfd",
                        WHICH_FD),
                cause("IOEVENTFD_FD", KernelCall.IOEVENTFD, Errno.EBADF, "the eventfd is not open", WHICH_FD),
                cause(
                        "ioeventfd-bus",
                        KernelCall.IOEVENTFD,
                        Errno.ENOSPC,
                        "this VM's I/O bus is full",
                        "coalesced zones and in-kernel devices: at most 1000 beside ioeventfds"),
                cause(
                        "IOEVENTFD_NONE",
                        KernelCall.IOEVENTFD_DEASSIGN,
                        Errno.ENOENT,
                        "none was assigned with exactly this eventfd, bus, address, length and datamatch (an irqfd's"
                                + " deassign says 0 in such a case)",
                        THE_RANGE + ": as at the assignment; the eventfd's close does not remove it"),
                cause("IOEVENTFD_FD", KernelCall.IOEVENTFD_DEASSIGN, Errno.EBADF, "the eventfd is not open", WHICH_FD),
                cause(
                        "IOEVENTFD_NOT_AN_EVENTFD",
                        KernelCall.IOEVENTFD_DEASSIGN,
                        Errno.EINVAL,
                        "the descriptor is not an eventfd",
                        WHICH_FD));
    }
}
