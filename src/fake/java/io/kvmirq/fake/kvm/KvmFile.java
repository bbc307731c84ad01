/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.Uapi;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/** The architecture-independent part of /dev/kvm. Source: {@code kvm_dev_ioctl()} in virt/kvm/kvm_main.c. */
public abstract class KvmFile extends FakeFile {
    private final int runSize;

    protected KvmFile(KernelOfFile host, int runSize) {
        super(host);
        this.runSize = runSize;
    }

    protected static <F extends KvmFile> Requests<F> requests(LongFunction<@Nullable String> notModelled) {
        return new Requests<F>(FileAnswer.KVM_UNKNOWN_REQUEST, notModelled)
                .value(Uapi.KVM_GET_API_VERSION, (kvm, argument) -> kvm.number(Uapi.KVM_API_VERSION, argument))
                .value(Uapi.KVM_GET_VCPU_MMAP_SIZE, (kvm, argument) -> kvm.number(kvm.runSize(), argument))
                .value(Uapi.KVM_CHECK_EXTENSION, KvmFile::check)
                .value(Uapi.KVM_CREATE_VM, KvmFile::createVm);
    }

    final int runSize() {
        return runSize;
    }

    final int number(int value, long argument) {
        return argument == 0 ? value : host.refuse(FileAnswer.KVM_ARGUMENT);
    }

    protected abstract int check(long capability);

    /** Creates a VM of this type and returns its descriptor, or refuses the type. */
    protected abstract int createVmOf(long type);

    /** Checks for a free descriptor before the type, as the kernel does. */
    private int createVm(long type) {
        return host.isFull() ? host.refuse(FileAnswer.FD_TABLE_FULL) : createVmOf(type);
    }
}
