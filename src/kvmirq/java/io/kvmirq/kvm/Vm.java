/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.Route;
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
 * A virtual machine, with the methods common to all architectures. {@link #x86} and {@link #arm64} return the methods
 * of one architecture. Thread-safe. Errnos named in method comments are thrown as {@link io.kvmirq.KernelException}s.
 *
 * <p>Irqfds, ioeventfds and guest memory keep their VM open, so after {@link #close} its descriptor stays open until
 * the last of them is closed. A vCPU does not keep its VM open.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="irqfd"}
 */
public final class Vm implements AutoCloseable {
    private final VmCalls calls;
    private final RouteTable routes;
    private final MemorySlots slots;
    private final LevelLines lines;
    private final VgicCalls vgic;
    private final VmListeners listeners;
    private final X86Vm x86;
    private final Arm64Vm arm64;

    private Vm(VmCalls calls, RouteTable routes) {
        this.calls = calls;
        this.routes = routes;
        this.slots = new MemorySlots(calls);
        this.lines = new LevelLines(calls, routes);
        this.vgic = new VgicCalls(calls);
        this.listeners = new VmListeners(calls);
        this.x86 = new X86Vm(calls, slots, routes, listeners);
        this.arm64 = new Arm64Vm(vgic, routes);
    }

    /**
     * Creates a VM without irqchip, memory or vCPUs. On arm64, guest-physical addresses have 40 bits, or the host's
     * limit if that is lower.
     *
     * @throws io.kvmirq.KernelException EMFILE or ENFILE if no descriptor is free; ENOMEM; EBUSY when another
     *     hypervisor uses the CPU; otherwise as {@link Kernel#device}, because the first VM opens the device
     */
    public static Vm create(Kernel kernel) {
        return VmCalls.create(kernel, OptionalInt.empty(), calls -> new Vm(calls, RouteTable.empty(calls)));
    }

    /**
     * Creates an arm64 VM like {@link #create(Kernel)}, with guest-physical addresses of 32 bits or more, up to the
     * limit in {@link Kernel#facts}.
     */
    public static Vm create(Kernel kernel, int guestAddressBits) {
        OptionalInt bits = OptionalInt.of(guestAddressBits);
        return VmCalls.create(kernel, bits, calls -> new Vm(calls, RouteTable.empty(calls)));
    }

    /**
     * Wraps a VM that a VMM in this process created. Calls on another process's VM fail with EIO. Adopting a VM needs
     * no access to {@code /dev/kvm}, because the VM itself is queried for the architecture.
     *
     * @param number the VM's descriptor
     * @param routesNow all GSI routes of the VM. KVM has no call that reads routes, and each change replaces them all,
     *     so the first change removes any route that is not in this list. If the VM has no routes or an irqchip's
     *     default routes, or if you do not know them, use {@link #adopt(Kernel,int,Ownership,RoutesNow)}
     * @param firstFree the lowest GSI that the library may allocate; lower GSIs belong to the VMM and its IOAPIC
     * @throws IllegalArgumentException if {@code number} is negative, or if /proc shows that it is not open or not a VM
     * @throws io.kvmirq.KernelException EPERM if {@code routesNow} has routes to pins and a system call filter refuses
     *     KVM_CHECK_EXTENSION, a call that the library skips after {@link Kernel#facts}
     */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, List<Route> routesNow, Gsi firstFree) {
        Objects.requireNonNull(routesNow, "routesNow is null");
        return VmCalls.adopt(
                kernel, number, ownership, calls -> new Vm(calls, RouteTable.ofAdopted(calls, routesNow, firstFree)));
    }

    /** Wraps a VM like {@link #adopt(Kernel,int,Ownership,List,Gsi)}, with its routes given by a constant. */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, RoutesNow routesNow) {
        Objects.requireNonNull(routesNow, "routesNow is null");
        return VmCalls.adopt(kernel, number, ownership, calls -> new Vm(calls, RouteTable.ofAdopted(calls, routesNow)));
    }

    VmCalls calls() {
        return calls;
    }

    LevelLines lines() {
        return lines;
    }

    /** The kernel that the VM belongs to. */
    public Kernel kernel() {
        return calls.vm().kernel();
    }

    /** Whether this is an arm64 VM, which has a VGIC instead of LAPICs. The first call may query KVM. */
    public boolean isArm64() {
        return calls.isArm64();
    }

    /** The VM's descriptor. {@link Fd#lease} returns the number to share with a VMM. */
    public Fd fd() {
        return calls.vm();
    }

    /**
     * The methods of an x86 VM. The first call may query KVM for the architecture.
     *
     * @throws UnsupportedOperationException if this is an arm64 VM
     */
    public X86Vm x86() {
        calls.requireX86(calls.vm(), "Vm.arm64()");
        return x86;
    }

    /**
     * The methods of an arm64 VM. The first call may query KVM for the architecture.
     *
     * @throws UnsupportedOperationException if this is not an arm64 VM
     */
    public Arm64Vm arm64() {
        calls.requireArm64(calls.vm(), "Vm.x86()");
        return arm64;
    }

    /** The VM's GSI routing table. */
    public RouteTable routes() {
        return routes;
    }

    // Interrupts

    /**
     * Makes KVM raise an edge on {@code gsi} at each signal of {@code event}, and at once if {@code event} was
     * signalled before. Route {@code gsi} first, because signals are lost while it has no route.
     *
     * @throws io.kvmirq.KernelException EINVAL without an in-kernel irqchip; EAGAIN on arm64 before {@link Vgic#init};
     *     EBUSY when {@code event} already has an irqfd of this VM, or, since 6.17, of any VM: 2cdd64cbf990 ("KVM:
     *     Disallow binding multiple irqfds to an eventfd with a priority waiter")
     */
    public Irqfd assignIrqfd(EventFd event, Gsi gsi) {
        return Irqfd.make(this, event, null, gsi, false);
    }

    /**
     * Assigns an irqfd for each eventfd and its GSI, like {@link #assignIrqfd}, or none if any fails. To close them
     * together, use {@link Irqfd#closeAll}.
     */
    public List<Irqfd> assignIrqfds(List<EventFd> events, List<Gsi> gsis) {
        return Irqfd.edges(this, events, gsis, false);
    }

    /** Makes a masked irqfd, whose signals stay in the eventfd until {@link Irqfd#unmask}. */
    public Irqfd maskedIrqfd(EventFd event, Gsi gsi) {
        return Irqfd.make(this, event, null, gsi, true);
    }

    /** Makes a {@link #maskedIrqfd} for each eventfd and its GSI, or none if one fails. */
    public List<Irqfd> maskedIrqfds(List<EventFd> events, List<Gsi> gsis) {
        return Irqfd.edges(this, events, gsis, true);
    }

    /** Makes a level-triggered irqfd like {@link #assignLevelIrqfd}, which stays masked until {@link Irqfd#unmask}. */
    public Irqfd maskedLevelIrqfd(EventFd event, EventFd resample, Gsi gsi) {
        return Irqfd.make(this, event, Irqfd.requireResample(resample, "maskedIrqfd"), gsi, true);
    }

    /**
     * Makes a signal of {@code event} hold {@code gsi} high until the guest's EOI, at which KVM lowers {@code gsi} and
     * signals {@code resample}. If the device then still asserts its line, its driver must signal {@code event} again.
     *
     * @throws io.kvmirq.KernelException EINVAL without the full in-kernel irqchip; otherwise as {@link #assignIrqfd}
     * @throws IllegalArgumentException if {@code resample} is {@code event}, because each EOI would raise an interrupt
     */
    public Irqfd assignLevelIrqfd(EventFd event, EventFd resample, Gsi gsi) {
        return Irqfd.make(this, event, Irqfd.requireResample(resample, "assignIrqfd"), gsi, false);
    }

    /**
     * Injects an MSI. Allocates nothing unless several vCPUs accept the MSI. On arm64 a message from {@link
     * MsiMessage#toIts} needs an {@link Its} that the guest has enabled; {@link MsiOutcome#NOT_ACCEPTED} means that the
     * guest has not mapped the event.
     *
     * @throws io.kvmirq.KernelException EINVAL without an in-kernel irqchip; EPERM when a system call filter refuses
     *     the call; on arm64 ENODEV if the VM has no ITS, EINVAL if the message has no device id or does not address an
     *     ITS, EBUSY before the guest has enabled the ITS
     * @throws IllegalStateException for a vCPU id above 255 before {@link X86Vm#use32BitApicIds}, except in a VM from
     *     {@code adopt}
     */
    public MsiOutcome signal(MsiMessage message) {
        return calls.signal(message);
    }

    /**
     * Makes the kernel signal {@code event} when the guest writes to {@code address}, without an exit to the VMM. To
     * have a handler called, use {@link io.kvmirq.kernel.EventLoop#registerDoorbell}. Fails with EINVAL for a range
     * that wraps around the address space, EEXIST if another ioeventfd at the same address matches some of the same
     * writes, and ENOSPC if the VM's KVM bus is full.
     */
    public IoEventFd assignIoEventFd(IoAddress address, EventFd event) {
        return new IoEventFd(calls, address, event);
    }

    // Devices

    /**
     * The result of KVM_CHECK_EXTENSION: 0 for a {@code KVM_CAP_*} that this kernel lacks, otherwise 1 or a number that
     * the capability defines. Fails with EPERM when a system call filter refuses the call.
     */
    public int capability(int number) {
        return calls.capability(number);
    }

    /**
     * Calls KVM_ENABLE_CAP, for capabilities without a method here.
     *
     * @param number {@code KVM_CAP_*} of {@link io.kvmirq.uapi.Uapi} or {@link io.kvmirq.uapi.UapiArm64}
     * @param arguments at most 4, as described in the kernel's api.rst
     * @throws io.kvmirq.KernelException EINVAL for a capability that a VM cannot enable, or a wrong argument
     */
    public void enableCapability(int number, long... arguments) {
        calls.enable(number, arguments);
    }

    /** Whether {@link #createDevice} supports this type on this kernel, without creating a device. */
    public boolean supports(KvmDevice.Type type) {
        return calls.testDevice(Objects.requireNonNull(type, "type is null").number());
    }

    /**
     * Creates an in-kernel device in this VM.
     *
     * @throws io.kvmirq.KernelException ENODEV if this kernel has no device of this type; EBUSY if the VM already has a
     *     KVM-VFIO device; for the arm64 types as {@link Arm64Vm}
     */
    public KvmDevice createDevice(KvmDevice.Type type) {
        return switch (Objects.requireNonNull(type, "type is null")) {
            case VFIO -> calls.createDevice(type.number(), type.facts(), fd -> new KvmDevice(vgic, fd));
            case VGIC_V2 -> arm64().createVgicV2();
            case VGIC_V3 -> arm64().createVgicV3();
            case ITS -> arm64().createIts();
        };
    }

    // vCPUs and memory

    /**
     * Creates a vCPU. Only the calling thread may use the vCPU, until another thread calls {@link Vcpu#moveHere}.
     *
     * @throws io.kvmirq.KernelException EINVAL for an id that is too large (on arm64 above 511, with a GICv2 above 7),
     *     or when VGIC addresses overlap or end beyond the VM's address space; EEXIST for an id that exists; EBUSY
     *     after {@link Vgic#init}
     * @throws IllegalStateException on a virtual thread
     */
    public Vcpu createVcpu(VcpuId id) {
        Objects.requireNonNull(id, "id is null");
        return listeners.make(() -> Vcpu.create(calls, vgic, id));
    }

    /** The listeners for this VM and its vCPUs. */
    @NotPromised
    public VmListeners listeners() {
        return listeners;
    }

    /**
     * Adds zeroed guest memory. Fails with EINVAL if the address or length, in bytes, is not a multiple of the host's page size, and
     * with EEXIST if it overlaps other guest memory.
     *
     * @throws MemorySlotsExhaustedException if all memory slots are used
     * @throws IllegalArgumentException if {@code length} is not positive; on x86 also if the memory covers the address
     *     of the in-kernel LAPICs or IOAPIC
     */
    public GuestMemory addMemory(long guestAddress, long length) {
        return GuestMemory.anonymous(calls, slots, guestAddress, length);
    }

    /**
     * Adds memory that is mapped already, such as a {@link io.kvmirq.kernel.MemoryFile} or a device region, like {@link
     * #addMemory(long,long)}. The mapping may be closed after this call, because the memory stays mapped until the
     * returned object is closed. Throws {@link io.kvmirq.kernel.ClosedHandleException} for a closed mapping.
     */
    public GuestMemory addMemory(long guestAddress, Mapping memory) {
        return GuestMemory.map(calls, slots, guestAddress, memory, false);
    }

    /**
     * Adds memory like {@link #addMemory(long,Mapping)}, but read-only, as for firmware. A guest write changes nothing
     * and exits with {@link VcpuExit.Reason#MMIO}, but the VMM can still write. Fails with EINVAL if the kernel lacks
     * KVM_CAP_READONLY_MEM.
     */
    public GuestMemory addReadOnlyMemory(long guestAddress, Mapping memory) {
        return GuestMemory.map(calls, slots, guestAddress, memory, true);
    }

    /** Whether a range of guest-physical addresses, in bytes, overlaps memory that this object has added. */
    public boolean hasMemory(long guestAddress, long length) {
        return slots.overlap(guestAddress, length);
    }

    /** Whether this kernel supports {@link #assignLevelIrqfd}, which also needs the full irqchip. */
    public boolean supportsResample() {
        return calls.supportsResample();
    }

    /** Refuses new calls, and closes an {@link Ownership#OWNED} VM after its last use. Idempotent, never fails. */
    @Override
    public void close() {
        calls.closeVm();
    }

    @Override
    public String toString() {
        return calls.vm().toString();
    }
}
