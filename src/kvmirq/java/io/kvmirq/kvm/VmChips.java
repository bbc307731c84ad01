/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.Fact;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.Uapi;
import java.util.EnumSet;
import java.util.function.Consumer;
import java.util.function.Function;

/** What a board has beside vCPUs and memory: the interrupt controllers of a VM, its timer and its clock. */
abstract sealed class VmChips permits Vm {
    private static final String TIMER = "a timer of the PC";
    private static final String NO_TIMER = "a vCPU there has its own";
    /** The APIC id that is the broadcast in xAPIC mode. */
    private static final int BROADCAST = 0xff;

    private static final long TO_BROADCAST = 0xfeef_f000L;

    final VmCalls calls;
    final VgicCalls vgicCalls;
    final RouteTable routes;
    volatile boolean apicIdsWidened;

    VmChips(VmCalls calls, RouteTable routes) {
        this.calls = calls;
        this.vgicCalls = new VgicCalls(calls);
        this.routes = routes;
    }

    abstract Vm self();

    abstract void tell(Consumer<VmListener> change);

    final VmCalls calls() {
        return calls;
    }

    final VgicCalls vgicCalls() {
        return vgicCalls;
    }

    /**
     * PIC, IOAPIC and LAPICs in the kernel (x86), with the default routes GSI 0–15 → PIC and IOAPIC, 16–23 → IOAPIC.
     * Before any vCPU.
     *
     * @throws io.kvmirq.KernelException EEXIST with any irqchip present, full or split; ENOTTY on a kernel without one;
     *     EINVAL with vCPUs present
     * @throws IllegalArgumentException if memory is over the page of the LAPICs or the IOAPIC
     * @throws UnsupportedOperationException on arm64
     */
    public void createIrqchip() {
        calls.refuseOnArm64("the irqchip of PIC, IOAPIC and LAPICs", "create a VGIC");
        self().slots().requireNoneOver(EnumSet.allOf(ChipPage.class));
        routes.becomeDefaults(() -> {
            calls.createIrqchip();
            return RouteTable.defaultsOfX86();
        });
    }

    /**
     * LAPICs in the kernel, PIC and IOAPIC left to the VMM, no routes. Before any vCPU.
     *
     * @param pins of the VMM's IOAPIC, 0–4096; the GSIs below are left to it
     * @throws io.kvmirq.KernelException EINVAL with more pins; EEXIST with any irqchip or vCPU present
     * @throws IllegalArgumentException if memory is over the page of the LAPICs
     * @throws UnsupportedOperationException on arm64
     */
    public void createSplitIrqchip(int pins) {
        calls.refuseOnArm64("a split irqchip", "create a VGIC");
        self().slots().requireNoneOver(EnumSet.of(ChipPage.LAPICS));
        routes.leaveToPins(pins, () -> calls.createSplitIrqchip(pins));
    }

    /**
     * Makes vCPUs with ids above 255 reachable by messages; without it the kernel ignores the high bits of a
     * destination and delivers to the vCPU that the low 8 name.
     *
     * @throws io.kvmirq.KernelException EINVAL on a kernel without it
     * @throws UnsupportedOperationException on arm64
     */
    public void use32BitApicIds() {
        calls.refuseOnArm64("an APIC id", "a message to an ITS names no vCPU");
        calls.use32BitApicIds();
        apicIdsWidened = true;
        tell(VmListener::apicIdsWidened);
    }

    /**
     * Makes {@link Vcpu#events} tell exceptions that wait apart from those that are being delivered, with their
     * payloads, and triple faults that wait.
     *
     * @throws io.kvmirq.KernelException EINVAL on a kernel without it
     * @throws UnsupportedOperationException on arm64
     */
    public void reportWaitingFaults() {
        calls.refuseOnArm64("events of a vCPU", "leave it out");
        calls.reportWaitingFaults();
    }

    /**
     * Lets a message name vCPU 255 of a guest in x2APIC mode: without it the kernel takes destination 255 as the broadcast
     * in x2APIC mode, too, where the broadcast is 0xffffffff. In xAPIC mode 255 stays the broadcast.
     *
     * <p>Source: {@code kvm_apic_mda()} in arch/x86/kvm/lapic.c.
     *
     * @throws io.kvmirq.KernelException EINVAL on a kernel without it
     * @throws UnsupportedOperationException on arm64
     */
    public void disableBroadcastQuirk() {
        calls.refuseOnArm64("an APIC id", "a message to an ITS names no vCPU");
        calls.disableBroadcastQuirk();
        tell(VmListener::broadcastQuirkDisabled);
    }

