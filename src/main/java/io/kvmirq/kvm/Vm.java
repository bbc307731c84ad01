/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A virtual machine: made here, or made elsewhere and adopted. Thread-safe.
 *
 * <p>Closing the last descriptor of a VM removes all its irqfds at once, vCPUs notwithstanding
 * ({@code kvm_vm_release()} in virt/kvm/kvm_main.c).
 */
public final class Vm implements AutoCloseable {
    private final Kernel kernel;
    private final Fd fd;
    private final RouteTable routes;
    private final AtomicInteger nextMemorySlot = new AtomicInteger();

    private Vm(Kernel kernel, Fd fd, List<Route> routesNow) {
        this.kernel = kernel;
        this.fd = fd;
        this.routes = new RouteTable(fd, routesNow);
    }

    /**
     * A new VM of the default type, without irqchip, memory or vCPUs.
     *
     * @throws io.kvmirq.KernelException EMFILE, ENFILE, ENOMEM; EBUSY when another hypervisor has the CPU
     */
    public static Vm create(Kernel kernel) {
        return new Vm(kernel, kernel.calls().createVm(), List.of());
    }

    /**
     * A VM that a VMM in this process made; KVM answers EIO to any other process.
     *
     * @param number the VM's descriptor
     * @param routesNow the GSI routes it has. The kernel has no call to read them, and each change replaces all: routes
     *     not named here are lost at the first one.
     */
    public static Vm adopt(Kernel kernel, int number, Ownership ownership, List<Route> routesNow) {
        return new Vm(kernel, Fd.adopt(kernel, "vm", number, ownership), routesNow);
    }

    private Calls calls() {
        return kernel.calls();
    }

    public Kernel kernel() {
        return kernel;
    }

    /** The open VM, to share with a VMM. */
    public Fd fd() {
        return fd;
    }

    // Interrupt controllers

    /**
     * PIC, IOAPIC and LAPICs in the kernel (x86), with the default routes GSI 0–15 → PIC and IOAPIC, 16–23 → IOAPIC.
     * Before any vCPU.
     *
     * @throws io.kvmirq.KernelException EEXIST with any irqchip present, full or split; ENOTTY on a kernel without one;
     *     EINVAL with vCPUs present
     */
    public void createIrqchip() {
        calls().createIrqchip(fd);
        routes.assumeDefaults();
    }

    /**
     * LAPICs in the kernel, PIC and IOAPIC left to the VMM, no routes. Before any vCPU.
     *
     * @param pins of the VMM's IOAPIC, 0–4096; the GSIs below are left to it
     * @throws io.kvmirq.KernelException EINVAL with more pins; EEXIST with any irqchip or vCPU present
     */
    public void createSplitIrqchip(int pins) {
        calls().createSplitIrqchip(fd, pins);
        routes.reserveBelow(pins);
    }

    /** The state of one in-kernel chip; needs the full irqchip. */
    public ChipState chipState(Route.Chip chip) {
        return ChipState.read(calls(), fd, chip);
    }

    /** Puts back what {@link #chipState} gave, changed or not. */
    public void restore(ChipState state) {
        state.write(calls(), fd);
    }

    public RouteTable routes() {
        return routes;
    }

    // Interrupts in

    /**
     * Makes each signal of {@code event} raise {@code gsi} once, edge-triggered, in the kernel. If {@code event} was
     * signalled before, one interrupt is raised now.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip; EAGAIN before an ARM VGIC is initialised;
     *     EBUSY when {@code event} feeds a GSI already, since 6.17 also one of another VM
     */
    public Irqfd assign(EventFd event, Gsi gsi) {
        return Irqfd.edge(fd, event, gsi);
    }

    /**
     * Makes a signal of {@code event} hold {@code gsi} high until the guest's EOI, which lowers it and signals
     * {@code resample}. A device still asserting its line then signals {@code event} again.
     *
     * @throws io.kvmirq.KernelException EINVAL without the full in-kernel irqchip; else as {@link #assign}
     * @throws IllegalArgumentException if both are one eventfd, which would raise itself for ever
     */
    public Irqfd assignLevel(EventFd event, EventFd resample, Gsi gsi) {
        return Irqfd.level(fd, event, resample, gsi);
    }

    /**
     * Sends a message now. Allocates nothing.
     *
     * @throws io.kvmirq.KernelException EINVAL without in-kernel irqchip
     */
    public MsiOutcome signal(MsiMessage message) {
        int result = calls().signalMsi(fd, message);
        if (result == -Errno.EPERM.number()) {
            return MsiOutcome.NO_DESTINATION_MATCHED;
        }
        return result == 0 ? MsiOutcome.NOT_ACCEPTED : MsiOutcome.delivered(result);
    }

    /**
     * Drives a line from user space. Irqfds drive the same pins as other sources; a pin is high while any source is.
     * Allocates nothing.
     *
     * @throws io.kvmirq.KernelException ENXIO without in-kernel irqchip
     */
    public LineOutcome setLine(Gsi gsi, boolean high) {
        return LineOutcome.ofStatus(calls().setLine(fd, gsi, high));
    }

    // Interrupts out

    /**
     * Signals {@code event} when the guest writes to {@code address}, without leaving the kernel. An address, length and
     * data taken once cannot be taken again.
     *
     * @throws io.kvmirq.KernelException EINVAL for a range that wraps; EEXIST when another one takes the same writes;
     *     ENOSPC when the VM's bus is full
     */
    public IoEventFd notifyOn(IoAddress address, EventFd event) {
        return new IoEventFd(fd, address, event);
    }

    // Devices

    /** Whether {@link #createDevice} could make one here; makes none. */
    public boolean supports(KvmDevice.Type type) {
        return calls().testDevice(fd, type.number());
    }

    /** @throws io.kvmirq.KernelException ENODEV when this kernel has none; EBUSY when the VM has its one already */
    public KvmDevice createDevice(KvmDevice.Type type) {
        return new KvmDevice(calls().createDevice(fd, type.number()));
    }

    // vCPUs and memory

    /**
     * A vCPU of the calling thread, the only one that may use it.
     *
     * @throws io.kvmirq.KernelException EINVAL for an id beyond the limit; EEXIST for one that exists
     * @throws IllegalStateException on a virtual thread
     */
    public Vcpu createVcpu(VcpuId id) {
        return Vcpu.create(this, id);
    }

    /**
     * Zeroed memory at a guest-physical address.
     *
     * @param guestAddress bytes, a multiple of 4096
     * @param length bytes, a multiple of 4096
     * @throws io.kvmirq.KernelException EINVAL misaligned; EEXIST overlapping
     */
    public GuestMemory addMemory(long guestAddress, int length) {
        return new GuestMemory(this, nextMemorySlot.getAndIncrement(), guestAddress, length);
    }

    /** A {@code KVM_CAP_*} number; 0 for what this kernel does not have. */
    public int capability(int capability) {
        return calls().capability(fd, capability);
    }

    /** Whether {@link #assignLevel} exists here; it also needs the full irqchip. */
    public boolean supportsResample() {
        return capability(Uapi.KVM_CAP_IRQFD_RESAMPLE) > 0;
    }

    /** Idempotent, never fails. A borrowed VM stays open. */
    @Override
    public void close() {
        fd.close();
    }

    @Override
    public String toString() {
        return fd.toString();
    }
}
