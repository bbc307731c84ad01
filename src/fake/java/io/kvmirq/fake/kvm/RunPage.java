/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.SignalAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.file.ScriptedExit;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** {@code struct kvm_run} of a vCPU, in which KVM_RUN leaves why the guest exits. Source: linux/kvm.h. */
public final class RunPage {
    /** The offset of the data of ports: the second page of a vCPU's shared memory. */
    private static final int IO_DATA = 4096;
    /** The offset of what is told of exits that are no access. */
    private static final int TOLD = Uapi.KvmRun.FAIL_ENTRY_REASON;

    private final Host host;
    private final ByteBuffer page;

    RunPage(Host host, ByteBuffer page) {
        this.host = host;
        this.page = page;
    }

    /** The result of a run that may begin or go on: 0, or a negative errno if {@code immediate_exit} ends it. */
    public int refusesToEnter() {
        return page.get(Uapi.KvmRun.IMMEDIATE_EXIT) == 0 ? 0 : host.refuse(VmAnswer.VCPU_IMMEDIATE_EXIT);
    }

    /** The result of a run that a signal ends: a negative errno; 0 if none does. */
    public int signalled() {
        if (!host.threads().endsRun()) {
            return 0;
        }
        exit(Uapi.KVM_EXIT_INTR);
        return host.refuse(SignalAnswer.RUN_SIGNAL);
    }

    public void exit(int number) {
        page.putInt(Uapi.KvmRun.EXIT_REASON, number);
    }

    public void exitForEoi(int vector) {
        exit(Uapi.KVM_EXIT_IOAPIC_EOI);
        page.put(Uapi.KvmRun.EOI_VECTOR, (byte) vector);
    }

    /** An exit whose data are one number: a shutdown, a failed entry, an internal error, a system event or another. */
    public void exit(ScriptedExit other) {
        exit((int) other.place());
        page.putLong(TOLD, other.data(0)).putLong(TOLD + Long.BYTES, 0);
    }

    /** @param direction {@code KVM_EXIT_IO_OUT}, or 0: then the data that the VMM may overwrite are 0 */
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

    /** After {@link #exitForPort} or {@link #exitForMemory} of a write: what the guest wrote. */
    public void put(int access, int size, long value) {
        int at = at(access, size);
        for (int i = 0; i < size; i++) {
            page.put(at + i, (byte) (value >>> Byte.SIZE * i));
        }
    }

    /** After one of a read: what the VMM answered. */
    public long answer(int access, int size) {
        int at = at(access, size);
        long value = 0;
        for (int i = size - 1; i >= 0; i--) {
            value = value << Byte.SIZE | page.get(at + i) & 0xff;
        }
        return value;
    }
}
