/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.FakeMemorySlots;
import io.kvmirq.fake.kvm.VcpuFile;
import io.kvmirq.fake.posting.PostingVcpu;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** A vCPU's descriptor on x86; source: {@code kvm_arch_vcpu_ioctl()} in arch/x86/kvm/x86.c. */
final class X86VcpuFile extends VcpuFile {
    /** The size of a vCPU's mmap area in bytes. */
    static final int RUN_SIZE = 12288;

    /** Capabilities of Hyper-V and paravirtualization that some kernels can enable on a vCPU. */
    private static final Set<Integer> ENABLED_ELSEWHERE = Set.of(123, 148, 163, 190, 191);

    /** The bit position of the type in a request number. */
    private static final int TYPE_SHIFT = 8;

    private static final Requests<X86VcpuFile> REQUESTS = KeptState.addTo(new Requests<X86VcpuFile>(
                    VmAnswer.VCPU_UNKNOWN_REQUEST, number -> Requests.name(UapiTable.FileKind.VCPU, number))
            .value(Uapi.KVM_RUN, X86VcpuFile::run)
            .value(Uapi.KVM_SET_SIGNAL_MASK, (vcpu, set) -> vcpu.setSignals(set))
            .value(Uapi.KVM_NMI, (vcpu, argument) -> vcpu.cpu.requestNmi())
            .in(
                    Uapi.KVM_INTERRUPT,
                    (vcpu, interrupt) ->
                            vcpu.host.refuse(vcpu.cpu.pending().interrupt(interrupt.getInt(Uapi.KvmInterrupt.IRQ))))
            .out(Uapi.KVM_GET_MP_STATE, X86VcpuFile::getState)
            .in(Uapi.KVM_SET_MP_STATE, (vcpu, next) -> vcpu.setState(next.getInt(Uapi.KvmMpState.MP_STATE)))
            .out(Uapi.KVM_GET_LAPIC, X86VcpuFile::getLapic)
            .value(Uapi.KVM_SET_LAPIC, X86VcpuFile::setLapic)
            .inHeader(Uapi.KVM_SET_CPUID2, (vcpu, header, address) -> vcpu.cpuid.set(header, address))
            .out(Uapi.KVM_GET_SREGS, X86VcpuFile::getSegments)
            .in(Uapi.KVM_SET_SREGS, X86VcpuFile::setSegments)
            .out(Uapi.KVM_GET_REGS, X86VcpuFile::getRegisters)
            .in(Uapi.KVM_SET_REGS, (vcpu, registers) -> vcpu.cpu.setRegisters(registers))
            .inHeader(Uapi.KVM_GET_MSRS, (vcpu, header, address) -> vcpu.msrs.get(header, address))
            .inHeader(Uapi.KVM_SET_MSRS, (vcpu, header, address) -> vcpu.msrs.set(header, address))
            .out(Uapi.KVM_GET_VCPU_EVENTS, X86VcpuFile::getEvents)
            .in(Uapi.KVM_SET_VCPU_EVENTS, X86VcpuFile::setEvents)
            .value(Uapi.KVM_GET_TSC_KHZ, (vcpu, argument) -> vcpu.tsc.rate())
            .value(Uapi.KVM_SET_TSC_KHZ, (vcpu, rate) -> vcpu.host.refuse(vcpu.tsc.setRate((int) rate)))
            .inHeader(Uapi.KVM_GET_CPUID2, (vcpu, header, address) -> vcpu.cpuid.get(header, address))
            .value(Uapi.KVM_SMI, (vcpu, argument) -> vcpu.refuseManagement())
            .in(Uapi.KVM_ENABLE_CAP, X86VcpuFile::enable)
            .in(Uapi.KVM_GET_DEVICE_ATTR, X86VcpuFile::getAttribute)
            .in(Uapi.KVM_SET_DEVICE_ATTR, X86VcpuFile::setAttribute)
            .in(Uapi.KVM_HAS_DEVICE_ATTR, X86VcpuFile::hasAttribute));

