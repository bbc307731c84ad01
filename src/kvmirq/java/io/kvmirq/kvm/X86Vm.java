/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The x86 methods of a VM, from {@link Vm#x86}: irqchip, lines, timer, clock, and APIC id size. Thread-safe. Errnos
 * named in method comments are thrown as {@link io.kvmirq.KernelException}s.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="vm"}
 */
public final class X86Vm {
    /** MSI data for an INIT or a SIPI, with level assert. Source: Intel SDM vol. 3, 11.11.2. */
    private static final int INIT = 0x4500;

    private static final int SIPI = 0x4600;

    /** The broadcast APIC id in xAPIC mode. */
    private static final int BROADCAST = 0xff;

    private static final long TO_BROADCAST = 0xfeef_f000L;

    private final VmCalls vm;
    private final MemorySlots slots;
    private final RouteTable routes;
    private final VmListeners listeners;
    /** One bit for each GSI. */
    private final AtomicLongArray highLines = new AtomicLongArray((Gsi.MAX + 1) / Long.SIZE);
    /** The {@code pins} of {@link #createSplitIrqchip}; negative if it was not called here. */
    private volatile int splitPins = -1;

    private final AtomicBoolean hasGuestIoapic = new AtomicBoolean();

    X86Vm(VmCalls vm, MemorySlots slots, RouteTable routes, VmListeners listeners) {
        this.vm = vm;
        this.slots = slots;
        this.routes = routes;
        this.listeners = listeners;
    }

    private void ioctl(KernelCall call, long request, ByteBuffer argument) {
        vm.ask(call, vm.vm()::toString, raw -> vm.libc().ioctl(raw, request, argument));
    }

    /**
     * Creates in-kernel PICs, IOAPIC and LAPICs, and routes GSI 0–15 to PIC and IOAPIC pins, 16–23 to IOAPIC pins.
     *
     * @throws io.kvmirq.KernelException EEXIST if the VM has an irqchip; ENOTTY on a kernel without irqchip; EINVAL if
     *     the VM has vCPUs
     * @throws IllegalArgumentException if guest memory covers the LAPICs' or the IOAPIC's page
     */
    public void createIrqchip() {
        slots.requireNoneOver(EnumSet.allOf(ChipPage.class));
        routes.becomeDefaults(() -> {
            vm.ask(KernelCall.IRQCHIP_CREATE, vm.vm()::toString, vm.backend()::irqchipCreate);
            vm.learn(Condition.FULL_IRQCHIP);
            return RouteTable.defaultsOfX86();
        });
    }

    /**
     * Creates in-kernel LAPICs and no routes. The VMM emulates the PICs and the IOAPIC.
     *
     * @param pins the number of pins of the VMM's IOAPIC, 0–4096; GSIs below this number belong to that IOAPIC
     * @throws io.kvmirq.KernelException EINVAL if {@code pins} is above 4096; EEXIST if the VM has an irqchip or a vCPU
     * @throws IllegalArgumentException if guest memory covers the LAPICs' page
     */
    public void createSplitIrqchip(int pins) {
        slots.requireNoneOver(EnumSet.of(ChipPage.LAPICS));
        routes.leaveToPins(pins, () -> {
            vm.ask(KernelCall.SPLIT_IRQCHIP, () -> vm.vm() + " pins=" + pins, raw -> vm.backend()
                    .irqchipCreateSplit(raw, pins));
            vm.learn(Condition.SPLIT_IRQCHIP);
        });
        splitPins = pins;
    }

    /**
     * Claims the VM's IOAPIC for a {@code GuestIoapic}. An adopted VM's pin count is unknown, so it is not checked.
     *
     * @throws IllegalArgumentException if the IOAPIC is claimed, or {@link #createSplitIrqchip} was called with other
     *     pins
     */
    @NotPromised
    public void claimIoapic(int pins) {
        int split = splitPins;
        if (split >= 0 && split != pins) {
            throw new IllegalArgumentException("an IOAPIC of " + pins + " pins for " + vm.vm()
                    + ", whose createSplitIrqchip had " + split + ": create both with the same number");
        }
        if (hasGuestIoapic.getAndSet(true)) {
            throw new IllegalArgumentException(vm.vm()
                    + " has a GuestIoapic, whose routes a second one would replace: use that one, and reset() it with"
                    + " the guest");
        }
    }

