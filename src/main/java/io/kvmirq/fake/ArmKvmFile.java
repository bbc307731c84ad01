/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiArm64;

/** /dev/kvm of an arm64 host; source: {@code kvm_dev_ioctl()}, {@code kvm_init_ipa_range()} in arch/arm64/kvm/mmu.c. */
final class ArmKvmFile extends FakeFile {
    /** The page of struct kvm_run and that of coalesced writes. */
    static final int RUN_SIZE = 8192;

    private static final int DEFAULT_ADDRESS_BITS = 40;
    private static final int FEWEST_ADDRESS_BITS = 32;

    ArmKvmFile(FakeKernel kernel) {
        super(kernel);
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_GET_API_VERSION) {
            return argument == 0 ? Uapi.KVM_API_VERSION : kernel.refuse(Rule.KVM_ARGUMENT);
        }
        if (request == Uapi.KVM_GET_VCPU_MMAP_SIZE) {
            return argument == 0 ? RUN_SIZE : kernel.refuse(Rule.KVM_ARGUMENT);
        }
        if (request == Uapi.KVM_CHECK_EXTENSION) {
            return ArmCapabilities.check(kernel, argument);
        }
        if (request == Uapi.KVM_CREATE_VM) {
            return createVm(argument);
        }
        return kernel.refuse(Rule.KVM_UNKNOWN_REQUEST);
    }

    /** The type is how many bits the guest's physical addresses have, 0 for the default. */
    private int createVm(long type) {
        if (kernel.isFull()) {
            return kernel.refuse(Rule.FD_TABLE_FULL);
        }
        long bits = type == 0 ? DEFAULT_ADDRESS_BITS : type;
        boolean other = (type & ~UapiArm64.KVM_VM_TYPE_ARM_IPA_SIZE_MASK) != 0;
        if (other || bits < FEWEST_ADDRESS_BITS || bits > ArmCapabilities.addressBits(kernel)) {
            return kernel.refuse(Rule.ARM_VM_TYPE);
        }
        return kernel.install(new ArmVmFile(kernel, (int) bits));
    }
}
