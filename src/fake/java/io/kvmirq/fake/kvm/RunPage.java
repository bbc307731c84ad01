/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.SignalAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.ScriptedExit;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** {@code struct kvm_run} of a vCPU, to which KVM_RUN writes the exit reason and data. Source: linux/kvm.h. */
public final class RunPage {
    /** The offset of port data: the second page of a vCPU's shared memory. */
    private static final int IO_DATA = 4096;
    /** The offset of the data of exits other than accesses. */
    private static final int EXIT_DATA = Uapi.KvmRun.FAIL_ENTRY_REASON;

    private final KernelOfFile host;
    private final ByteBuffer page;

    RunPage(KernelOfFile host, ByteBuffer page) {
        this.host = host;
        this.page = page;
    }

    /** Returns 0 if KVM_RUN may enter the guest, or a negative errno if {@code immediate_exit} is set. */
    public int refusesToEnter() {
        return page.get(Uapi.KvmRun.IMMEDIATE_EXIT) == 0 ? 0 : host.refuse(VmAnswer.VCPU_IMMEDIATE_EXIT);
    }

    /** Returns a negative errno if a signal ends KVM_RUN, else 0. */
    public int signalled() {
        if (!host.threads().endsRun()) {
            return 0;
        }
        exit(Uapi.KVM_EXIT_INTR);
        return host.refuse(SignalAnswer.RUN_SIGNAL);
    }

    /** Returns the result of KVM_RUN at an exit: 0, or an errno at KVM_EXIT_MEMORY_FAULT. */
    public int result() {
        boolean isFault = page.getInt(Uapi.KvmRun.EXIT_REASON) == Uapi.KVM_EXIT_MEMORY_FAULT;
        return isFault ? host.refuse(VmAnswer.RUN_MEMORY) : 0;
    }

    public void exit(int number) {
        page.putInt(Uapi.KvmRun.EXIT_REASON, number);
    }

    /** @param reason the processor's, from the manual of its vendor */
    public void exitForFailedEntry(long reason) {
        exit(Uapi.KVM_EXIT_FAIL_ENTRY);
        page.putLong(Uapi.KvmRun.FAIL_ENTRY_REASON, reason).putLong(EXIT_DATA + Long.BYTES, 0);
    }

    public void exitForEoi(int vector) {
        exit(Uapi.KVM_EXIT_IOAPIC_EOI);
        page.put(Uapi.KvmRun.EOI_VECTOR, (byte) vector);
    }

    /** Writes an exit with its data words: a shutdown, failed entry, internal error, system event or other exit. */
    public void exit(ScriptedExit other) {
        exit((int) other.place());
        page.putLong(EXIT_DATA, 0).putLong(EXIT_DATA + Long.BYTES, 0);
        for (int i = 0; i < other.count(); i++) {
            page.putLong(EXIT_DATA + Long.BYTES * i, other.data(i));
        }
    }

    /** @param direction {@code KVM_EXIT_IO_OUT}, or 0 for a read; a read clears the data, which the VMM then sets */
    public void exitForPort(int direction, int port, int size, int count) {
        exit(Uapi.KVM_EXIT_IO);
        page.put(Uapi.KvmRun.IO_DIRECTION, (byte) direction)
                .put(Uapi.KvmRun.IO_SIZE, (byte) size)
                .putShort(Uapi.KvmRun.IO_PORT, (short) port)
                .putInt(Uapi.KvmRun.IO_COUNT, count)
                .putLong(Uapi.KvmRun.IO_DATA_OFFSET, IO_DATA);
        if (direction != Uapi.KVM_EXIT_IO_OUT) {
            for (int i = 0; i < size * count; i++) {
                page.put(IO_DATA + i, (byte) 0);
            }
        }
    }

    public void exitForMemory(boolean write, long address, int size) {
        exit(Uapi.KVM_EXIT_MMIO);
        page.putLong(Uapi.KvmRun.MMIO_PHYS_ADDR, address)
                .putInt(Uapi.KvmRun.MMIO_LEN, size)
                .put(Uapi.KvmRun.MMIO_IS_WRITE, (byte) (write ? 1 : 0));
    }

    private int at(int access, int size) {
        boolean port = page.getInt(Uapi.KvmRun.EXIT_REASON) == Uapi.KVM_EXIT_IO;
        return port ? IO_DATA + access * size : Uapi.KvmRun.MMIO_DATA;
    }

    /** Sets the value of a guest's write. Call this method after {@link #exitForPort} or {@link #exitForMemory}. */
    public void put(int access, int size, long value) {
        int at = at(access, size);
        for (int i = 0; i < size; i++) {
            page.put(at + i, (byte) (value >>> Byte.SIZE * i));
        }
    }

    /** Returns the VMM's value for a guest's read that {@link #exitForPort} or {@link #exitForMemory} reported. */
    public long answer(int access, int size) {
        int at = at(access, size);
        long value = 0;
        for (int i = size - 1; i >= 0; i--) {
            value = value << Byte.SIZE | page.get(at + i) & 0xff;
        }
        return value;
    }
}
