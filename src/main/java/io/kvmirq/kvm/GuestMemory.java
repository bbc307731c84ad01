/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Undo;

/** Memory of the guest, shared with this process. It leases the VM. Thread-safe. */
public final class GuestMemory implements AutoCloseable {
    private final Vm vm;
    private final int slot;
    private final Mapping mapping;
    private final Fd.Lease vmLease;
    private boolean closed;

    GuestMemory(Vm vm, int slot, long guestAddress, int length) {
        this.vm = vm;
        this.slot = slot;
        try (Undo undo = new Undo()) {
            this.vmLease = undo.add(vm.fd().lease());
            this.mapping = undo.add(Mapping.anonymous(vm.kernel(), length));
            vm.kernel().calls().setMemory(vmLease, slot, guestAddress, mapping);
            undo.keep();
        }
    }

    /** By offset from the memory's start. */
    public Mapping mapping() {
        return mapping;
    }

    /**
     * Takes the memory from the guest, then unmaps it. Should the kernel not let go of it, it stays mapped until the
     * process ends rather than become somebody else's under the guest's hands. Idempotent, never fails.
     */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        if (vm.kernel().calls().removeMemory(vmLease, slot)) {
            mapping.close();
        } else {
            mapping.abandon();
        }
        vmLease.close();
    }

    @Override
    public String toString() {
        return "guest memory of " + mapping.length() + " bytes in slot " + slot + " of " + vm;
    }
}
