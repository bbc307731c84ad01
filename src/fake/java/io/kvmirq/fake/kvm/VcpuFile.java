/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.SignalAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Signals;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The architecture-independent part of a vCPU's file. Source: {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c. */
public abstract class VcpuFile extends FakeFile {
    /** The vCPU's mmap area: the page of struct kvm_run and the pages after it. */
    protected final ByteBuffer shared;

    protected final RunPage page;

    /** The signal mask of KVM_RUN; null if the thread's own mask applies. */
    protected @Nullable Long signals;

    /** @param runSize the size of the vCPU's mmap area in bytes */
    protected VcpuFile(KernelOfFile host, int runSize) {
        super(host);
        this.shared = ByteBuffer.allocateDirect(runSize).order(ByteOrder.nativeOrder());
        this.page = new RunPage(host, shared);
    }

    @Override
    public final Optional<ByteBuffer> shared(long offset, int length, boolean copies) {
        return part(shared, offset, length);
    }

    /** {@code kvm_vcpu_ioctl_set_sigmask()}. */
    protected final int setSignals(long address) {
        if (address == 0) {
            signals = null;
            return 0;
        }
        return host.copied(
                address,
                Uapi.KvmSignalMask.SIZE,
                header -> header.getInt(Uapi.KvmSignalMask.LEN) == Signals.SET_SIZE
                        ? host.copied(address + Uapi.KvmSignalMask.SIZE, Signals.SET_SIZE, set -> {
                            signals = set.getLong(0);
                            return 0;
                        })
                        : host.refuse(SignalAnswer.VCPU_SIGNAL_SET));
    }

    @Override
    public boolean isOfOneProcess() {
        return true;
    }
}
