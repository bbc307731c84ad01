/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;

/**
 * Guest writes that signal an eventfd. It leases the eventfd, whose closing would not end it (unlike an irqfd). Thread-safe.
 *
 * <p>Source: {@code kvm_assign_ioeventfd_idx()} in virt/kvm/eventfd.c.
 */
public final class IoEventFd implements AutoCloseable {
    private final Fd vm;
    private final IoAddress address;
    private final EventFd event;
    private final Fd.Lease lease;
    private boolean closed;

    IoEventFd(Fd vm, IoAddress address, EventFd event) {
        this.vm = vm;
        this.address = address;
        this.event = event;
        this.lease = event.fd().lease();
        try {
            vm.kernel()
                    .calls()
                    .assignIoEventFd(
                            vm,
                            event.fd(),
                            address.address(),
                            address.length(),
                            flags(),
                            address.data().orElse(0));
        } catch (RuntimeException e) {
            lease.close();
            throw e;
        }
    }

    private int flags() {
        return (address instanceof IoAddress.Port ? KernelBackend.IOEVENTFD_PIO : 0)
                | (address.data().isPresent() ? KernelBackend.IOEVENTFD_DATAMATCH : 0);
    }

    public EventFd event() {
        return event;
    }

    public IoAddress address() {
        return address;
    }

    /** From here on such a write leaves the guest with an exit again. Idempotent, never fails. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        vm.kernel()
                .calls()
                .deassignIoEventFd(
                        vm,
                        event.fd(),
                        address.address(),
                        address.length(),
                        flags(),
                        address.data().orElse(0));
        lease.close();
    }
}
