/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.model.GuestRam;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.kvm.FakeMemorySlots;
import java.nio.ByteBuffer;

/** The guest memory that KVM reads for an ITS. Source: {@code kvm_read_guest()} in virt/kvm/kvm_main.c. */
record ArmRam(KernelOfFile host, FakeMemorySlots slots) implements GuestRam {
    /** Reads byte by byte, because a structure may span two slots. */
    @Override
    public boolean read(long address, ByteBuffer to) {
        for (int i = 0; i < to.remaining(); i++) {
            ByteBuffer from = slots.user(address + i)
                    .map(user -> host.memory().copyIn(user, 1))
                    .orElse(null);
            if (from == null) {
                return false;
            }
            to.put(to.position() + i, from.get(0));
        }
        return true;
    }

    @Override
    public boolean write(long address, ByteBuffer from) {
        for (int i = 0; i < from.remaining(); i++) {
            ByteBuffer single = ByteBuffer.allocate(1).put(0, from.get(from.position() + i));
            if (!slots.isWritable(address + i)
                    || slots.user(address + i)
                            .filter(user -> host.memory().copyOut(user, single, 1))
                            .isEmpty()) {
                return false;
            }
            slots.written(address + i, 1);
        }
        return true;
    }

    @Override
    public boolean isVisible(long address) {
        return slots.user(address).isPresent();
    }
}
