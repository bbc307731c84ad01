/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.Fact;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.EnumSet;

/**
 * KVM's calls on the chips of an x86 VM, its timer and its clock. On arm64 the requests mean something else, so the
 * methods throw {@link UnsupportedOperationException}. Thread-safe.
 */
final class X86ChipCalls extends Calls {
    private static final String TIMER = "a timer of the PC";
    private static final String NO_TIMER = "a vCPU there has its own";

    /** The APIC id that is the broadcast in xAPIC mode. */
    private static final int BROADCAST = 0xff;

    private static final long TO_BROADCAST = 0xfeef_f000L;

    private final VmCalls vm;

    X86ChipCalls(VmCalls vm) {
        super(vm.vm().kernel());
        this.vm = vm;
    }

    void createIrqchip(MemorySlots slots, RouteTable routes) {
        vm.refuseOnArm64("the irqchip of PIC, IOAPIC and LAPICs", "create a VGIC");
        slots.requireNoneOver(EnumSet.allOf(ChipPage.class));
        routes.becomeDefaults(() -> {
            createIrqchip();
            return RouteTable.defaultsOfX86();
        });
    }

    private void createIrqchip() {
        vm.ask(KernelCall.IRQCHIP_CREATE, vm.vm()::toString, backend()::irqchipCreate);
        vm.learn(Fact.FULL_IRQCHIP);
    }

    void createSplitIrqchip(int pins, MemorySlots slots, RouteTable routes) {
        vm.refuseOnArm64("a split irqchip", "create a VGIC");
        slots.requireNoneOver(EnumSet.of(ChipPage.LAPICS));
        routes.leaveToPins(pins, () -> createSplitIrqchip(pins));
    }

    private void createSplitIrqchip(int pins) {
        vm.ask(KernelCall.SPLIT_IRQCHIP, () -> vm.vm() + " pins=" + pins, raw -> backend()
                .irqchipCreateSplit(raw, pins));
        vm.learn(Fact.SPLIT_IRQCHIP);
    }

    void reportWaitingFaults() {
        vm.refuseOnArm64("events of a vCPU", "leave it out");
        for (int capability : new int[] {Uapi.KVM_CAP_EXCEPTION_PAYLOAD, Uapi.KVM_CAP_X86_TRIPLE_FAULT_EVENT}) {
            ByteBuffer enable = Buffers.allocate(Uapi.KvmEnableCap.SIZE)
                    .putInt(Uapi.KvmEnableCap.CAP, capability)
                    .putLong(Uapi.KvmEnableCap.ARGS, 1);
            vm.ask(KernelCall.CAP_ENABLE, () -> vm.vm() + " capability=" + capability, raw -> libc().ioctl(
                            raw, Uapi.KVM_ENABLE_CAP, enable));
        }
    }

    MsiMessage x2apicMessage(VcpuId vcpu, InterruptVector vector) {
        if (!vm.has32BitApicIds() || vm.hasBroadcastQuirk()) {
            throw new IllegalStateException(
                    "a message in the form of x2APIC mode to " + vcpu + " of " + vm.vm()
                            + " would be taken as one of xAPIC mode: call Vm.use32BitApicIds and Vm.disableBroadcastQuirk first");
        }
        return vcpu.number() == BROADCAST ? new MsiMessage(TO_BROADCAST, vector.number()) : MsiMessage.to(vcpu, vector);
    }

    void createPit(boolean withSpeaker) {
        vm.refuseOnArm64(TIMER, NO_TIMER);
        ByteBuffer config = Buffers.allocate(Uapi.KvmPitConfig.SIZE)
                .putInt(Uapi.KvmPitConfig.FLAGS, withSpeaker ? Uapi.KVM_PIT_SPEAKER_DUMMY : 0);
        vm.ask(KernelCall.PIT_CREATE, vm.vm()::toString, raw -> libc().ioctl(raw, Uapi.KVM_CREATE_PIT2, config));
    }

