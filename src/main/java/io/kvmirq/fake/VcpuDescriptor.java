/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/** A vCPU's descriptor; source: {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c, {@code kvm_arch_vcpu_ioctl()} in x86.c. */
final class VcpuDescriptor extends FakeFile {
    private final Optional<FakeLapic> lapic;
    private final FakeCpu cpu;
    private final ByteBuffer shared =
            ByteBuffer.allocateDirect(KvmFile.RUN_SIZE).order(ByteOrder.nativeOrder());

    private ByteBuffer tscOffset = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder());

    VcpuDescriptor(FakeKernel kernel, VmFile vm, Optional<FakeLapic> lapic) {
        super(kernel);
        this.lapic = lapic;
        this.cpu = new FakeCpu(kernel, vm, lapic, shared);
    }

    /** The page of struct kvm_run and what follows it. */
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
        if (request == Uapi.KVM_RUN) {
            return argument == 0 ? cpu.run() : kernel.refuse(Rule.VCPU_RUN_ARGUMENT);
        }
        if (request == Uapi.KVM_GET_LAPIC || request == Uapi.KVM_SET_LAPIC) {
            return lapic(request == Uapi.KVM_SET_LAPIC, argument);
        }
        if (request == Uapi.KVM_SET_CPUID2) {
            return kernel.memory().copyIn(argument, Uapi.KvmCpuid2.SIZE) == null ? kernel.refuse(Rule.FAULT) : 0;
        }
        if (request == Uapi.KVM_GET_SREGS) {
            ByteBuffer segments = ByteBuffer.allocate(Uapi.KvmSregs.SIZE).order(ByteOrder.nativeOrder());
            return kernel.memory().copyOut(argument, segments, Uapi.KvmSregs.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
        }
        if (request == Uapi.KVM_SET_SREGS) {
            ByteBuffer segments = kernel.memory().copyIn(argument, Uapi.KvmSregs.SIZE);
            return segments == null ? kernel.refuse(Rule.FAULT) : cpu.setSegments(segments);
        }
        if (request == Uapi.KVM_SET_REGS) {
            ByteBuffer registers = kernel.memory().copyIn(argument, Uapi.KvmRegs.SIZE);
            return registers == null ? kernel.refuse(Rule.FAULT) : cpu.setRegisters(registers);
        }
        if (request == Uapi.KVM_ENABLE_CAP) {
            return kernel.memory().copyIn(argument, Uapi.KvmEnableCap.SIZE) == null
                    ? kernel.refuse(Rule.FAULT)
                    : kernel.refuse(Rule.VCPU_CAP);
        }
        if (request == Uapi.KVM_GET_DEVICE_ATTR
                || request == Uapi.KVM_SET_DEVICE_ATTR
                || request == Uapi.KVM_HAS_DEVICE_ATTR) {
            return attribute(request, argument);
        }
        return unknown(UapiTable.FileKind.VCPU, request, Rule.VCPU_UNKNOWN_REQUEST);
    }

    /** Of a vCPU there is one: its TSC offset. */
    private int attribute(long request, long argument) {
        ByteBuffer attribute = kernel.memory().copyIn(argument, Uapi.KvmDeviceAttr.SIZE);
        if (attribute == null) {
            return kernel.refuse(Rule.FAULT);
        }
        if (attribute.getInt(Uapi.KvmDeviceAttr.GROUP) != 0 || attribute.getLong(Uapi.KvmDeviceAttr.ATTR) != 0) {
            return kernel.refuse(Rule.VCPU_ATTRIBUTE);
        }
        long address = attribute.getLong(Uapi.KvmDeviceAttr.ADDR);
        if (request == Uapi.KVM_GET_DEVICE_ATTR) {
            return kernel.memory().copyOut(address, tscOffset, Long.BYTES) ? 0 : kernel.refuse(Rule.FAULT);
        }
        ByteBuffer next = request == Uapi.KVM_SET_DEVICE_ATTR ? kernel.memory().copyIn(address, Long.BYTES) : tscOffset;
        if (next == null) {
            return kernel.refuse(Rule.FAULT);
        }
        tscOffset = next;
        return 0;
    }

    private int lapic(boolean set, long argument) {
        if (lapic.isEmpty()) {
            return kernel.refuse(Rule.LAPIC_NONE);
        }
        if (!set) {
            return kernel.memory().copyOut(argument, lapic.get().registers(), FakeLapic.SIZE)
                    ? 0
                    : kernel.refuse(Rule.FAULT);
        }
        ByteBuffer state = kernel.memory().copyIn(argument, FakeLapic.SIZE);
        if (state == null) {
            return kernel.refuse(Rule.FAULT);
        }
        lapic.get().restore(state);
        return 0;
    }
}