    /**
     * Makes a fixed, edge-triggered message with one vCPU as its physical destination, as {@link MsiMessage#to} does, also
     * for vCPU 255. All LAPICs have to be in x2APIC mode when it is sent: in xAPIC mode 255 is the broadcast.
     *
     * @throws IllegalStateException before {@link #use32BitApicIds} and {@link #disableBroadcastQuirk}
     */
    public MsiMessage x2apicMessage(VcpuId vcpu, InterruptVector vector) {
        if (!has32BitApicIds() || hasBroadcastQuirk()) {
            throw new IllegalStateException(
                    "a message in the form of x2APIC mode to " + vcpu + " of " + calls.vm()
                            + " would be taken as one of xAPIC mode: call Vm.use32BitApicIds and Vm.disableBroadcastQuirk first");
        }
        return vcpu.number() == BROADCAST ? new MsiMessage(TO_BROADCAST, vector.number()) : MsiMessage.to(vcpu, vector);
    }

    /** Whether destination 255 is the broadcast in x2APIC mode, too: until {@link #disableBroadcastQuirk}. */
    public boolean hasBroadcastQuirk() {
        return calls.hasBroadcastQuirk();
    }

    /** Whether {@link #use32BitApicIds} was called. */
    public boolean has32BitApicIds() {
        return calls.has32BitApicIds();
    }

    /**
     * A timer (i8254) in the kernel, at the ports 0x40–0x43, which raises GSI 0; also with vCPUs present. The port of the
     * speaker, 0x61, is left to the VMM. On AMD a VM with this timer gets no posted interrupts until {@link
     * #setPitReinjection} is off.
     *
     * <p>Source: KVM_CREATE_PIT2 in arch/x86/kvm/x86.c, which checks in the order of the errors here.
     *
     * @throws io.kvmirq.KernelException ENOTTY on a kernel without irqchip; EEXIST with a timer present; since 6.12
     *     ENOENT without the full irqchip; ENOMEM
     * @throws UnsupportedOperationException on arm64
     */
    public void createPit() {
        calls.refuseOnArm64(TIMER, NO_TIMER);
        calls.createPit(0);
    }

    /**
     * As {@link #createPit}; the kernel also serves port 0x61, by which guests read the timer's channel 2 to measure
     * their TSC. It makes no sound.
     */
    public void createPitWithSpeaker() {
        calls.refuseOnArm64(TIMER, NO_TIMER);
        calls.createPit(Uapi.KVM_PIT_SPEAKER_DUMMY);
    }

    /**
     * Gives KVM three pages, of which the guest must not know. Intel's processors without unrestricted guest run real
     * mode by a task state segment there; the others, and AMD's, do not use them. Before the first run.
     *
     * <p>Source: {@code kvm_vm_ioctl_set_tss_addr()} in arch/x86/kvm/x86.c, {@code vmx_set_tss_addr()} in vmx.c.
     *
     * @param guestAddress of the first, such as 0xfffbd000, a multiple of 4096
     * @throws io.kvmirq.KernelException EINVAL if they do not end below 4 GiB; on such a processor also EINVAL for a
     *     misaligned address, and EEXIST when they overlap memory
     * @throws UnsupportedOperationException on arm64
     */
    public void setTssAddress(long guestAddress) {
        calls.refuseOnArm64("a task state segment", "leave it out");
        calls.setTss(guestAddress);
    }

    /**
     * Gives KVM one page, of which the guest must not know, for a page table that Intel's processors without unrestricted
     * guest use while the guest has paging off; the others, and AMD's, do not use it. It is 0xfffbc000 without this call.
     *
     * <p>Source: KVM_SET_IDENTITY_MAP_ADDR in arch/x86/kvm/x86.c, {@code vmx_set_identity_map_addr()} in vmx.c.
     *
     * @param guestAddress a multiple of 4096, which the kernel checks first when the first vCPU is made; 0 stands for
     *     the default
     * @throws io.kvmirq.KernelException EINVAL with vCPUs present
     * @throws UnsupportedOperationException on arm64
     */
    public void setIdentityMapAddress(long guestAddress) {
        calls.refuseOnArm64("an identity map", "leave it out");
        calls.setIdentityMap(guestAddress);
    }

    /**
     * The state of the in-kernel IOAPIC.
     *
     * @throws io.kvmirq.KernelException ENXIO without the full irqchip
     * @throws UnsupportedOperationException on arm64
     */
    public IoapicState ioapic() {
        calls.refuseOnArm64("an IOAPIC", "read the registers of the VGIC");
        return calls.getChip(KernelCall.IOAPIC_GET, Route.Chip.IOAPIC, new IoapicState());
    }

    /** Puts back what {@link #ioapic} gave, changed or not. */
    public void restore(IoapicState state) {
        calls.setChip(KernelCall.IOAPIC_SET, Route.Chip.IOAPIC, state);
    }

    /**
     * The state of an in-kernel PIC.
     *
     * @param chip master or slave
     * @throws io.kvmirq.KernelException ENXIO without the full irqchip
     * @throws IllegalArgumentException for another chip
     * @throws UnsupportedOperationException on arm64
     */
    public X86Pic pic(Route.Chip chip) {
        calls.refuseOnArm64("a PIC", "read the registers of the VGIC");
        return calls.getChip(KernelCall.PIC_GET, chip, new X86Pic(chip));
    }

