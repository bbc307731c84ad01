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
 * A virtual machine: made here, or made elsewhere and adopted. Thread-safe. A method for x86 or for arm64 alone says so,
 * and throws {@link UnsupportedOperationException} on the other architecture. An errno named at a method is that of the
 * {@link io.kvmirq.KernelException} it throws.
 *
 * <p>Irqfds, ioeventfds and memory that are registered with a VM lease it: {@link #close} takes effect when the last of
 * them is closed. A vCPU does not.
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
     * A new VM without irqchip, memory or vCPUs. On arm64 its guest has 40 bits of physical addresses, or the fewer
     * that the host has.
     *
     * @throws io.kvmirq.KernelException EMFILE, ENFILE, ENOMEM; EBUSY when another hypervisor has the CPU; as {@link
     *     Kernel#device}, which the first VM opens
     */
    public static Vm create(Kernel kernel) {
        return VmCalls.create(kernel, OptionalInt.empty(), calls -> new Vm(calls, RouteTable.empty(calls)));
    }

    /** As {@link #create(Kernel)}, on arm64: a guest address has 32 bits to those of {@link Kernel#facts}. */
    public static Vm create(Kernel kernel, int guestAddressBits) {
        OptionalInt bits = OptionalInt.of(guestAddressBits);
        return VmCalls.create(kernel, bits, calls -> new Vm(calls, RouteTable.empty(calls)));
    }

    /**
     * A VM that a VMM in this process made; KVM answers EIO to any other process. No access to {@code /dev/kvm} is
     * needed: the VM itself is asked, once, for the architecture.
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

    /** Whether it is a VM of arm64, with a VGIC in place of LAPICs. An adopted VM is asked once. */
    public boolean isArm64() {
        return calls.isArm64();
    }

    /** To be leased; a lease gives the number to share with a VMM. */
    public Fd fd() {
        return calls.vm();
    }

    /** The VM's GSI routing table. */
    public RouteTable routes() {
        return routes;
    }

    // Chips

    /**
     * PIC, IOAPIC and LAPICs in the kernel (x86), with the default routes GSI 0–15 → PIC and IOAPIC, 16–23 → IOAPIC.
     *
     * @throws io.kvmirq.KernelException EEXIST with any irqchip present; ENOTTY on a kernel without one; EINVAL with
     *     vCPUs
     * @throws IllegalArgumentException if memory is over the page of the LAPICs or the IOAPIC
     */
    public void createIrqchip() {
        x86.createIrqchip(slots, routes);
    }

    /**
     * LAPICs in the kernel (x86), PIC and IOAPIC left to the VMM, no routes.
     *
     * @param pins of the VMM's IOAPIC, 0–4096; the GSIs below are left to it
     * @throws io.kvmirq.KernelException EINVAL with more pins; EEXIST with any irqchip or vCPU present
     * @throws IllegalArgumentException if memory is over the page of the LAPICs
     */
    public void createSplitIrqchip(int pins) {
        x86.createSplitIrqchip(pins, slots, routes);
    }

    /**
     * Makes vCPUs with ids above 255 reachable by messages (x86). Without it the kernel ignores the high bits of a
     * destination, and delivers to the vCPU that the low 8 name. EINVAL on a kernel without it.
     */
    public void use32BitApicIds() {
        calls.use32BitApicIds();
        listeners.widenApicIds();
    }

    /**
     * Makes {@link Vcpu#events} tell exceptions that wait apart from those that are being delivered, with their
     * payloads, and triple faults that wait (x86). EINVAL on a kernel without it.
     */
    public void reportWaitingFaults() {
        x86.reportWaitingFaults();
    }

    /**
     * Lets a message name vCPU 255 of a guest in x2APIC mode (x86), where the kernel else takes 255 as the broadcast,
     * beside 0xffffffff. In xAPIC mode 255 stays the broadcast. EINVAL on a kernel without it. Source: {@code
     * kvm_apic_mda()} in arch/x86/kvm/lapic.c.
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

    /** Whether destination 255 is the broadcast in x2APIC mode, too: until {@link #disableBroadcastQuirk}. */
    public boolean hasBroadcastQuirk() {
        return calls.hasBroadcastQuirk();
    }

    /** Whether {@link #use32BitApicIds} was called. */
    public boolean has32BitApicIds() {
        return calls.has32BitApicIds();
    }

    /**
     * A timer (i8254) in the kernel (x86), at the ports 0x40–0x43, which raises GSI 0; also with vCPUs present. The
     * speaker's port 0x61 is left to the VMM. On AMD a VM with it gets no posted interrupts until {@link
     * #setPitReinjection} is off. In this order: ENOTTY on a kernel without irqchip; EEXIST with a timer; since 6.12
     * ENOENT without the full irqchip; ENOMEM. Source: KVM_CREATE_PIT2 in arch/x86/kvm/x86.c.
     */
    public void createPit() {
        x86.createPit(false);
    }

    /** As {@link #createPit}; KVM also serves port 0x61, by which guests measure their TSC. It makes no sound. */
    public void createPitWithSpeaker() {
        x86.createPit(true);
    }

    /**
     * Gives KVM three pages (x86) that the guest must not know, before the first run. Intel's processors without
     * unrestricted guest run real mode by a task state segment there; others do not use them. EINVAL if they do not end
     * below 4 GiB; on such a processor also EINVAL for a misaligned address, and EEXIST when they overlap memory. Source:
     * {@code kvm_vm_ioctl_set_tss_addr()} in arch/x86/kvm/x86.c, {@code vmx_set_tss_addr()} in vmx.c.
     *
     * @param guestAddress the guest-physical address of the first page, such as 0xfffbd000: a multiple of 4096
     */
    public void setTssAddress(long guestAddress) {
        x86.setTss(guestAddress);
    }

    /**
     * Gives KVM one page (x86) that the guest must not know, for a page table of Intel's processors without
     * unrestricted guest while paging is off; others do not use it. EINVAL with vCPUs present. Source:
     * KVM_SET_IDENTITY_MAP_ADDR in arch/x86/kvm/x86.c, {@code vmx_set_identity_map_addr()} in vmx.c.
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

    /** Puts back what {@link #ioapic} gave, changed or not. */
    public void restore(IoapicState state) {
        x86.setIoapic(state);
    }

    /** The state of an in-kernel PIC (x86), of master or slave; ENXIO without the full irqchip. */
    public X86Pic pic(Route.Chip chip) {
        return x86.getPic(Objects.requireNonNull(chip, "chip is null"));
    }

    /** Puts back what {@link #pic} gave, changed or not. */
    public void restore(X86Pic state) {
        x86.setPic(state);
    }

    /**
     * Whether the in-kernel timer (x86) makes up for ticks that the guest did not take in time: on at first. On AMD the
     * kernel then counts the guest's EOIs, and posts no interrupts. ENXIO without a timer, see {@link #createPit}.
     */
    public void setPitReinjection(boolean on) {
        x86.reinjectPit(on);
    }

    /** The state of the in-kernel timer (x86); ENXIO without one, see {@link #createPit}. */
    public X86Pit pit() {
        return x86.getPit();
    }

    /** Puts back what {@link #pit} gave, changed or not. Its channels count from their whole counts. */
    public void restore(X86Pit state) {
        x86.setPit(state);
    }

    /** The paravirtual clock of the guest (kvmclock, x86) in nanoseconds; it begins at 0 with the VM. */
    public long clock() {
        return x86.getClock();
    }

    /** Makes the paravirtual clock go on from here, as after a pause of the VM. */
    public void setClock(long nanos) {
        x86.setClock(nanos);
    }

    /**
     * A GICv2 (arm64). Call {@link Vgic#init} before a vCPU runs. ENODEV on a host whose GIC runs none; EEXIST with a
     * VGIC present, even if its handle is closed; EBUSY when a vCPU has run, or another thread creates or uses one;
     * E2BIG with more than 8 vCPUs on a host with a GICv3; a host with a GICv2 allows only 8.
     */
    public VgicV2 createVgicV2() {
        return devices.createV2();
    }

    /**
     * A GICv3 (arm64), not ready before {@link Vgic#init}. ENODEV on a host with a GICv2; else as {@link
     * #createVgicV2}.
     */
    public VgicV3 createVgicV3() {
        return devices.createV3();
    }

    /**
     * An ITS (arm64), which takes messages of devices; a VM may have several. Create it before GICR_PROPBASER is
     * restored, which creating an ITS resets. ENODEV on a host with a GICv2.
     */
    public Its createIts() {
        return devices.createIts();
    }

    /**
     * A GICv2 that a VMM made for this adopted VM (arm64), by its descriptor, and initialises: {@link Vgic#init}
     * through this handle leaves {@link #routes} as they are.
     */
    public VgicV2 adoptVgicV2(int number, Ownership ownership) {
        return devices.adoptV2(number, ownership);
    }

    /** A GICv3, as {@link #adoptVgicV2}. */
    public VgicV3 adoptVgicV3(int number, Ownership ownership) {
        return devices.adoptV3(number, ownership);
    }

    /** An ITS, as {@link #adoptVgicV2}. It has no part in the routes. */
    public Its adoptIts(int number, Ownership ownership) {
        return devices.adoptIts(number, ownership);
    }

    // Interrupts

    /**
     * Makes each signal of {@code event} raise {@code gsi} once, edge-triggered, in the kernel, and one now if it was
     * signalled before. Route {@code gsi} first: without a route signals are lost for ever.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip; EAGAIN before an ARM VGIC is initialised;
     *     EBUSY when {@code event} feeds a GSI already; since 6.17 also when it feeds a GSI of another VM
     */
    public Irqfd assignIrqfd(EventFd event, Gsi gsi) {
        return Irqfd.make(this, event, null, gsi, false);
    }

    /** As {@link #assignIrqfd}, each eventfd with its GSI: all, or none. {@link Irqfd#closeAll} ends many. */
    public List<Irqfd> assignIrqfds(List<EventFd> events, List<Gsi> gsis) {
        return Irqfd.edges(this, events, gsis, false);
    }

    /** As {@link #assignIrqfd}, masked: signals stay in the eventfd, unknown to KVM, until {@link Irqfd#unmask}. */
    public Irqfd maskedIrqfd(EventFd event, Gsi gsi) {
        return Irqfd.make(this, event, null, gsi, true);
    }

    /** As {@link #maskedIrqfd}, for each eventfd and the GSI at its place: all, or none. */
    public List<Irqfd> maskedIrqfds(List<EventFd> events, List<Gsi> gsis) {
        return Irqfd.edges(this, events, gsis, true);
    }

    /** As {@link #assignLevelIrqfd}, masked as {@link #maskedIrqfd}. */
    public Irqfd maskedLevelIrqfd(EventFd event, EventFd resample, Gsi gsi) {
        return Irqfd.make(this, event, IrqfdCalls.requireResample(resample, "maskedIrqfd"), gsi, true);
    }

    /**
     * Makes a signal of {@code event} hold {@code gsi} high until the guest's EOI, which lowers it and signals
     * {@code resample}. A device still asserting its line then signals {@code event} again.
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
     * Drives the line of an SPI from user space (arm64); GSI routes have no part in it. An edge-triggered SPI latches a
     * rise, a level-triggered one is pending while its line is high. The last value counts, from whichever source.
     * Allocates nothing. ENXIO without VGIC; EBUSY before {@link Vgic#init}; EINVAL beyond the VGIC's SPIs.
     *
     * @throws IllegalStateException before the {@link Vgic#init} of a GICv2 that was created here
     */
    public void setSpi(Spi spi, boolean high) {
        vgic.setSpi(spi, high);
    }

    /**
     * Drives the line of one vCPU's PPI (arm64), as {@link #setSpi}; EINVAL without that vCPU. Kernels of 6.1 take the
     * vCPU's id for its place in the order of creation: number vCPUs 0, 1, 2 and so on there.
     */
    public void setPpi(VcpuId vcpu, Ppi ppi, boolean high) {
        vgic.setPpi(vcpu, ppi, high);
    }

    /**
     * Signals {@code event} when the guest writes to {@code address}, without leaving the kernel: a doorbell, heard by
     * {@link io.kvmirq.kernel.EventLoop#registerDoorbell}. EINVAL for a range that wraps; EEXIST when another ioeventfd
     * takes writes of the same address, length and data; ENOSPC when the VM's bus is full.
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
     * A vCPU of the calling thread, the only one that may use it until another takes it by {@link Vcpu#moveHere}.
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
     * Zeroed memory at a guest-physical address; both are in bytes, multiples of 4096, else EINVAL. EEXIST over other memory.
     *
     * @throws MemorySlotsExhaustedException when all memory slots of the VM are used
     * @throws IllegalArgumentException if {@code length} is not positive; on x86 also over the page of the in-kernel
     *     LAPICs or IOAPIC
     */
    public GuestMemory addMemory(long guestAddress, long length) {
        return GuestMemory.anonymous(calls, slots, guestAddress, length);
    }

    /**
     * As {@link #addMemory(long, long)}, of memory that is mapped already, such as a {@link
     * io.kvmirq.kernel.MemoryFile} or a region of a device. Closing the mapping does not unmap it while the guest has
     * the memory. A closed one is refused with {@link io.kvmirq.kernel.ClosedHandleException}.
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

    /** Whether {@link #assignLevelIrqfd} exists here; it also needs the full irqchip. */
    public boolean supportsResample() {
        return calls.supportsResample();
    }

    /** Refuses new calls; the last lease lets the VM go. A borrowed VM stays open. Idempotent, never fails. */
    @Override
    public void close() {
        calls.closeVm();
    }

    @Override
    public String toString() {
        return calls.vm().toString();
    }
}
