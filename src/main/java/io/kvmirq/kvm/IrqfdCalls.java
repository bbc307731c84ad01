/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.explain.Fact;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import java.util.Set;

/** The calls for irqfds of one VM. On leases, so that what was assigned can be deassigned whatever was closed meanwhile. */
final class IrqfdCalls extends Calls {
    private final VmCalls vm;

    IrqfdCalls(VmCalls vm) {
        super(vm.vm().kernel());
        this.vm = vm;
    }

    /** For the registration, which the kernel ends itself when the eventfd's last file is closed. */
    Fd.Lease lease(EventFd event) {
        return leased(event);
    }

    /** Whether the eventfd's file goes when this lease is closed, and the irqfd with it. */
    boolean isLastHold(Fd.Lease event) {
        return holdsLastFile(event);
    }

    void assign(Fd.Lease vmLease, EventFd event, Fd.Lease eventLease, Gsi gsi) {
        int result = backend().irqfdAssign(number(vmLease), number(eventLease), gsi.number());
        if (result < 0) {
            throw failure(
                    result,
                    KernelCall.IRQFD,
                    known(event, Fact.EDGE),
                    () -> VmCalls.operands(vmLease, eventLease) + " gsi=" + gsi.number());
        }
    }

    void assignLevel(Fd.Lease vmLease, EventFd event, Fd.Lease eventLease, Fd.Lease resample, Gsi gsi) {
        int result = backend().irqfdAssignLevel(number(vmLease), number(eventLease), number(resample), gsi.number());
        if (result < 0) {
            throw failure(
                    result,
                    KernelCall.IRQFD_LEVEL,
                    known(event, Fact.LEVEL),
                    () -> VmCalls.operands(vmLease, eventLease) + " resamplefd=" + resample.number() + " gsi="
                            + gsi.number());
        }
    }

    private Set<Fact> known(EventFd event, Fact trigger) {
        return isAdopted(event) ? vm.known(trigger) : vm.known(trigger, Fact.OWN_EVENTFD);
    }

    /**
     * When it returns, no interrupt of this irqfd is in flight, and the kernel has finished every irqfd of the host whose
     * eventfd was closed before: the kernel accepts any open eventfd. The result is not looked at. Called from another
     * process than the one that made the VM the kernel returns EIO, and the irqfd stays.
     */
    void deassign(Fd.Lease vmLease, Fd.Lease event, Gsi gsi) {
        backend().irqfdDeassign(number(vmLease), number(event), gsi.number());
    }

    /** Signals an eventfd whose handle may have been closed. */
    void signal(Fd.Lease event) {
        backend().eventfdSignal(number(event), 1);
    }
}
