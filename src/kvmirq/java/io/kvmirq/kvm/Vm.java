/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;

/**
 * A virtual machine, created here or adopted from a VMM. Thread-safe. A method marked x86 or arm64 throws {@link
 * UnsupportedOperationException} on the other architecture. An errno at a method is the errno of the {@link
 * io.kvmirq.KernelException} that it throws.
 *
 * <p>Irqfds, ioeventfds and memory that are registered with a VM lease it: {@link #close} takes effect when the last of
 * them is closed. A vCPU does not lease its VM.
 */
public final class Vm implements AutoCloseable {
    private final VmCalls calls;
    private final RouteTable routes;
    private final MemorySlots slots;
    private final IrqfdCalls irqfds;
    private final X86ChipCalls x86;
    private final VgicCalls vgic;
    private final VgicDevices devices;
    private final VmListeners listeners;

    private Vm(VmCalls calls, RouteTable routes) {
        this.calls = calls;
        this.routes = routes;
        this.slots = new MemorySlots(calls);
        this.irqfds = new IrqfdCalls(calls);
        this.x86 = new X86ChipCalls(calls);
        this.vgic = new VgicCalls(calls);
        this.devices = new VgicDevices(vgic, routes);
        this.listeners = new VmListeners(calls);
    }

    /**
     * A new VM without irqchip, memory or vCPUs. On arm64 its guest has 40 bits of physical addresses, or fewer if the
     * host has fewer.
     *
     * @throws io.kvmirq.KernelException EMFILE, ENFILE, ENOMEM; EBUSY when another hypervisor has the CPU; as {@link
     *     Kernel#device}, which the first VM opens
     */
    public static Vm create(Kernel kernel) {
        return VmCalls.create(kernel, OptionalInt.empty(), calls -> new Vm(calls, RouteTable.empty(calls)));
    }

    /** As {@link #create(Kernel)} on arm64, with guest physical addresses of 32 bits to {@link Kernel#facts}' limit. */
    public static Vm create(Kernel kernel, int guestAddressBits) {
        OptionalInt bits = OptionalInt.of(guestAddressBits);
        return VmCalls.create(kernel, bits, calls -> new Vm(calls, RouteTable.empty(calls)));
    }