    private final Optional<FakeLapic> lapic;
    private final FakeCpu cpu;
    private final KeptState kept;
    private final Msrs msrs;
    private final CpuidCalls cpuid;

    private int state;
    private final TimeStampCounter tsc;

    private final X86Vm vm;
    private final X86Vm.Irqchip irqchip;
    private boolean running;

    X86VcpuFile(X86Vm vm, FakeMemorySlots memory, int id, Optional<FakeLapic> lapic) {
        super(vm.host(), RUN_SIZE);
        this.vm = vm;
        this.irqchip = vm.irqchip();
        this.lapic = lapic;
        this.state =
                lapic.isPresent() && !vm.isBootVcpu(id) ? Uapi.KVM_MP_STATE_UNINITIALIZED : Uapi.KVM_MP_STATE_RUNNABLE;
        this.cpu = new FakeCpu(vm, memory, id, lapic, shared, page);
        this.tsc =
                lapic.map(apic -> apic.timer().tsc()).orElseGet(() -> new TimeStampCounter(vm.host(), vm.settings()));
        LapicMsrs ofLapic = new LapicMsrs(vm.host(), lapic);
        this.msrs = new Msrs(vm.host(), ofLapic, tsc, () -> cpu.base().get());
        this.kept = new KeptState(vm.host(), () -> cpu.cpuid().xcr0());
        this.cpuid = new CpuidCalls(vm.host(), cpu);
    }

    /** Begins to count the TSC as the vCPU is created. */
    void begin() {
        tsc.begin();
    }

    @Override
    public List<String> facts() {
        return irqchip.facts(true);
    }

    /** Runs one ioctl at a time. Others wait until KVM_RUN returns, even while the guest is halted. */
    @Override
    public int ioctl(long request, long argument) {
        if ((request >>> TYPE_SHIFT & 0xff) != Uapi.KVMIO) {
            return host.refuse(VmAnswer.VCPU_UNKNOWN_REQUEST);
        }
        while (running) {
            host.note(VmAnswer.VCPU_ONE_CALL);
            host.time().awaitChange();
        }
        return REQUESTS.answer(this, request, argument);
    }

    private int run(long argument) {
        if (argument != 0) {
            return host.refuse(VmAnswer.VCPU_RUN_ARGUMENT);
        }
        if (state == Uapi.KVM_MP_STATE_AP_RESET_HOLD) {
            throw new NotModelledException("running a vCPU in the state AP_RESET_HOLD");
        }
        cpu.events().checkModelled(cpu.isHalted());
        kept.checkModelled();
        vm.pit().filter(pit -> irqchip == X86Vm.Irqchip.FULL).ifPresent(Pit::checkModelled);
        cpu.registers().checkModelled();
        if ((shared.getLong(Uapi.KvmRun.KVM_VALID_REGS) | shared.getLong(Uapi.KvmRun.KVM_DIRTY_REGS)) != 0) {
            throw new NotModelledException("registers in kvm_run (KVM_CAP_SYNC_REGS)");
        }
        host.threads().beginRun(signals);
        setRunning(true);
        try {
            int result = state == Uapi.KVM_MP_STATE_RUNNABLE ? cpu.run() : awaitStart();
            cpu.leave();
            return result;
        } finally {
            setRunning(false);
            host.threads().endRun();
            host.time().changed();
        }
    }

