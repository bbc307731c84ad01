/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/** A vCPU's descriptor; source: {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c, {@code kvm_arch_vcpu_ioctl()} in x86.c. */
final class VcpuDescriptor extends FakeFile {
    /** KVM_MP_STATE_* of include/uapi/linux/kvm.h. */
    private static final int RUNNABLE = 0;

    private static final int UNINITIALIZED = 1;
    private static final int INIT_RECEIVED = 2;
    private static final int STARTUP_RECEIVED = 4;
    private static final int RESET_HOLD = 9;

    private final Optional<FakeLapic> lapic;
    private final FakeCpu cpu;
    private final ByteBuffer shared =
            ByteBuffer.allocateDirect(KvmFile.RUN_SIZE).order(ByteOrder.nativeOrder());

    private int state;
    private ByteBuffer tscOffset = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder());

    VcpuDescriptor(FakeKernel kernel, VmFile vm, Optional<FakeLapic> lapic) {
        super(kernel);
        this.lapic = lapic;
        this.state = lapic.filter(apic -> apic.vcpuId() != 0).isPresent() ? UNINITIALIZED : RUNNABLE;
        this.cpu = new FakeCpu(kernel, vm, lapic, shared);
    }

    /** The page of struct kvm_run and what follows it. */
    ByteBuffer shared() {
        return shared;
    }

    @Override
    boolean isOfOneProcess() {
        return true;
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_RUN) {
            return argument == 0 ? run() : kernel.refuse(Rule.VCPU_RUN_ARGUMENT);
        }
        if (request == Uapi.KVM_GET_LAPIC || request == Uapi.KVM_SET_LAPIC) {
            return lapic(request == Uapi.KVM_SET_LAPIC, argument);
        }
        if (request == Uapi.KVM_SET_CPUID2) {
            return setCpuid(argument);
        }
        if (request == Uapi.KVM_GET_SREGS) {
            ByteBuffer segments = ByteBuffer.allocate(Uapi.KvmSregs.SIZE)
                    .order(ByteOrder.nativeOrder())
                    .putLong(
                            Uapi.KvmSregs.CR8,
                            lapic.map(FakeLapic::taskPriority).orElse(0));
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
        if (request == Uapi.KVM_GET_MP_STATE) {
            acceptEvents();
            ByteBuffer state = ByteBuffer.allocate(Integer.BYTES)
                    .order(ByteOrder.nativeOrder())
                    .putInt(0, this.state);
            return kernel.memory().copyOut(argument, state, Integer.BYTES) ? 0 : kernel.refuse(Rule.FAULT);
        }
        if (request == Uapi.KVM_SET_MP_STATE) {
            ByteBuffer next = kernel.memory().copyIn(argument, Integer.BYTES);
            return next == null ? kernel.refuse(Rule.FAULT) : setState(next.getInt(0));
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

    private int run() {
        if (state != RUNNABLE) {
            throw new NotModelledException("a vCPU that waits for its start-up or for an interrupt");
        }
        return cpu.run();
    }

    /** Of the guest's CPUID one bit matters. */
    private int setCpuid(long argument) {
        ByteBuffer header = kernel.memory().copyIn(argument, Uapi.KvmCpuid2.SIZE);
        if (header == null) {
            return kernel.refuse(Rule.FAULT);
        }
        int length = Math.min(header.getInt(Uapi.KvmCpuid2.NENT), KvmFile.MOST_LEAVES) * Uapi.KvmCpuid2.ENTRY_SIZE;
        ByteBuffer leaves = kernel.memory().copyIn(argument + Uapi.KvmCpuid2.SIZE, length);
        if (leaves == null) {
            return kernel.refuse(Rule.FAULT);
        }
        boolean x2apic = false;
        for (int at = 0; at < length; at += Uapi.KvmCpuid2.ENTRY_SIZE) {
            x2apic |= leaves.getInt(at) == 1
                    && (leaves.getInt(at + Uapi.KvmCpuid2.ENTRY_ECX) & KvmFile.CPUID_X2APIC) != 0;
        }
        boolean offered = x2apic;
        lapic.ifPresent(apic -> apic.offerX2apic(offered));
        return 0;
    }

    /** INIT and start-up messages, which wait in the LAPIC until somebody looks. */
    private void acceptEvents() {
        if (lapic.isEmpty()) {
            return;
        }
        if (lapic.get().takeInit()) {
            state = lapic.get().vcpuId() == 0 ? RUNNABLE : INIT_RECEIVED;
        }
        if (lapic.get().events().takeStartup() && state == INIT_RECEIVED) {
            state = RUNNABLE;
        }
    }

    private int setState(int next) {
        boolean known = next >= RUNNABLE && next <= STARTUP_RECEIVED || next == RESET_HOLD;
        if (!known || next != RUNNABLE && lapic.isEmpty()) {
            return kernel.refuse(Rule.VCPU_STATE);
        }
        if (next == STARTUP_RECEIVED) {
            lapic.orElseThrow().events().sendStartup();
        }
        state = next == STARTUP_RECEIVED ? INIT_RECEIVED : next;
        return 0;
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
            return kernel.memory().copyOut(argument, lapic.get().save(), FakeLapic.SIZE)
                    ? 0
                    : kernel.refuse(Rule.FAULT);
        }
        ByteBuffer state = kernel.memory().copyIn(argument, FakeLapic.SIZE);
        if (state == null) {
            return kernel.refuse(Rule.FAULT);
        }
        return lapic.get().restore(state);
    }
}