    /**
     * Adopts a VM that a VMM in this process made; in any other process KVM returns EIO. It needs no access to {@code
     * /dev/kvm}, because one call on the VM determines the architecture.
     *
     * @param number the VM's descriptor
     * @param routesNow all GSI routes of the VM. KVM has no call that reads them, and each change replaces all of them:
     *     the first change loses a route that is not named here. If there are none, or those of an irqchip, or they are
     *     unknown, use {@link #adopt(Kernel, int, Ownership, RoutesNow)}
     * @param firstFree the lowest GSI that may be given out; those below belong to the VMM, or to pins of its IOAPIC
     * @throws IllegalArgumentException if {@code number} is negative, or if /proc says that it is not open, or no VM
     * @throws io.kvmirq.KernelException with routes to pins, and a new {@code kernel}: EPERM when a system call filter
     *     refuses KVM_CHECK_EXTENSION
     */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, List<Route> routesNow, Gsi firstFree) {
        Objects.requireNonNull(routesNow, "routesNow is null");
        return VmCalls.adopt(
                kernel, number, ownership, calls -> new Vm(calls, RouteTable.adopted(calls, routesNow, firstFree)));
    }

    /** As {@link #adopt(Kernel, int, Ownership, List, Gsi)}, without a list of the routes. */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, RoutesNow routesNow) {
        Objects.requireNonNull(routesNow, "routesNow is null");
        return VmCalls.adopt(kernel, number, ownership, calls -> new Vm(calls, RouteTable.adopted(calls, routesNow)));
    }

    IrqfdCalls irqfds() {
        return irqfds;
    }

    /** The kernel that the VM belongs to. */
    public Kernel kernel() {
        return calls.vm().kernel();
    }

    /** Whether this is an arm64 VM, with a VGIC instead of LAPICs. For an adopted VM the first call queries KVM. */
    public boolean isArm64() {
        return calls.isArm64();
    }

    /** The VM's descriptor. A lease of it returns the number to share with a VMM. */
    public Fd fd() {
        return calls.vm();
    }

    /** The VM's GSI routing table. */
    public RouteTable routes() {
        return routes;
    }

    // Chips

    /**
     * Creates PIC, IOAPIC and LAPICs in KVM (x86), with routes GSI 0–15 → PIC and IOAPIC, 16–23 → IOAPIC.
     *
     * @throws io.kvmirq.KernelException EEXIST with any irqchip present; ENOTTY on a kernel without one; EINVAL with
     *     vCPUs
     * @throws IllegalArgumentException if memory is over the page of the LAPICs or the IOAPIC
     */
    public void createIrqchip() {
        x86.createIrqchip(slots, routes);
    }

    /**
     * Creates in-kernel LAPICs (x86) and no routes. The VMM emulates PIC and IOAPIC.
     *
     * @param pins the number of pins of the VMM's IOAPIC, 0–4096; GSIs below it belong to that IOAPIC
     * @throws io.kvmirq.KernelException EINVAL with more pins; EEXIST with any irqchip or vCPU present
     * @throws IllegalArgumentException if memory is over the page of the LAPICs
     */
    public void createSplitIrqchip(int pins) {
        x86.createSplitIrqchip(pins, slots, routes);
    }

    /**
     * Makes vCPUs with ids above 255 reachable by messages (x86). Without this call, the kernel ignores the high bits
     * of a destination and delivers to the vCPU of its low 8 bits. EINVAL on a kernel without it.
     */
    public void use32BitApicIds() {
        calls.use32BitApicIds();
        listeners.widenApicIds();
    }

    /**
     * Makes {@link Vcpu#events} distinguish pending exceptions, with their payloads, from those being delivered, and
     * report pending triple faults (x86). EINVAL on a kernel without it.
     */
    public void reportWaitingFaults() {
        x86.reportWaitingFaults();
    }

    /**
     * Makes destination 255 the vCPU 255 of a guest in x2APIC mode (x86). Otherwise the kernel treats 255 as the
     * broadcast there, as 0xffffffff. In xAPIC mode 255 stays the broadcast. EINVAL on a kernel without it. Source:
     * {@code kvm_apic_mda()} in arch/x86/kvm/lapic.c.
     */
    public void disableBroadcastQuirk() {
        calls.disableBroadcastQuirk();
        listeners.endBroadcastQuirk();
    }

    /**
     * As {@link MsiMessage#to}, also for vCPU 255 (x86). All LAPICs must be in x2APIC mode when the message is sent.
     *
     * @throws IllegalStateException before {@link #use32BitApicIds} and {@link #disableBroadcastQuirk}
     */
    public MsiMessage x2apicMessage(VcpuId vcpu, InterruptVector vector) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        return x86.x2apicMessage(vcpu, Objects.requireNonNull(vector, "vector is null"));
    }

    /** Whether destination 255 is the broadcast in x2APIC mode, too. It is until {@link #disableBroadcastQuirk}. */
    public boolean hasBroadcastQuirk() {
        return calls.hasBroadcastQuirk();
    }

    /** Whether {@link #use32BitApicIds} was called. */
    public boolean has32BitApicIds() {
        return calls.has32BitApicIds();
    }

    /**
     * Creates an in-kernel timer (i8254, x86) at ports 0x40–0x43, which raises GSI 0. vCPUs may exist already. The VMM
     * emulates the speaker's port 0x61. On AMD a VM with it gets no posted interrupts until {@link #setPitReinjection}
     * is off. Errors, in the order of the checks: ENOTTY on a kernel without irqchip; EEXIST with a timer; since 6.12
     * ENOENT without the full irqchip; ENOMEM. Source: KVM_CREATE_PIT2 in arch/x86/kvm/x86.c.
     */
    public void createPit() {
        x86.createPit(false);
    }

    /** As {@link #createPit}, but KVM also emulates port 0x61, which guests use to measure their TSC. It is silent. */
    public void createPitWithSpeaker() {
        x86.createPit(true);
    }

    /**
     * Reserves three pages for KVM (x86), before the first run; the guest must not use them. On Intel processors
     * without unrestricted guest, KVM keeps a task state segment there for real mode; other processors do not use them.
     * EINVAL if they do not end below 4 GiB; on such a processor also EINVAL for a misaligned address, and EEXIST when
     * they overlap memory. Source: {@code kvm_vm_ioctl_set_tss_addr()} in x86.c, {@code vmx_set_tss_addr()} in vmx.c.
     *
     * @param guestAddress the guest-physical address of the first page, such as 0xfffbd000: a multiple of 4096
     */
    public void setTssAddress(long guestAddress) {
        x86.setTss(guestAddress);
    }

    /**
     * Reserves one page for KVM (x86); the guest must not use it. On Intel processors without unrestricted guest, KVM
     * keeps a page table there for a guest with paging off; other processors do not use it. EINVAL with vCPUs present.
     * Source: KVM_SET_IDENTITY_MAP_ADDR in arch/x86/kvm/x86.c, {@code vmx_set_identity_map_addr()} in vmx.c.
     *
     * @param guestAddress a multiple of 4096, checked when the first vCPU is made; 0 is the default, 0xfffbc000
     */
    public void setIdentityMapAddress(long guestAddress) {
        x86.setIdentityMap(guestAddress);
    }

    /** The state of the in-kernel IOAPIC (x86); ENXIO without the full irqchip. */
    public IoapicState ioapic() {
        return x86.getIoapic();
    }

    /** Restores a state from {@link #ioapic}, changed or not. */
    public void restore(IoapicState state) {
        x86.setIoapic(state);
    }

    /** The state of an in-kernel PIC (x86), of master or slave; ENXIO without the full irqchip. */
    public X86Pic pic(Route.Chip chip) {
        return x86.getPic(Objects.requireNonNull(chip, "chip is null"));
    }

    /** Restores a state from {@link #pic}, changed or not. */
    public void restore(X86Pic state) {
        x86.setPic(state);
    }

    /**
     * Sets whether the in-kernel timer (x86) injects missed ticks later; on by default. While it is on, KVM on AMD
     * counts the guest's EOIs and posts no interrupts. ENXIO without a timer, see {@link #createPit}.
     */
    public void setPitReinjection(boolean on) {
        x86.reinjectPit(on);
    }

    /** The state of the in-kernel timer (x86); ENXIO without one, see {@link #createPit}. */
    public X86Pit pit() {
        return x86.getPit();
    }

    /** Restores a state from {@link #pit}, changed or not. Each channel starts again from its whole count. */
    public void restore(X86Pit state) {
        x86.setPit(state);
    }

    /** The guest's paravirtual clock (kvmclock, x86) in nanoseconds. It starts at 0 with the VM. */
    public long clock() {
        return x86.getClock();
    }

    /** Sets the guest's paravirtual clock, such as after a pause of the VM. */
    public void setClock(long nanos) {
        x86.setClock(nanos);
    }

    /**
     * Creates a GICv2 (arm64). Call {@link Vgic#init} before a vCPU runs. ENODEV on a host whose GIC runs none; EEXIST
     * with a VGIC present, even if its handle is closed; EBUSY when a vCPU has run, or another thread creates or uses
     * one; E2BIG with more than 8 vCPUs on a host with a GICv3; a host with a GICv2 allows only 8.
     */
    public VgicV2 createVgicV2() {
        return devices.createV2();
    }

    /**
     * Creates a GICv3 (arm64), which is not ready before {@link Vgic#init}. ENODEV on a host with a GICv2; else as
     * {@link #createVgicV2}.
     */
    public VgicV3 createVgicV3() {
        return devices.createV3();
    }

    /**
     * Creates an ITS (arm64), which accepts messages of devices; a VM may have several. Create it before you restore
     * GICR_PROPBASER, because the creation resets that register. ENODEV on a host with a GICv2.
     */
    public Its createIts() {
        return devices.createIts();
    }

    /**
     * Adopts a GICv2 that a VMM made for this adopted VM (arm64). The VMM initialises it: {@link Vgic#init} of this
     * handle does not change {@link #routes}.
     */
    public VgicV2 adoptVgicV2(int number, Ownership ownership) {
        return devices.adoptV2(number, ownership);
    }

    /** Adopts a GICv3, as {@link #adoptVgicV2}. */
    public VgicV3 adoptVgicV3(int number, Ownership ownership) {
        return devices.adoptV3(number, ownership);
    }

    /** Adopts an ITS, as {@link #adoptVgicV2}. It does not change routes. */
    public Its adoptIts(int number, Ownership ownership) {
        return devices.adoptIts(number, ownership);
    }

    // Interrupts

    /**
     * Makes each signal of {@code event} raise {@code gsi} once, edge-triggered, in the kernel. If {@code event} was
     * signalled before, it raises {@code gsi} now. Route {@code gsi} first: without a route signals are lost for ever.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip; EAGAIN before an ARM VGIC is initialised;
     *     EBUSY when {@code event} feeds a GSI already; since 6.17 also when it feeds a GSI of another VM
     */
    public Irqfd assignIrqfd(EventFd event, Gsi gsi) {
        return Irqfd.make(this, event, null, gsi, false);
    }

    /** As {@link #assignIrqfd} for each eventfd and its GSI: assigns all, or none. {@link Irqfd#closeAll} ends many. */
    public List<Irqfd> assignIrqfds(List<EventFd> events, List<Gsi> gsis) {
        return Irqfd.edges(this, events, gsis, false);
    }

    /** As {@link #assignIrqfd}, but masked: signals stay in the eventfd, unseen by KVM, until {@link Irqfd#unmask}. */
    public Irqfd maskedIrqfd(EventFd event, Gsi gsi) {
        return Irqfd.make(this, event, null, gsi, true);
    }

    /** As {@link #maskedIrqfd} for each eventfd and its GSI: makes all, or none. */
    public List<Irqfd> maskedIrqfds(List<EventFd> events, List<Gsi> gsis) {
        return Irqfd.edges(this, events, gsis, true);
    }

    /** As {@link #assignLevelIrqfd}, masked as {@link #maskedIrqfd}. */
    public Irqfd maskedLevelIrqfd(EventFd event, EventFd resample, Gsi gsi) {
        return Irqfd.make(this, event, IrqfdCalls.requireResample(resample, "maskedIrqfd"), gsi, true);
    }

    /**
     * Makes a signal of {@code event} hold {@code gsi} high. The guest's EOI lowers it and signals {@code resample}. A
     * device still asserting its line then signals {@code event} again.
     *
     * @throws io.kvmirq.KernelException EINVAL without the full in-kernel irqchip; else as {@link #assignIrqfd}
     * @throws IllegalArgumentException if both are one eventfd, which would raise itself for ever
     */
    public Irqfd assignLevelIrqfd(EventFd event, EventFd resample, Gsi gsi) {
        return Irqfd.make(this, event, IrqfdCalls.requireResample(resample, "assignIrqfd"), gsi, false);
    }

    /**
     * Sends a message now. Allocates nothing. On arm64 it needs an {@link Its} that the guest has enabled, and {@link
     * MsiMessage#toIts}; {@link MsiOutcome#NOT_ACCEPTED} then means an event that the guest has not mapped.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip; EPERM when a system call filter refuses the
     *     call; on arm64 ENODEV without ITS, EINVAL without device id or at an address without ITS, EBUSY before the
     *     guest has enabled the ITS
     * @throws IllegalStateException to a vCPU above 255 before {@link #use32BitApicIds}; an adopted VM is not asked
     */
    public MsiOutcome signal(MsiMessage message) {
        return calls.signal(message);
    }

    /**
     * Drives a line of the PIC or the IOAPIC from user space (x86). Irqfds drive the same pins as other sources; a pin
     * is high while any source is. Allocates nothing. ENXIO without in-kernel irqchip; of an adopted VM EPERM when a
     * system call filter refuses KVM_CHECK_EXTENSION.
     */
    public LineOutcome setLine(Gsi gsi, boolean high) {
        return calls.setLine(gsi, high);
    }

    /** Whether {@link #setLine} left this line high (x86). */
    public boolean isHigh(Gsi gsi) {
        return calls.isHigh(Objects.requireNonNull(gsi, "gsi is null"));
    }

    /**
     * Drives the line of an SPI from user space (arm64), without a GSI route. A rising line latches an edge-triggered
     * SPI; a level-triggered SPI is pending while its line is high. All sources share one line, and the last value
     * counts. Allocates nothing. ENXIO without VGIC; EBUSY before {@link Vgic#init}; EINVAL beyond the VGIC's SPIs.
     *
     * @throws IllegalStateException before the {@link Vgic#init} of a GICv2 that was created here
     */
    public void setSpi(Spi spi, boolean high) {
        vgic.setSpi(spi, high);
    }

    /**
     * Drives the line of one vCPU's PPI (arm64), as {@link #setSpi}; EINVAL without that vCPU. Linux 6.1 reads the
     * vCPU's id as its place in the order of creation: create vCPUs 0, 1, 2 and so on in that order.
     */
    public void setPpi(VcpuId vcpu, Ppi ppi, boolean high) {
        vgic.setPpi(vcpu, ppi, high);
    }

    /**
     * Makes the kernel signal {@code event} when the guest writes to {@code address}, without an exit to the VMM: a
     * doorbell. {@link io.kvmirq.kernel.EventLoop#registerDoorbell} calls a handler for it. EINVAL for a range that
     * wraps; EEXIST when another ioeventfd takes writes of the same address, length and data; ENOSPC when the VM's bus
     * is full.
     */
    public IoEventFd assignIoEventFd(IoAddress address, EventFd event) {
        return new IoEventFd(calls, address, event);
    }

    // Devices

    /**
     * KVM_CHECK_EXTENSION of this VM: 0 for a {@code KVM_CAP_*} that this kernel lacks; else 1, or its count. EPERM
     * when a system call filter refuses the call.
     */
    public int capability(int number) {
        return calls.capability(number);
    }

    /** Whether {@link #createDevice} could make one here; makes none. */
    public boolean supports(KvmDevice.Type type) {
        return calls.testDevice(Objects.requireNonNull(type, "type is null").number());
    }

    /** @throws io.kvmirq.KernelException ENODEV when this kernel has none; EBUSY when the VM has its one already */
    public KvmDevice createDevice(KvmDevice.Type type) {
        return devices.create(type);
    }

    // vCPUs and memory

    /**
     * Creates a vCPU. Only the calling thread may use it, until another thread takes it by {@link Vcpu#moveHere}.
     *
     * @throws io.kvmirq.KernelException EINVAL for an id beyond the limit (on arm64 511, with a GICv2 7), or when
     *     addresses of the VGIC overlap or end beyond the VM's; EEXIST for an id that exists; EBUSY after {@link
     *     Vgic#init}
     * @throws IllegalStateException on a virtual thread
     */
    public Vcpu createVcpu(VcpuId id) {
        Objects.requireNonNull(id, "id is null");
        return listeners.make(() -> Vcpu.create(calls, vgic, id));
    }

    /** The listeners of its vCPUs. */
    @NotPromised
    public VmListeners listeners() {
        return listeners;
    }

    /**
     * Adds zeroed memory to the guest. Address and length are in bytes, multiples of 4096, or the kernel returns
     * EINVAL. EEXIST if it overlaps other memory.
     *
     * @throws MemorySlotsExhaustedException when all memory slots of the VM are used
     * @throws IllegalArgumentException if {@code length} is not positive; on x86 also over the page of the in-kernel
     *     LAPICs or IOAPIC
     */
    public GuestMemory addMemory(long guestAddress, long length) {
        return GuestMemory.anonymous(calls, slots, guestAddress, length);
    }

    /**
     * As {@link #addMemory(long, long)}, with memory that is mapped already, such as a {@link
     * io.kvmirq.kernel.MemoryFile} or a region of a device. Closing the mapping does not unmap it while the guest has
     * the memory. A closed mapping is refused with {@link io.kvmirq.kernel.ClosedHandleException}.
     */
    public GuestMemory addMemory(long guestAddress, Mapping memory) {
        return GuestMemory.of(calls, slots, guestAddress, memory, false);
    }

    /**
     * As {@link #addMemory(long, Mapping)}, but read-only for the guest, as for firmware: its writes change nothing and
     * reach the VMM as {@link VcpuExit.Reason#MMIO}. The VMM may write it. EINVAL where KVM_CAP_READONLY_MEM is 0.
     */
    public GuestMemory addReadOnlyMemory(long guestAddress, Mapping memory) {
        return GuestMemory.of(calls, slots, guestAddress, memory, true);
    }

    /** Whether this kernel supports {@link #assignLevelIrqfd}, which also needs the full irqchip. */
    public boolean supportsResample() {
        return calls.supportsResample();
    }

    /** Refuses new calls, and closes the VM with its last lease. A borrowed VM stays open. Idempotent, never fails. */
    @Override
    public void close() {
        calls.closeVm();
    }

    @Override
    public String toString() {
        return calls.vm().toString();
    }
}
