/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** A vCPU's descriptor; source: {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c, {@code kvm_arch_vcpu_ioctl()} in x86.c. */
final class VcpuDescriptor extends FakeFile {
    /** Hyper-V's and PV's, which some kernels have. */
    private static final Set<Integer> ENABLED_ELSEWHERE = Set.of(123, 148, 163, 190, 191);

    private static final int LAST_VECTOR = 255;
    /** Where a request has its type, and KVM's. */
    private static final int TYPE_SHIFT = 8;

    private static final int KVM_TYPE = 0xae;

    private final Optional<FakeLapic> lapic;
    private final FakeCpu cpu;
    private final ByteBuffer shared =
            ByteBuffer.allocateDirect(KvmFile.RUN_SIZE).order(ByteOrder.nativeOrder());

    private int state;
    private ByteBuffer tscOffset = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder());

    private final FakeVm.Irqchip irqchip;
    private final int id;
    private final boolean boot;
    /** What userspace's PIC asks for; -1 for nothing. */
    private int external = -1;

    private ByteBuffer cpuid = ByteBuffer.allocate(0);
    private boolean running;
    private boolean hasRun;

    VcpuDescriptor(FakeKernel kernel, VmFile vm, int id, Optional<FakeLapic> lapic) {
        super(kernel);
        this.irqchip = vm.vm().irqchip();
        this.id = id;
        this.boot = vm.vm().isBootVcpu(id);
        this.lapic = lapic;
        this.state = lapic.isPresent() && !boot ? Uapi.KVM_MP_STATE_UNINITIALIZED : Uapi.KVM_MP_STATE_RUNNABLE;
        this.cpu = new FakeCpu(kernel, vm, lapic, shared);
    }

    /** The page of struct kvm_run and what follows it. */
    @Override
    Optional<ByteBuffer> shared() {
        return Optional.of(shared);
    }

    @Override
    List<String> facts() {
        return irqchip.facts(true);
    }

    @Override
    boolean isOfOneProcess() {
        return true;
    }

    /** One call at a time: all others wait for as long as the guest runs, also halted. */
    @Override
    int ioctl(long request, long argument) {
        if ((request >>> TYPE_SHIFT & 0xff) != KVM_TYPE) {
            return kernel.refuse(Rule.VCPU_UNKNOWN_REQUEST);
        }
        while (running) {
            kernel.note(Rule.VCPU_ONE_CALL);
            kernel.time().awaitChange();
        }
        if (request == Uapi.KVM_RUN) {
            return argument == 0 ? run() : kernel.refuse(Rule.VCPU_RUN_ARGUMENT);
        }
        return ask(request, argument);
    }

    private int ask(long request, long argument) {
        if (request == Uapi.KVM_NMI) {
            cpu.requestNmi();
            return 0;
        }
        if (request == Uapi.KVM_INTERRUPT) {
            ByteBuffer interrupt = kernel.memory().copyIn(argument, Uapi.KvmInterrupt.SIZE);
            return interrupt == null ? kernel.refuse(Rule.FAULT) : interrupt(interrupt.getInt(Uapi.KvmInterrupt.IRQ));
        }
        if (request == Uapi.KVM_GET_MP_STATE || request == Uapi.KVM_SET_MP_STATE) {
            return state(request == Uapi.KVM_SET_MP_STATE, argument);
        }
        if (request == Uapi.KVM_GET_STATS_FD) {
            return kernel.install(new StatsFile(kernel, "/vcpu-" + id));
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
        if (request == Uapi.KVM_ENABLE_CAP) {
            ByteBuffer capability = kernel.memory().copyIn(argument, Uapi.KvmEnableCap.SIZE);
            return capability == null ? kernel.refuse(Rule.FAULT) : enable(capability);
        }
        if (request == Uapi.KVM_GET_DEVICE_ATTR
                || request == Uapi.KVM_SET_DEVICE_ATTR
                || request == Uapi.KVM_HAS_DEVICE_ATTR) {
            return attribute(request, argument);
        }
        return unknown(UapiTable.FileKind.VCPU, request, Rule.VCPU_UNKNOWN_REQUEST);
    }

    private int run() {
        if (state != Uapi.KVM_MP_STATE_RUNNABLE && shared.get(Uapi.KvmRun.IMMEDIATE_EXIT) == 0) {
            throw new NotModelledException("running a vCPU that waits for its start-up");
        }
        if (external >= 0) {
            throw new NotModelledException("running a guest after KVM_INTERRUPT");
        }
        running = true;
        hasRun = true;
        try {
            return cpu.run();
        } finally {
            running = false;
            kernel.time().changed();
        }
    }

    private int enable(ByteBuffer capability) {
        int number = capability.getInt(Uapi.KvmEnableCap.CAP);
        if (capability.getInt(Uapi.KvmEnableCap.FLAGS) == 0 && ENABLED_ELSEWHERE.contains(number)) {
            throw new NotModelledException("KVM_ENABLE_CAP of capability " + number + " on a vCPU");
        }
        return kernel.refuse(Rule.VCPU_CAP);
    }

    /** Of the guest's CPUID one bit matters. */
    private int setCpuid(long argument) {
        ByteBuffer header = kernel.memory().copyIn(argument, Uapi.KvmCpuid2.SIZE);
        if (header == null) {
            return kernel.refuse(Rule.FAULT);
        }
        int leafCount = header.getInt(Uapi.KvmCpuid2.NENT);
        if (Integer.compareUnsigned(leafCount, KvmFile.MOST_LEAVES) > 0) {
            return kernel.refuse(Rule.VCPU_CPUID_LEAVES);
        }
        int length = leafCount * Uapi.KvmCpuid2.ENTRY_SIZE;
        ByteBuffer leaves = kernel.memory().copyIn(argument + Uapi.KvmCpuid2.SIZE, length);
        if (leaves == null) {
            return kernel.refuse(Rule.FAULT);
        }
        if (hasRun) {
            kernel.note(Rule.VCPU_CPUID_AFTER_RUN);
            return leaves.equals(cpuid) ? 0 : kernel.refuse(Rule.VCPU_CPUID_OTHER);
        }
        cpuid = leaves;
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
            cpu.setHalted(false);
            state = boot ? Uapi.KVM_MP_STATE_RUNNABLE : Uapi.KVM_MP_STATE_INIT_RECEIVED;
        }
        if (lapic.get().events().takeStartup() && state == Uapi.KVM_MP_STATE_INIT_RECEIVED) {
            state = Uapi.KVM_MP_STATE_RUNNABLE;
        }
    }

    private int state(boolean set, long argument) {
        ByteBuffer value = ByteBuffer.allocate(Uapi.KvmMpState.SIZE).order(ByteOrder.nativeOrder());
        if (!set) {
            acceptEvents();
            kernel.note(Rule.VCPU_STATE_FIRST);
            boolean halts = state == Uapi.KVM_MP_STATE_RUNNABLE && cpu.isHalted();
            value.putInt(Uapi.KvmMpState.MP_STATE, halts ? Uapi.KVM_MP_STATE_HALTED : state);
            return kernel.memory().copyOut(argument, value, Uapi.KvmMpState.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
        }
        ByteBuffer next = kernel.memory().copyIn(argument, Uapi.KvmMpState.SIZE);
        return next == null ? kernel.refuse(Rule.FAULT) : setState(next.getInt(Uapi.KvmMpState.MP_STATE));
    }

    private int setState(int next) {
        boolean known = next >= Uapi.KVM_MP_STATE_RUNNABLE && next <= Uapi.KVM_MP_STATE_SIPI_RECEIVED
                || next == Uapi.KVM_MP_STATE_AP_RESET_HOLD;
        if (!known) {
            return kernel.refuse(Rule.VCPU_STATE_UNKNOWN);
        }
        if (next != Uapi.KVM_MP_STATE_RUNNABLE && lapic.isEmpty()) {
            return kernel.refuse(Rule.VCPU_STATE_WITHOUT_LAPIC);
        }
        cpu.setHalted(next == Uapi.KVM_MP_STATE_HALTED);
        switch (next) {
            case Uapi.KVM_MP_STATE_HALTED -> state = Uapi.KVM_MP_STATE_RUNNABLE;
            case Uapi.KVM_MP_STATE_SIPI_RECEIVED -> {
                lapic.orElseThrow().events().sendStartup();
                state = Uapi.KVM_MP_STATE_INIT_RECEIVED;
            }
            default -> state = next;
        }
        return 0;
    }

    private int interrupt(int vector) {
        if (vector < 0 || vector > LAST_VECTOR) {
            return kernel.refuse(Rule.VCPU_INTERRUPT_VECTOR);
        }
        if (irqchip == FakeVm.Irqchip.FULL) {
            return kernel.refuse(Rule.VCPU_INTERRUPT_PIC);
        }
        if (irqchip == FakeVm.Irqchip.SPLIT && external >= 0) {
            return kernel.refuse(Rule.VCPU_INTERRUPT_PENDING);
        }
        external = vector;
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
        if (!set && lapic.get().hasOtherId()) {
            return kernel.refuse(Rule.LAPIC_X2APIC_ID);
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