    /** Puts back what {@link #pic} gave, changed or not. */
    public void restore(X86Pic state) {
        calls.setChip(KernelCall.PIC_SET, state.chip(), state);
    }

    /**
     * Whether the in-kernel timer makes up for ticks that the guest did not take in time: on unless switched off. On AMD a
     * VM with this on gets no posted interrupts, because the kernel then counts the guest's EOIs.
     *
     * @throws io.kvmirq.KernelException ENXIO without a timer, see {@link #createPit}
     * @throws UnsupportedOperationException on arm64
     */
    public void setPitReinjection(boolean on) {
        calls.refuseOnArm64(TIMER, NO_TIMER);
        calls.reinjectPit(on);
    }

    /**
     * The state of the in-kernel timer.
     *
     * @throws io.kvmirq.KernelException ENXIO without one, see {@link #createPit}
     * @throws UnsupportedOperationException on arm64
     */
    public X86Pit pit() {
        calls.refuseOnArm64(TIMER, NO_TIMER);
        return calls.getPit();
    }

    /** Puts back what {@link #pit} gave, changed or not. Its channels count from their whole counts. */
    public void restore(X86Pit state) {
        calls.refuseOnArm64(TIMER, NO_TIMER);
        calls.setPit(state);
    }

    /**
     * The paravirtual clock of the guest (kvmclock) in nanoseconds; it begins at 0 with the VM.
     *
     * @throws UnsupportedOperationException on arm64
     */
    public long clock() {
        calls.refuseOnArm64("a clock of KVM", "a vCPU there has its own");
        return calls.getClock();
    }

    /** Makes the paravirtual clock go on from here, as after a pause of the VM. */
    public void setClock(long nanos) {
        calls.refuseOnArm64("a clock of KVM", "a vCPU there has its own");
        calls.setClock(nanos);
    }

    /**
     * A GICv2 (arm64). Call {@link Vgic#init} before a vCPU runs.
     *
     * @throws io.kvmirq.KernelException ENODEV on a host whose GIC runs none; EEXIST with a VGIC present, even if its
     *     handle is closed; EBUSY when a vCPU has run, or another thread creates or uses one; E2BIG with more
     *     than 8 vCPUs on a host with a GICv3; a host with a GICv2 allows only 8
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public VgicV2 createVgicV2() {
        calls.requireArm64("a VGIC");
        return create(KvmDevice.Type.VGIC_V2, fd -> learned(Fact.GICV2, new VgicV2(vgicCalls, routes, fd, false)));
    }

    /**
     * A GICv3 (arm64). It is not ready before {@link Vgic#init}.
     *
     * @throws io.kvmirq.KernelException ENODEV on a host with a GICv2; EEXIST and EBUSY as {@link #createVgicV2}
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public VgicV3 createVgicV3() {
        calls.requireArm64("a VGIC");
        return create(KvmDevice.Type.VGIC_V3, fd -> learned(Fact.GICV3, new VgicV3(vgicCalls, routes, fd, false)));
    }

    /**
     * An ITS (arm64), which takes messages of devices. A VM may have several. Create it before GICR_PROPBASER is
     * restored: creating an ITS resets it.
     *
     * @throws io.kvmirq.KernelException ENODEV on a host with a GICv2
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public Its createIts() {
        calls.requireArm64("an ITS");
        return create(KvmDevice.Type.ITS, fd -> new Its(vgicCalls, fd));
    }

    /**
     * A GICv2 that a VMM made for this adopted VM. The VMM initialises it: {@link Vgic#init} through this handle leaves
     * {@link Vm#routes} as they are.
     *
     * @param number the descriptor that KVM_CREATE_DEVICE gave
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public VgicV2 adoptVgicV2(int number, Ownership ownership) {
        return calls.adoptDevice(
                "a VGIC", number, ownership, fd -> learned(Fact.GICV2, new VgicV2(vgicCalls, routes, fd, true)));
    }

    /** A GICv3, as {@link #adoptVgicV2}. */
    public VgicV3 adoptVgicV3(int number, Ownership ownership) {
        return calls.adoptDevice(
                "a VGIC", number, ownership, fd -> learned(Fact.GICV3, new VgicV3(vgicCalls, routes, fd, true)));
    }

    /** An ITS, as {@link #adoptVgicV2}. It has no part in the routes. */
    public Its adoptIts(int number, Ownership ownership) {
        return calls.adoptDevice("an ITS", number, ownership, fd -> new Its(vgicCalls, fd));
    }

    final <D> D create(KvmDevice.Type type, Function<Fd, D> owner) {
        return calls.createDevice(type.number(), type.facts(), owner);
    }

    private <V extends Vgic> V learned(Fact version, V vgic) {
        calls.learn(Fact.VGIC);
        calls.learn(version);
        return vgic;
    }
}
