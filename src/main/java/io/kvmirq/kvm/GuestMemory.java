/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.kernel.Mapping;

/** Memory of the guest, shared with this process. Thread-safe. Close it after its vCPUs have stopped. */
public final class GuestMemory implements AutoCloseable {
    private final Vm vm;
    private final int slot;
    private final Mapping mapping;

    GuestMemory(Vm vm, int slot, long guestAddress, int length) {
        this.vm = vm;
        this.slot = slot;
        this.mapping = Mapping.anonymous(vm.kernel(), length);
        try {
            vm.kernel().calls().setMemory(vm.fd(), slot, guestAddress, mapping);
        } catch (RuntimeException e) {
            mapping.close();
            throw e;
        }
    }

    /** By offset from the memory's start. */
    public Mapping mapping() {
        return mapping;
    }

    /** Takes the memory from the guest and unmaps it. Idempotent, never fails. */
    @Override
    public void close() {
        vm.kernel().calls().removeMemory(vm.fd(), slot);
        mapping.close();
    }
}