    /** Waits as an application processor: for INIT, with a new call of the VMM, then for a start-up message. */
    private int awaitStart() {
        if (state != Uapi.KVM_MP_STATE_UNINITIALIZED && cpu.completesAccess()) {
            return 0;
        }
        while (true) {
            int ended = page.refusesToEnter();
            if (ended == 0 && state != Uapi.KVM_MP_STATE_UNINITIALIZED && cpu.leavesByWindow()) {
                return 0;
            }
            ended = ended == 0 ? page.signalled() : ended;
            if (ended != 0) {
                return ended;
            }
            boolean waitedForInit = state == Uapi.KVM_MP_STATE_UNINITIALIZED;
            acceptEvents();
            if (waitedForInit && (state != Uapi.KVM_MP_STATE_UNINITIALIZED || cpu.wakes())) {
                return host.refuse(VmAnswer.RUN_WAITING);
            }
            if (state == Uapi.KVM_MP_STATE_RUNNABLE) {
                return cpu.run();
            }
            host.time().awaitChange();
        }
    }

    private void setRunning(boolean on) {
        running = on;
        hardware().ifPresent(hardware -> hardware.setInRun(on));
    }

    private Optional<PostingVcpu> hardware() {
        return lapic.map(FakeLapic::hardware);
    }

    @Override
    protected void released() {
        hardware().ifPresent(PostingVcpu::close);
        lapic.ifPresent(apic -> apic.timer().cancel());
        vm.dropHolder();
    }

    private int getRegisters(ByteBuffer registers) {
        cpu.saveRegisters(registers);
        return 0;
    }

    private int getSegments(ByteBuffer segments) {
        cpu.saveSegments(segments);
        return 0;
    }

    private int setSegments(ByteBuffer segments) {
        Optional<Answer> refused = cpu.refusesSegments(segments);
        if (refused.isEmpty()) {
            loadSegments(segments);
        }
        return host.refuse(refused);
    }

    /** KVM_SMI, which only a kernel with System Management Mode has. */
    private int refuseManagement() {
        if (host.build().hasManagementMode()) {
            throw new NotModelledException("KVM_SMI");
        }
        return host.refuse(SetupAnswer.SMI_NONE);
    }

    /** Loads segments. A boot vCPU that is set to its reset state becomes runnable. */
    private void loadSegments(ByteBuffer segments) {
        cpu.setSegments(segments);
        if (cpu.base().isBoot() && cpu.isAtReset()) {
            enter(Uapi.KVM_MP_STATE_RUNNABLE);
        }
    }

    private int enable(ByteBuffer capability) {
        int number = capability.getInt(Uapi.KvmEnableCap.CAP);
        if (capability.getInt(Uapi.KvmEnableCap.FLAGS) == 0 && ENABLED_ELSEWHERE.contains(number)) {
            throw new NotModelledException("KVM_ENABLE_CAP of capability " + number + " on a vCPU");
        }
        return host.refuse(VmAnswer.VCPU_CAP);
    }

    // State that a VMM saves and restores

    private int getEvents(ByteBuffer to) {
        host.note(VmAnswer.EVENTS_NMIS);
        cpu.events().save(vm.reportedEvents(), to);
        return 0;
    }

    private int setEvents(ByteBuffer from) {
        boolean awaitsStartup = state == Uapi.KVM_MP_STATE_INIT_RECEIVED;
        return host.refuse(cpu.events().load(vm.reportedEvents(), from, lapic.isPresent(), awaitsStartup));
    }

    KeptState kept() {
        return kept;
    }

    // States

    /** Processes pending INIT and start-up events. */
    private void acceptEvents() {
        if (lapic.isEmpty()) {
            return;
        }
        if (lapic.get().takeInit()) {
            cpu.reset();
            kept.reset();
            enter(cpu.base().isBoot() ? Uapi.KVM_MP_STATE_RUNNABLE : Uapi.KVM_MP_STATE_INIT_RECEIVED);
        }
        if (lapic.get().events().takeStartup() && state == Uapi.KVM_MP_STATE_INIT_RECEIVED) {
            host.note(VmAnswer.VCPU_STARTUP);
            cpu.startUp(lapic.get().events().startupVector());
            enter(Uapi.KVM_MP_STATE_RUNNABLE);
        }
    }