    /** Returns whether {@link #claimIoapic} was called. */
    @NotPromised
    public boolean hasGuestIoapic() {
        return hasGuestIoapic.get();
    }

    /**
     * Enables 32-bit MSI destinations, for vCPU ids above 255. Without this call, KVM uses only a destination's low 8
     * bits. Fails with EINVAL on a kernel without 32-bit APIC ids.
     */
    public void use32BitApicIds() {
        vm.use32BitApicIds();
        listeners.widenApicIds();
    }

    /**
     * Makes {@link X86Vcpu#events} report pending triple faults, and report pending exceptions, with their payloads,
     * separately from exceptions being delivered. Fails with EINVAL on a kernel that cannot report them.
     */
    public void reportWaitingFaults() {
        vm.enable(Uapi.KVM_CAP_EXCEPTION_PAYLOAD, 1);
        vm.enable(Uapi.KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
    }

    /**
     * Makes destination 255 reach vCPU 255 in x2APIC mode. Without this call, the kernel treats 255 as a broadcast,
     * like 0xffffffff. In xAPIC mode, 255 remains a broadcast even after this call. Fails with EINVAL on a kernel
     * without this setting. Source: {@code kvm_apic_mda()} in arch/x86/kvm/lapic.c.
     */
    public void disableBroadcastQuirk() {
        vm.disableBroadcastQuirk();
        listeners.endBroadcastQuirk();
    }

    /**
     * Makes a message like {@link MsiMessage#to}, but also accepts vCPU 255. All LAPICs must be in x2APIC mode when the
     * message is sent.
     *
     * @throws IllegalStateException unless both {@link #use32BitApicIds} and {@link #disableBroadcastQuirk} were called
     */
    public MsiMessage x2apicMessage(VcpuId vcpu, InterruptVector vector) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        Objects.requireNonNull(vector, "vector is null");
        if (!vm.has32BitApicIds() || vm.hasBroadcastQuirk()) {
            throw new IllegalStateException("a message in x2APIC format to " + vcpu + " of " + vm.vm()
                    + " would be read as one in xAPIC format: call X86Vm.use32BitApicIds and"
                    + " X86Vm.disableBroadcastQuirk first");
        }
        return vcpu.number() == BROADCAST ? new MsiMessage(TO_BROADCAST, vector.number()) : MsiMessage.to(vcpu, vector);
    }

    /**
     * Starts an application processor as firmware does, by INIT and SIPI. Its next run begins in real mode, with the
     * LAPIC software-disabled, so the vCPU takes no interrupt until the guest enables the LAPIC. Guests normally start
     * processors themselves, by writing to a LAPIC's ICR. Source: Intel SDM vol. 3, 9.4.4.1.
     *
     * @param page the address at which the vCPU starts, divided by 4096: 0 to 255
     * @throws IllegalStateException if the vCPU did not receive INIT. KVM does not find the vCPU created last until one
     *     of the VM's LAPICs is enabled or changes its id ({@code kvm_recalculate_apic_map()})
     * @throws io.kvmirq.KernelException EINVAL without in-kernel LAPICs
     */
    public void startProcessor(VcpuId vcpu, int page) {
        if (page < 0 || page > 0xff) {
            throw new IllegalArgumentException(
                    "page " + page + ": a processor starts in the first MiB, in page 0 to 255");
        }
        long address = MsiMessage.nmiTo(vcpu).address();
        for (int data : new int[] {INIT, SIPI | page}) {
            if (vm.signal(new MsiMessage(address, data)).vcpus() < 1) {
                throw new IllegalStateException(vcpu + " of " + vm.vm()
                        + " accepted no INIT: enable a LAPIC of the VM after its creation, by X86Vcpu.enableLapic");
            }
        }
    }

    /** Whether destination 255 is a broadcast even in x2APIC mode, as it is until {@link #disableBroadcastQuirk}. */
    public boolean hasBroadcastQuirk() {
        return vm.hasBroadcastQuirk();
    }

    /** Whether {@link #use32BitApicIds} was called. */
    public boolean has32BitApicIds() {
        return vm.has32BitApicIds();
    }

