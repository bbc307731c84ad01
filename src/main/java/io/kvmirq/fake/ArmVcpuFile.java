/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiArm64;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/** A vCPU's descriptor on arm64; source: {@code kvm_arch_vcpu_ioctl()} in arch/arm64/kvm/arm.c. */
final class ArmVcpuFile extends FakeFile {
    private static final int REG_LIST_SIZE = 8;
    private static final int ONE_REG_SIZE = 16;
    /** KVM_ARM_VCPU_PMU_V3_CTRL to KVM_ARM_VCPU_PVTIME_CTRL. */
    private static final int ATTRIBUTE_GROUPS = 3;

    private final ArmVcpu vcpu;
    private final ByteBuffer shared =
            ByteBuffer.allocateDirect(ArmKvmFile.RUN_SIZE).order(ByteOrder.nativeOrder());

    ArmVcpuFile(FakeKernel kernel, ArmVcpu vcpu) {
        super(kernel);
        this.vcpu = vcpu;
    }

    @Override
    Optional<ByteBuffer> shared() {
        return Optional.of(shared);
    }

    @Override
    boolean isOfOneProcess() {
        return true;
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_RUN && argument != 0) {
            return kernel.refuse(Rule.VCPU_RUN_ARGUMENT);
        }
        if (request == UapiArm64.KVM_ARM_VCPU_INIT) {
            return copied(argument, UapiArm64.KvmVcpuInit.SIZE, this::init);
        }
        if (request == UapiArm64.KVM_GET_REG_LIST) {
            return registers("KVM_GET_REG_LIST", argument, REG_LIST_SIZE);
        }
        if (request == UapiArm64.KVM_GET_ONE_REG) {
            return registers("KVM_GET_ONE_REG", argument, ONE_REG_SIZE);
        }
        if (request == UapiArm64.KVM_SET_ONE_REG) {
            return registers("KVM_SET_ONE_REG", argument, ONE_REG_SIZE);
        }
        if (request == Uapi.KVM_GET_DEVICE_ATTR
                || request == Uapi.KVM_SET_DEVICE_ATTR
                || request == Uapi.KVM_HAS_DEVICE_ATTR) {
            return copied(argument, Uapi.KvmDeviceAttr.SIZE, this::attribute);
        }
        return ArmRequests.refuse(kernel, ArmRequests.OF_VCPU, request, Rule.VCPU_UNKNOWN_REQUEST);
    }

    private int init(ByteBuffer init) {
        Optional<Rule> refused = vcpu.init(init);
        return refused.isPresent() ? kernel.refuse(refused.get()) : 0;
    }

    private int registers(String name, long argument, int size) {
        if (!vcpu.isInitialized()) {
            return kernel.refuse(Rule.ARM_VCPU_NOT_INITIALIZED);
        }
        return copied(argument, size, ignored -> {
            throw new NotModelledException(name);
        });
    }

    private int attribute(ByteBuffer attribute) {
        int group = attribute.getInt(Uapi.KvmDeviceAttr.GROUP);
        if (group >= 0 && group < ATTRIBUTE_GROUPS) {
            throw new NotModelledException("the attributes of a vCPU on arm64");
        }
        return kernel.refuse(Rule.ARM_VCPU_ATTRIBUTE);
    }
}
