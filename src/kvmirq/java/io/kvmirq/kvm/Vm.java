/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.Fact;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kernel.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;

/**
 * A virtual machine: made here, or made elsewhere and adopted. Thread-safe.
 *
 * <p>Irqfds, ioeventfds and memory that are registered with a VM lease it: {@link #close} takes effect when the last of
 * them is closed. A vCPU does not.
 */
public final class Vm extends VmChips implements AutoCloseable {
    /** An IOAPIC has 24 pins. */
    private static final Gsi FIRST_AFTER_PINS = new Gsi(24);

    private final MemorySlots slots;
    private final IrqfdCalls irqfds;
    /** In the order of creation. */
    private final Queue<VcpuId> vcpus = new ConcurrentLinkedQueue<>();

    private final List<VmListener> listeners = new CopyOnWriteArrayList<>();

    private Vm(VmCalls calls, List<Route> routesNow, Gsi firstFree) {
        super(calls, new RouteTable(calls, routesNow, firstFree));
        this.slots = new MemorySlots(calls);
        this.irqfds = new IrqfdCalls(calls);
    }

    /**
     * A new VM of the default type, without irqchip, memory or vCPUs. The first one opens the KVM device. On arm64 its
     * guest has 40 bits of physical addresses, or fewer if the host has no more.
     *
     * @throws io.kvmirq.KernelException EMFILE, ENFILE, ENOMEM; EBUSY when another hypervisor has the CPU; as
     *     {@link Kernel#device}
     */
    public static Vm create(Kernel kernel) {
        Objects.requireNonNull(kernel, "kernel is null");
        return create(kernel, OptionalInt.empty());
    }

