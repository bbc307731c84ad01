/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.FakeIoEventFd;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * Guest accesses to ports and MMIO: an ioeventfd that matches a write is signalled, all others exit to the VMM. Source:
 * {@code kernel_pio()} and {@code vcpu_mmio_write()} in arch/x86/kvm/x86.c.
 */
final class CpuBus {
    /** The offset of the I/O data: the second page of a vCPU's shared memory. */
    private static final int IO_DATA = 4096;

    private static final int PIT_FIRST_PORT = 0x40;
    private static final int PIT_LAST_PORT = 0x43;
    private static final int SPEAKER_PORT = 0x61;

    private final Host host;
    private final X86Vm vm;
    private final ByteBuffer shared;

    CpuBus(X86Vm vm, ByteBuffer shared) {
        this.host = vm.host();
        this.vm = vm;
        this.shared = shared;
    }

    /** @return whether the guest exits to the VMM */
    boolean writePort(int port, int size, int register) {
        requireNoTimer(port);
        long value = low(register, size);
        if (isTaken(FakeIoEventFd.Bus.PORT, port, size, value)) {
            return false;
        }
        exitForPort(Uapi.KVM_EXIT_IO_OUT, port, size);
        shared.putInt(IO_DATA, (int) value);
        return true;
    }

    /** The guest exits to the VMM. */
    void readPort(int port, int size) {
        requireNoTimer(port);
        exitForPort(0, port, size);
    }

    private void requireNoTimer(int port) {
        if (vm.hasPit() && (port >= PIT_FIRST_PORT && port <= PIT_LAST_PORT || port == SPEAKER_PORT)) {
            throw new NotModelledException("a guest that programs its timer");
        }
    }

    private void exitForPort(int direction, int port, int size) {
        shared.putInt(Uapi.KvmRun.EXIT_REASON, Uapi.KVM_EXIT_IO)
                .put(Uapi.KvmRun.IO_DIRECTION, (byte) direction)
                .put(Uapi.KvmRun.IO_SIZE, (byte) size)
                .putShort(Uapi.KvmRun.IO_PORT, (short) port)
                .putInt(Uapi.KvmRun.IO_COUNT, 1)
                .putLong(Uapi.KvmRun.IO_DATA_OFFSET, IO_DATA);
    }

    /** After {@link #readPort} or {@link #readMemory}: what the VMM answered. */
    int answer() {
        boolean port = shared.getInt(Uapi.KvmRun.EXIT_REASON) == Uapi.KVM_EXIT_IO;
        return shared.getInt(port ? IO_DATA : Uapi.KvmRun.MMIO_DATA);
    }

    /** @return whether the guest exits to the VMM */
    boolean writeMemory(long address, int size, int register) {
        long value = low(register, size);
        if (isTaken(FakeIoEventFd.Bus.MEMORY, address, size, value)) {
            return false;
        }
        exitForMemory(address, size, (byte) 1);
        shared.putLong(Uapi.KvmRun.MMIO_DATA, value);
        return true;
    }

    /** The guest exits to the VMM. */
    void readMemory(long address, int size) {
        exitForMemory(address, size, (byte) 0);
    }

    private void exitForMemory(long address, int size, byte write) {
        shared.putInt(Uapi.KvmRun.EXIT_REASON, Uapi.KVM_EXIT_MMIO)
                .putLong(Uapi.KvmRun.MMIO_PHYS_ADDR, address)
                .putInt(Uapi.KvmRun.MMIO_LEN, size)
                .put(Uapi.KvmRun.MMIO_IS_WRITE, write);
    }

    private boolean isTaken(FakeIoEventFd.Bus bus, long address, int size, long value) {
        Optional<FakeIoEventFd> taker = vm.ioEventFd(bus, address, size, value);
        if (taker.isEmpty()) {
            return false;
        }
        host.note(IrqfdAnswer.IOEVENTFD_TAKES);
        taker.get().event().signal(1);
        return true;
    }

    private static long low(int register, int size) {
        return Integer.toUnsignedLong(register) & -1L >>> Long.SIZE - Byte.SIZE * size;
    }
}