    /** {@code kvm_set_mp_state()}, except for HALTED. */
    private void enter(int next) {
        state = next;
        if (next == Uapi.KVM_MP_STATE_RUNNABLE && host.build().isSince(6, 15)) {
            lapic.ifPresent(apic -> apic.events().setReleased(false));
        }
    }

    private int getState(ByteBuffer value) {
        acceptEvents();
        host.note(VmAnswer.VCPU_STATE_FIRST);
        boolean halts = state == Uapi.KVM_MP_STATE_RUNNABLE && cpu.isHalted();
        boolean waits = halts || state == Uapi.KVM_MP_STATE_AP_RESET_HOLD;
        if (waits && lapic.orElseThrow().events().isReleased()) {
            host.note(VmAnswer.VCPU_STATE_RELEASED);
            value.putInt(Uapi.KvmMpState.MP_STATE, Uapi.KVM_MP_STATE_RUNNABLE);
        } else {
            value.putInt(Uapi.KvmMpState.MP_STATE, halts ? Uapi.KVM_MP_STATE_HALTED : state);
        }
        return 0;
    }

    private int setState(int next) {
        boolean known = next >= Uapi.KVM_MP_STATE_RUNNABLE && next <= Uapi.KVM_MP_STATE_SIPI_RECEIVED
                || next == Uapi.KVM_MP_STATE_AP_RESET_HOLD;
        if (!known) {
            return host.refuse(VmAnswer.VCPU_STATE_UNKNOWN);
        }
        if (next != Uapi.KVM_MP_STATE_RUNNABLE && lapic.isEmpty()) {
            return host.refuse(VmAnswer.VCPU_STATE_WITHOUT_LAPIC);
        }
        if (next == Uapi.KVM_MP_STATE_SIPI_RECEIVED && cpu.isReading()) {
            throw new NotModelledException("a start-up message before a read of the guest is complete");
        }
        cpu.setHalted(next == Uapi.KVM_MP_STATE_HALTED);
        switch (next) {
            case Uapi.KVM_MP_STATE_HALTED -> state = Uapi.KVM_MP_STATE_RUNNABLE;
            case Uapi.KVM_MP_STATE_SIPI_RECEIVED -> {
                lapic.orElseThrow().events().sendStartup();
                state = Uapi.KVM_MP_STATE_INIT_RECEIVED;
            }
            default -> enter(next);
        }
        return 0;
    }

    // Attributes: a vCPU has one, the TSC offset

    private int hasAttribute(ByteBuffer structure) {
        Attribute attribute = Attribute.parse(structure);
        return attribute.group() == 0 && attribute.number() == 0 ? 0 : host.refuse(InterruptAnswer.VCPU_ATTRIBUTE);
    }

    private int getAttribute(ByteBuffer structure) {
        int refused = hasAttribute(structure);
        ByteBuffer offset = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder());
        offset.putLong(0, tsc.offset());
        return refused < 0 ? refused : host.put(Attribute.parse(structure).address(), offset, Long.BYTES);
    }

    private int setAttribute(ByteBuffer structure) {
        int refused = hasAttribute(structure);
        return refused < 0
                ? refused
                : host.copied(Attribute.parse(structure).address(), Long.BYTES, next -> {
                    tsc.setOffset(next.getLong(0));
                    return 0;
                });
    }

    // LAPIC

    private int getLapic(ByteBuffer to) {
        if (lapic.isEmpty()) {
            return host.refuse(VmAnswer.LAPIC_NONE);
        }
        if (lapic.get().hasOtherId()) {
            return host.refuse(VmAnswer.LAPIC_X2APIC_ID);
        }
        lapic.get().save(to);
        return 0;
    }

    private int setLapic(long address) {
        return lapic.isEmpty()
                ? host.refuse(VmAnswer.LAPIC_NONE)
                : host.copied(address, FakeLapic.SIZE, lapic.get()::restore);
    }
}
