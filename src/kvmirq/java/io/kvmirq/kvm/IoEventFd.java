/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.IoAddress;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.undo.Undo;
import java.util.Objects;

/**
 * An ioeventfd, which signals an eventfd when the guest writes to an address. It keeps the VM and the eventfd open.
 * Unlike an irqfd, it survives in the kernel when the eventfd's last descriptor is closed. Thread-safe.
 *
 * <p>Source: {@code kvm_assign_ioeventfd_idx()} in virt/kvm/eventfd.c.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="doorbell"}
 */
public final class IoEventFd implements AutoCloseable {
    private final VmCalls calls;
    private final IoAddress address;
    private final EventFd event;
    private final Fd.Lease vmLease;
    private final Fd.Lease eventLease;
    private boolean closed;

    IoEventFd(VmCalls calls, IoAddress address, EventFd event) {
        this.calls = calls;
        this.address = Objects.requireNonNull(address, "address is null");
        this.event = Objects.requireNonNull(event, "event is null");
        try (Undo undo = new Undo()) {
            this.vmLease = undo.add(calls.vm().lease());
            this.eventLease = undo.add(event.fd().lease());
            calls.assignIoEventFd(vmLease, eventLease, address);
            undo.keep();
        }
    }

    /** The eventfd that guest writes signal. */
    public EventFd event() {
        return event;
    }

    /** The address, length and value of the guest writes that signal the eventfd. */
    public IoAddress address() {
        return address;
    }

    /** Removes the ioeventfd, so that guest writes to its address exit to the VMM. Idempotent, never fails. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        calls.deassignIoEventFd(vmLease, eventLease, address);
        closed = true;
        eventLease.close();
        vmLease.close();
    }

    @Override
    public String toString() {
        return "ioeventfd " + address + " → " + event;
    }
}
