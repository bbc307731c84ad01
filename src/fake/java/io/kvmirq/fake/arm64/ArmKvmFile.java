/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.kvm.KvmFile;
import io.kvmirq.uapi.UapiArm64;

/** The file /dev/kvm of an arm64 host. Source: {@code kvm_init_ipa_range()} in arch/arm64/kvm/mmu.c. */
public final class ArmKvmFile extends KvmFile {
    /** The page of struct kvm_run and the page of the coalesced MMIO ring. */
    static final int RUN_SIZE = 8192;

    private static final int DEFAULT_ADDRESS_BITS = 40;
    private static final int FEWEST_ADDRESS_BITS = 32;

    private static final Requests<ArmKvmFile> REQUESTS = requests(number -> null);

    public ArmKvmFile(KernelOfFile host) {
        super(host, RUN_SIZE);
    }

    @Override
    public int ioctl(long request, long argument) {
        return REQUESTS.answer(this, request, argument);
    }

    @Override
    protected int check(long capability) {
        return ArmCapabilities.check(host, capability);
    }

    /** Creates a VM. {@code type} is the number of bits of guest-physical addresses; 0 is the default. */
    @Override
    protected int createVmOf(long type) {
        long bits = type == 0 ? DEFAULT_ADDRESS_BITS : type;
        boolean other = (type & ~UapiArm64.KVM_VM_TYPE_ARM_IPA_SIZE_MASK) != 0;
        if (other || bits < FEWEST_ADDRESS_BITS || bits > ArmCapabilities.addressBits(host)) {
            return host.refuse(ArmAnswer.ARM_VM_TYPE);
        }
        return host.install(new ArmVmFile(new FakeArmVm(host, (int) bits)));
    }
}