    /**
     * A new VM on arm64 whose guest has physical addresses of this size.
     *
     * @param guestAddressBits 32 to the {@code guestAddressBits} of {@link Kernel#facts}
     * @throws io.kvmirq.KernelException as {@link #create(Kernel)}
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public static Vm create(Kernel kernel, int guestAddressBits) {
        Objects.requireNonNull(kernel, "kernel is null");
        return create(kernel, OptionalInt.of(guestAddressBits));
    }

    private static Vm create(Kernel kernel, OptionalInt guestAddressBits) {
        return VmCalls.create(kernel, guestAddressBits, calls -> new Vm(calls, List.of(), new Gsi(0)));
    }

    /**
     * A VM that a VMM in this process made; KVM answers EIO to any other process. No access to {@code /dev/kvm} is
     * needed: the library asks the VM itself, once, for the architecture on which some calls depend.
     *
     * @param number the VM's descriptor
     * @param routesNow the GSI routes it has. The kernel has no call to read them, and each change replaces all: routes
     *     not named here are lost at the first one. If it has none, or those of an irqchip, or they are not known, use
     *     {@link #adopt(Kernel, int, Ownership, RoutesNow)}
     * @param firstFree the lowest GSI that may be given out; those below belong to the VMM, or to pins of its IOAPIC
     * @throws IllegalArgumentException if {@code number} is negative, or if /proc says that it is not open, or
     *     something else than a VM
     * @throws io.kvmirq.KernelException with routes to pins, and a new {@code kernel}: EPERM when a system call filter
     *     refuses KVM_CHECK_EXTENSION
     * @throws UnsupportedOperationException for a route to a pin of another architecture
     */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, List<Route> routesNow, Gsi firstFree) {
        Objects.requireNonNull(routesNow, "routesNow is null");
        return VmCalls.adopt(kernel, number, ownership, calls -> {
            Vm adopted = new Vm(calls, routesNow, firstFree);
            if (routesNow.isEmpty()) {
                adopted.routes.warnOfOthers();
            }
            return adopted;
        });
    }

    /** As {@link #adopt(Kernel, int, Ownership, List, Gsi)}, without a list of the routes. */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, RoutesNow routesNow) {
        Objects.requireNonNull(routesNow, "routesNow is null");
        List<Route> routes = new ArrayList<>();
        if (routesNow == RoutesNow.OF_FULL_IRQCHIP) {
            routes.addAll(RouteTable.defaultsOfX86());
        }
        return VmCalls.adopt(kernel, number, ownership, calls -> {
            Vm adopted = new Vm(calls, routes, FIRST_AFTER_PINS);
            if (routesNow == RoutesNow.UNKNOWN) {
                adopted.routes.refuseChanges();
            }
            return adopted;
        });
    }

    @Override
    Vm self() {
        return this;
    }

    @Override
    void tell(Consumer<VmListener> change) {
        listeners.forEach(listener -> calls.tell(listener, change));
    }

    MemorySlots slots() {
        return slots;
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

    // Interrupts in

    /**
     * Makes each signal of {@code event} raise {@code gsi} once, edge-triggered, in the kernel. If {@code event} was
     * signalled before, one interrupt is raised now. Route {@code gsi} first: without a route signals are lost for
     * ever.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip; EAGAIN before an ARM VGIC is initialised;
     *     EBUSY when {@code event} feeds a GSI already; since 6.17 also when it feeds a GSI of another VM
     */
    public Irqfd assignIrqfd(EventFd event, Gsi gsi) {
        Irqfd made = Irqfd.make(this, event, null, gsi, false);
        warnOfNoRoute(List.of(gsi));
        warnOfIllegalVector(gsi);
        return made;
    }

    private void warnOfNoRoute(List<Gsi> gsis) {
        if (knowsVcpus()) {
            for (Gsi gsi : routes.unrouted(gsis)) {
                calls.warn(
                        "an irqfd of " + this + " is on " + gsi,
                        ", which has no route, so that its signals are lost for ever: route the GSI first");
            }
        }
    }

    /** The message may be a guest's, so it is no error. */
    private void warnOfIllegalVector(Gsi gsi) {
        if (calls.has(Fact.SPLIT_IRQCHIP) || calls.has(Fact.FULL_IRQCHIP)) {
            for (Route route : routes.of(gsi)) {
                if (route instanceof Route.Msi msi && msi.message().hasIllegalVector()) {
                    calls.warn(
                            "an irqfd of " + this + " is on " + gsi + ", which raises " + msi.message(),
                            ", whose vector is below 16: a LAPIC reports an error and delivers nothing; devices use"
                                    + " vectors 32 to 255");
                }
            }
        }
    }

    /**
     * As {@link #assignIrqfd}, for each eventfd and the GSI at its place: all, or none. {@link Irqfd#closeAll} ends
     * many.
     */
    public List<Irqfd> assignIrqfds(List<EventFd> events, List<Gsi> gsis) {
        List<Irqfd> made = Irqfd.edges(this, events, gsis, false);
        warnOfNoRoute(gsis);
        return made;
    }

    /**
     * Makes a signal of {@code event} hold {@code gsi} high until the guest's EOI, which lowers it and signals
     * {@code resample}. A device still asserting its line then signals {@code event} again.
     *
     * @throws io.kvmirq.KernelException EINVAL without the full in-kernel irqchip; else as {@link #assignIrqfd}
     * @throws IllegalArgumentException if both are one eventfd, which would raise itself for ever
     */
    public Irqfd assignLevelIrqfd(EventFd event, EventFd resample, Gsi gsi) {
        Objects.requireNonNull(
                resample,
                "resample is null: give the eventfd that is signalled at the guest's EOI, or use assignIrqfd for an edge");
        Irqfd made = Irqfd.make(this, event, resample, gsi, false);
        warnOfNoRoute(List.of(gsi));
        if (routes.of(gsi).stream().anyMatch(Route.Msi.class::isInstance)) {
            calls.warn(
                    "a level irqfd of " + this + " is on " + gsi,
                    ", which raises a message, whose end of interrupt KVM does not see, so that its resample eventfd is"
                            + " never signalled: route the GSI to a pin");
        }
        return made;
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
        calls.requireReached(message);
        int result = calls.signalMsi(message);
        if (result < 0) {
            return MsiOutcome.NO_DESTINATION_MATCHED;
        }
        return result == 0 ? MsiOutcome.NOT_ACCEPTED : MsiOutcome.delivered(result);
    }

    /**
     * Drives a line of the PIC or the IOAPIC from user space. On arm64 use {@link #setSpi}. Irqfds drive the same pins
     * as other sources; a pin is high while any source is. Allocates nothing.
     *
     * @throws io.kvmirq.KernelException ENXIO without in-kernel irqchip; of an adopted VM EPERM when a system call
     *     filter refuses KVM_CHECK_EXTENSION
     * @throws UnsupportedOperationException on arm64, where lines have no GSI
     */
    public LineOutcome setLine(Gsi gsi, boolean high) {
        calls.refuseOnArm64("a line with a GSI", "name the interrupt, with setSpi or setPpi");
        return LineOutcome.ofStatus(calls.setLine(gsi, high));
    }

    /** Whether {@link #setLine} left this line high (x86). */
    public boolean isHigh(Gsi gsi) {
        return calls.isHigh(gsi);
    }

    /**
     * Drives the line of an SPI from user space (arm64); GSI routes have no part in it. An edge-triggered SPI latches a
     * rise. A level-triggered one is pending while its line is high. The last value counts, from whichever source.
     * Allocates nothing.
     *
     * @throws io.kvmirq.KernelException ENXIO without VGIC; EBUSY before {@link Vgic#init}; EINVAL beyond the VGIC's
     *     SPIs
     * @throws IllegalStateException before the {@link Vgic#init} of a GICv2 that was created here
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public void setSpi(Spi spi, boolean high) {
        calls.requireArm64("an SPI");
        vgicCalls.setSpi(spi, high);
    }

    /**
     * Drives the line of one vCPU's PPI from user space (arm64). Kernels of 6.1 take the vCPU's id for its place in the
     * order of creation: number vCPUs 0, 1, 2 and so on there.
     *
     * @throws io.kvmirq.KernelException ENXIO without VGIC; EINVAL without that vCPU; EBUSY before {@link Vgic#init}
     * @throws IllegalStateException before the {@link Vgic#init} of a GICv2 that was created here
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public void setPpi(VcpuId vcpu, Ppi ppi, boolean high) {
        calls.requireArm64("a PPI");
        vgicCalls.setPpi(vcpu, ppi, high);
    }

    // Interrupts out

    /**
     * Signals {@code event} when the guest writes to {@code address}, without leaving the kernel: a doorbell, heard by
     * {@link io.kvmirq.kernel.EventLoop#registerDoorbell}. An address, length and data taken once cannot be taken
     * again.
     *
     * @throws io.kvmirq.KernelException EINVAL for a range that wraps; EEXIST when another ioeventfd takes the same
     *     writes; ENOSPC when the VM's bus is full
     */
    public IoEventFd assignIoEventFd(IoAddress address, EventFd event) {
        return new IoEventFd(calls, address, event);
    }

    // Devices

    /**
     * KVM_CHECK_EXTENSION of this VM.
     *
     * @param number {@code KVM_CAP_*} in linux/kvm.h
     * @return 0 for a capability that this kernel lacks; else 1, or the count that the capability reports
     * @throws io.kvmirq.KernelException EPERM when a system call filter refuses the call
     */
    public int capability(int number) {
        return calls.capability(number);
    }

    /** Whether {@link #createDevice} could make one here; makes none. */
    public boolean supports(KvmDevice.Type type) {
        return calls.testDevice(type.number());
    }

    /** @throws io.kvmirq.KernelException ENODEV when this kernel has none; EBUSY when the VM has its one already */
    public KvmDevice createDevice(KvmDevice.Type type) {
        return switch (type) {
            case VFIO -> create(type, fd -> new KvmDevice(vgicCalls, fd));
            case VGIC_V2 -> createVgicV2();
            case VGIC_V3 -> createVgicV3();
            case ITS -> createIts();
        };
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
        Vcpu vcpu;
        try (Undo undo = new Undo()) {
            vcpu = undo.add(Vcpu.create(calls, vgicCalls, id));
            vcpus.add(id);
            undo.keep();
        }
        if (knowsVcpus()) {
            listeners.forEach(listener -> calls.tell(listener, to -> to.vcpuAdded(id)));
        }
        return vcpu;
    }

    /** The VMM of an adopted VM may have made others. */
    private boolean knowsVcpus() {
        return calls.has(Fact.OWN);
    }

    /**
     * Adds a listener, which is told of the existing vCPUs and of each vCPU that is added later. For an adopted VM it
     * is told of none, because the library does not know them all.
     */
    public void addListener(VmListener listener) {
        Objects.requireNonNull(listener, "listener is null");
        listeners.add(listener);
        if (apicIdsWidened) {
            calls.tell(listener, VmListener::apicIdsWidened);
        }
        if (!hasBroadcastQuirk()) {
            calls.tell(listener, VmListener::broadcastQuirkDisabled);
        }
        if (knowsVcpus()) {
            vcpus.forEach(id -> calls.tell(listener, to -> to.vcpuAdded(id)));
        }
    }

    /** Ends {@link #addListener}. */
    public void removeListener(VmListener listener) {
        Objects.requireNonNull(listener, "listener is null");
        listeners.remove(listener);
    }

    /**
     * Zeroed memory at a guest-physical address.
     *
     * @param guestAddress bytes, a multiple of 4096
     * @param length bytes, a multiple of 4096
     * @throws io.kvmirq.KernelException EINVAL misaligned; EEXIST overlapping
     * @throws MemorySlotsExhaustedException when all memory slots of the VM are used
     * @throws IllegalArgumentException if {@code length} is not positive; on x86 also over the page of the in-kernel
     *     LAPICs or IOAPIC
     */
    public GuestMemory addMemory(long guestAddress, long length) {
        return GuestMemory.anonymous(calls, slots, guestAddress, length);
    }

    /**
     * Memory that is mapped already, such as a {@link io.kvmirq.kernel.MemoryFile} or a region of a device. Closing the
     * mapping does not unmap it while the guest has the memory.
     *
     * @throws io.kvmirq.KernelException as {@link #addMemory(long, long)}
     * @throws MemorySlotsExhaustedException when all memory slots of the VM are used
     * @throws IllegalArgumentException over a page of the in-kernel irqchip, as {@link #addMemory(long, long)}
     * @throws io.kvmirq.kernel.ClosedHandleException if the memory is closed
     */
    public GuestMemory addMemory(long guestAddress, Mapping memory) {
        Objects.requireNonNull(memory, "memory is null");
        return GuestMemory.of(calls, slots, guestAddress, memory, false);
    }

    /**
     * As {@link #addMemory(long, Mapping)}, but read-only for the guest, as for firmware: its writes change nothing and
     * reach the VMM as {@link VcpuExit.Reason#MMIO}. The VMM may write it.
     *
     * @throws io.kvmirq.KernelException as {@link #addMemory(long, long)}; EINVAL where KVM_CAP_READONLY_MEM is 0
     */
    public GuestMemory addReadOnlyMemory(long guestAddress, Mapping memory) {
        Objects.requireNonNull(memory, "memory is null");
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
