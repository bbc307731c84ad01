/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Undo;
import java.nio.ByteBuffer;

/** Memory of the guest, shared with this process. It leases the VM. Thread-safe. */
public final class GuestMemory implements AutoCloseable {
    private final Vm vm;
    private final int slot;
    private final Mapping.Owner memory;
    private final Fd.Lease vmLease;
    /** For {@link #close}, which must not allocate. */
    private final ByteBuffer removal;

    private boolean closed;

    GuestMemory(Vm vm, long guestAddress, long length) {
        this.vm = vm;
        try (Undo undo = new Undo()) {
            this.vmLease = undo.add(vm.fd().lease());
            this.slot = vm.slots().take(undo);
            this.removal = VmCalls.memoryRegion(slot, 0, 0);
            this.memory = undo.add(Mapping.anonymous(vm.kernel(), length));
            vm.calls().setMemory(vmLease, slot, guestAddress, mapping());
            undo.keep();
        }
    }

    /** By offset from the memory's start, until {@link #close}. */
    public Mapping mapping() {
        return memory.mapping();
    }

    /**
     * Removes the memory slot, then unmaps the memory. If the kernel keeps the slot, the memory stays mapped until the
     * process ends, because the guest could still write to it, and the slot is not used again. Idempotent, never fails.
     */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        boolean removed = vm.calls().removeMemory(vmLease, removal);
        closed = true;
        if (removed) {
            memory.close();
            vm.slots().giveBack(slot);
        } else {
            memory.abandon();
        }
        vmLease.close();
    }

    @Override
    public String toString() {
        return "guest memory of " + mapping().length() + " bytes in slot " + slot + " of " + vm;
    }
}