    /**
     * Creates an in-kernel timer (i8254) at ports 0x40–0x43, which raises GSI 0. The VM may already have vCPUs. The VMM
     * emulates the speaker port 0x61. On AMD, hardware posts no interrupts to a VM with this timer until {@code
     * setPitReinjection(false)}. Fails, in this order, with ENOTTY on a kernel without irqchip, EEXIST if the VM has a
     * timer, ENOENT without the full irqchip (since 6.12), and ENOMEM. Source: KVM_CREATE_PIT2 in arch/x86/kvm/x86.c.
     */
    public void createPit() {
        createPit(0);
    }

    /** Like {@link #createPit}, with a silent in-kernel port 0x61, which guests read to measure their TSC rate. */
    public void createPitWithSpeaker() {
        createPit(Uapi.KVM_PIT_SPEAKER_DUMMY);
    }

    private void createPit(int flags) {
        ByteBuffer config = Buffers.allocate(Uapi.KvmPitConfig.SIZE).putInt(Uapi.KvmPitConfig.FLAGS, flags);
        ioctl(KernelCall.PIT_CREATE, Uapi.KVM_CREATE_PIT2, config);
    }

    /**
     * Reserves three pages for KVM, which the guest must not use. Call this before the first run. On Intel processors
     * without unrestricted guest, the pages contain a task state segment for real mode. Other processors do not use
     * them. Fails with EINVAL if the pages do not end below 4 GiB. Without unrestricted guest, the call also fails with
     * EINVAL for a misaligned address, and with EEXIST if guest memory overlaps them. Source: {@code
     * kvm_vm_ioctl_set_tss_addr()} in x86.c, {@code vmx_set_tss_addr()} in vmx.c.
     *
     * @param guestAddress the guest-physical address of the first page, such as 0xfffbd000: a multiple of 4096
     */
    public void setTssAddress(long guestAddress) {
        vm.ask(KernelCall.TSS, () -> at(guestAddress), raw -> vm.libc()
                .ioctl(raw, Uapi.KVM_SET_TSS_ADDR, guestAddress));
    }

    /**
     * Reserves one page for KVM, which the guest must not use. On Intel processors without unrestricted guest, it
     * contains the page table for a guest with paging off. Other processors do not use it. Fails with EINVAL if the VM
     * has vCPUs. Source: KVM_SET_IDENTITY_MAP_ADDR in arch/x86/kvm/x86.c, {@code vmx_set_identity_map_addr()} in vmx.c.
     *
     * @param guestAddress the page's address, a multiple of 4096, checked when the first vCPU is created; 0 means
     *     0xfffbc000
     */
    public void setIdentityMapAddress(long guestAddress) {
        ByteBuffer address = Buffers.allocate(Long.BYTES).putLong(0, guestAddress);
        vm.ask(KernelCall.IDENTITY_MAP, () -> at(guestAddress), raw -> vm.libc()
                .ioctl(raw, Uapi.KVM_SET_IDENTITY_MAP_ADDR, address));
    }

    private String at(long guestAddress) {
        return vm.vm() + " address=0x" + Long.toHexString(guestAddress);
    }

    /** The in-kernel IOAPIC's state. Fails with ENXIO without the full irqchip. */
    public IoapicState ioapic() {
        return chip(KernelCall.IOAPIC_GET, Route.Chip.IOAPIC, new IoapicState());
    }

    /** Writes the IOAPIC's state, usually a changed copy from {@link #ioapic}. */
    public void setIoapic(IoapicState state) {
        setChip(KernelCall.IOAPIC_SET, Route.Chip.IOAPIC, state);
    }

    /** An in-kernel PIC's state, master or slave. Fails with ENXIO without the full irqchip. */
    public X86Pic pic(Route.Chip chip) {
        return chip(KernelCall.PIC_GET, chip, new X86Pic(Objects.requireNonNull(chip, "chip is null")));
    }

    /** Writes a PIC's state, usually a changed copy from {@link #pic}. */
    public void setPic(X86Pic state) {
        setChip(KernelCall.PIC_SET, state.chip(), state);
    }

