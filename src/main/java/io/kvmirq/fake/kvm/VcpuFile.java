/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/** A vCPU's file, common to all architectures; source: {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c. */
public abstract class VcpuFile extends FakeFile {
    /** The mmap area: the page of struct kvm_run and the pages after it. */
    protected final ByteBuffer shared;

    /** @param runSize the bytes that the vCPU shares by mmap */
    protected VcpuFile(Host host, int runSize) {
        super(host);
        this.shared = ByteBuffer.allocateDirect(runSize).order(ByteOrder.nativeOrder());
    }

    @Override
    public final Optional<ByteBuffer> shared() {
        return Optional.of(shared);
    }

    @Override
    public boolean isOfOneProcess() {
        return true;
    }
}
