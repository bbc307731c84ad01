/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.fake.kvm.FakeIoEventFd;
import io.kvmirq.fake.kvm.RunPage;
import io.kvmirq.uapi.Uapi;
import java.util.Set;

/**
 * Guest accesses to ports and MMIO: an ioeventfd that matches a write is signalled, all others exit to the VMM. Source:
 * {@code kernel_pio()} and {@code vcpu_mmio_write()} in arch/x86/kvm/x86.c.
 */
final class CpuBus {
    private static final int PIT_FIRST_PORT = 0x40;
    private static final int PIT_LAST_PORT = 0x43;
    private static final int SPEAKER_PORT = 0x61;
    /** Both PICs, and their ELCRs. */
    private static final Set<Integer> PIC_PORTS = Set.of(0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1);

    private final X86Vm vm;
    private final RunPage page;

    CpuBus(X86Vm vm, RunPage page) {
        this.vm = vm;
        this.page = page;
    }

    /** @return whether the guest exits to the VMM */
    boolean writePort(int port, int size, long value) {
        requireNoChip(port);
        if (vm.signals(FakeIoEventFd.Bus.PORT, port, size, value)) {
            return false;
        }
        page.exitForPort(Uapi.KVM_EXIT_IO_OUT, port, size, 1);
        page.put(0, size, value);
        return true;
    }

    /** The guest exits to the VMM. */
    void readPort(int port, int size, int count) {
        requireNoChip(port);
        page.exitForPort(0, port, size, count);
    }

    private void requireNoChip(int port) {
        boolean ofTimer = vm.hasPit() && port >= PIT_FIRST_PORT && port <= PIT_LAST_PORT;
        if (ofTimer || vm.hasSpeaker() && port == SPEAKER_PORT) {
            throw new NotModelledException("a guest that programs its timer");
        }
        if (vm.irqchip() == X86Vm.Irqchip.FULL && PIC_PORTS.contains(port)) {
            throw new NotModelledException("a guest that programs its PIC (port 0x" + Integer.toHexString(port) + ")");
        }
    }

    /** After {@link #readPort} or {@link #readMemory}: what the VMM answered. */
    long answer(int size) {
        return page.answer(0, size);
    }

    /** @return whether the guest exits to the VMM */
    boolean writeMemory(long address, int size, long value) {
        if (vm.signals(FakeIoEventFd.Bus.MEMORY, address, size, value)) {
            return false;
        }
        page.exitForMemory(true, address, size);
        page.put(0, size, value);
        return true;
    }

    /** The guest exits to the VMM. */
    void readMemory(long address, int size) {
        page.exitForMemory(false, address, size);
    }
}