    private <S extends X86State> S chip(KernelCall call, Route.Chip chip, S into) {
        vm.ask(call, vm.vm()::toString, raw -> vm.backend().irqchipGet(raw, chip.id(), into.structure));
        return into;
    }

    private void setChip(KernelCall call, Route.Chip chip, X86State from) {
        vm.ask(call, vm.vm()::toString, raw -> vm.backend().irqchipSet(raw, chip.id(), from.structure));
    }

    /**
     * Sets whether the in-kernel timer reinjects ticks that the guest missed, as it does by default. With reinjection,
     * KVM on AMD counts the guest's EOIs, so no interrupts are posted. Fails with ENXIO before {@link #createPit}.
     */
    public void setPitReinjection(boolean on) {
        ByteBuffer control = Buffers.allocate(Uapi.KvmReinjectControl.SIZE)
                .put(Uapi.KvmReinjectControl.PIT_REINJECT, (byte) (on ? 1 : 0));
        ioctl(KernelCall.PIT_REINJECT, Uapi.KVM_REINJECT_CONTROL, control);
    }

    /** The in-kernel timer's state. Fails with ENXIO if the VM has no timer, see {@link #createPit}. */
    public X86Pit pit() {
        X86Pit pit = new X86Pit();
        ioctl(KernelCall.PIT_GET, Uapi.KVM_GET_PIT2, pit.structure);
        return pit;
    }

    /** Sets the timer's state, usually to a copy from {@link #pit}. Each channel restarts from its start value. */
    public void setPit(X86Pit state) {
        ioctl(KernelCall.PIT_SET, Uapi.KVM_SET_PIT2, state.structure);
    }

    /** The guest's paravirtual clock (kvmclock). The clock is 0 when the VM is created. */
    public Duration clock() {
        ByteBuffer clock = Buffers.allocate(Uapi.KvmClockData.SIZE);
        ioctl(KernelCall.CLOCK_GET, Uapi.KVM_GET_CLOCK, clock);
        return Duration.ofNanos(clock.getLong(Uapi.KvmClockData.CLOCK));
    }

    /** Sets the guest's paravirtual clock, for example after the VM was paused. */
    public void setClock(Duration clock) {
        Objects.requireNonNull(clock, "clock is null");
        ByteBuffer data = Buffers.allocate(Uapi.KvmClockData.SIZE).putLong(Uapi.KvmClockData.CLOCK, clock.toNanos());
        ioctl(KernelCall.CLOCK_SET, Uapi.KVM_SET_CLOCK, data);
    }

    /**
     * Drives a PIC or IOAPIC line from user space. This call and the level-triggered irqfds on the GSI drive the pin
     * separately, so the pin is high while either drives it high. A signal of an edge-triggered irqfd lowers a line
     * that this call raised. Allocates nothing unless {@link LineOutcome#accepted} exceeds 2. Fails with ENXIO without
     * an in-kernel irqchip.
     */
    public LineOutcome setLine(Gsi gsi, boolean high) {
        Objects.requireNonNull(gsi, "gsi is null");
        int level = high ? 1 : 0;
        ByteBuffer status = vm.scratch();
        int raw = vm.begin(vm.vm());
        try {
            int result = vm.backend().lineSetStatus(raw, gsi.number(), level, status);
            if (result < 0) {
                throw vm.failure(
                        result,
                        KernelCall.LINE,
                        vm.known(),
                        () -> "vm=" + raw + " gsi=" + gsi.number() + " level=" + level);
            }
            note(gsi, high);
            return LineOutcome.ofStatus(status.getInt(0));
        } finally {
            vm.done(status);
            VmCalls.end(vm.vm());
        }
    }

    private void note(Gsi gsi, boolean high) {
        int word = gsi.number() / Long.SIZE;
        long bit = 1L << gsi.number();
        long old;
        do {
            old = highLines.get(word);
        } while (!highLines.compareAndSet(word, old, high ? old | bit : old & ~bit));
    }

    /** Whether the last {@link #setLine} for this GSI set the line high. */
    public boolean isHigh(Gsi gsi) {
        Objects.requireNonNull(gsi, "gsi is null");
        return (highLines.get(gsi.number() / Long.SIZE) >>> gsi.number() & 1) == 1;
    }
}