    void setTss(long guestAddress) {
        vm.refuseOnArm64("a task state segment", "leave it out");
        vm.ask(KernelCall.TSS, () -> at(guestAddress), raw -> libc().ioctl(raw, Uapi.KVM_SET_TSS_ADDR, guestAddress));
    }

    void setIdentityMap(long guestAddress) {
        vm.refuseOnArm64("an identity map", "leave it out");
        ByteBuffer address = Buffers.allocate(Long.BYTES).putLong(0, guestAddress);
        vm.ask(KernelCall.IDENTITY_MAP, () -> at(guestAddress), raw -> libc().ioctl(
                        raw, Uapi.KVM_SET_IDENTITY_MAP_ADDR, address));
    }

    private String at(long guestAddress) {
        return vm.vm() + " address=0x" + Long.toHexString(guestAddress);
    }

    IoapicState getIoapic() {
        vm.refuseOnArm64("an IOAPIC", "read the registers of the VGIC");
        return getChip(KernelCall.IOAPIC_GET, Route.Chip.IOAPIC, new IoapicState());
    }

    X86Pic getPic(Route.Chip chip) {
        vm.refuseOnArm64("a PIC", "read the registers of the VGIC");
        return getChip(KernelCall.PIC_GET, chip, new X86Pic(chip));
    }

    private <S extends X86State> S getChip(KernelCall call, Route.Chip chip, S into) {
        vm.ask(call, vm.vm()::toString, raw -> backend().irqchipGet(raw, chip.id(), into.structure));
        return into;
    }

    void setIoapic(IoapicState from) {
        setChip(KernelCall.IOAPIC_SET, Route.Chip.IOAPIC, from);
    }

    void setPic(X86Pic from) {
        setChip(KernelCall.PIC_SET, from.chip(), from);
    }

    private void setChip(KernelCall call, Route.Chip chip, X86State from) {
        vm.ask(call, vm.vm()::toString, raw -> backend().irqchipSet(raw, chip.id(), from.structure));
    }

    void reinjectPit(boolean on) {
        vm.refuseOnArm64(TIMER, NO_TIMER);
        ByteBuffer control = Buffers.allocate(Uapi.KvmReinjectControl.SIZE)
                .put(Uapi.KvmReinjectControl.PIT_REINJECT, (byte) (on ? 1 : 0));
        vm.ask(KernelCall.PIT_REINJECT, vm.vm()::toString, raw -> libc().ioctl(
                        raw, Uapi.KVM_REINJECT_CONTROL, control));
    }

    X86Pit getPit() {
        vm.refuseOnArm64(TIMER, NO_TIMER);
        X86Pit pit = new X86Pit();
        vm.ask(KernelCall.PIT_GET, vm.vm()::toString, raw -> libc().ioctl(raw, Uapi.KVM_GET_PIT2, pit.structure));
        return pit;
    }

    void setPit(X86Pit pit) {
        vm.refuseOnArm64(TIMER, NO_TIMER);
        vm.ask(KernelCall.PIT_SET, vm.vm()::toString, raw -> libc().ioctl(raw, Uapi.KVM_SET_PIT2, pit.structure));
    }

    long getClock() {
        vm.refuseOnArm64("a clock of KVM", NO_TIMER);
        ByteBuffer clock = Buffers.allocate(Uapi.KvmClockData.SIZE);
        vm.ask(KernelCall.CLOCK_GET, vm.vm()::toString, raw -> libc().ioctl(raw, Uapi.KVM_GET_CLOCK, clock));
        return clock.getLong(Uapi.KvmClockData.CLOCK);
    }

    void setClock(long nanos) {
        vm.refuseOnArm64("a clock of KVM", NO_TIMER);
        ByteBuffer clock = Buffers.allocate(Uapi.KvmClockData.SIZE).putLong(Uapi.KvmClockData.CLOCK, nanos);
        vm.ask(KernelCall.CLOCK_SET, vm.vm()::toString, raw -> libc().ioctl(raw, Uapi.KVM_SET_CLOCK, clock));
    }
}
