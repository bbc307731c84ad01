/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.explain.Causes;
import java.nio.ByteBuffer;
import java.util.function.IntUnaryOperator;
import java.util.function.Supplier;

/**
 * Kernel calls on handles: where a handle becomes a number for the length of one call, and {@code -errno} an exception.
 *
 * <p>For the packages above, not for users: what they open closes and checks itself.
 *
 * <p>Every method refuses handles of another kernel with {@link IllegalArgumentException} and closed ones with
 * {@link ClosedHandleException}, before anything is called. Setup throws {@link KernelException}; what takes down
 * (deassign, remove) returns nothing and never fails. Thread-safe.
 */
public final class Calls {
    private final Kernel kernel;

    Calls(Kernel kernel) {
        this.kernel = kernel;
    }

    private KernelBackend backend() {
        return kernel.backend();
    }

    // Errors

    int check(int result, String call, Supplier<String> operands) {
        if (result < 0) {
            throw failure(result, call, operands);
        }
        return result;
    }

    KernelException failure(long result, String call, Supplier<String> operands) {
        Errno errno = Errno.ofResult(result);
        return new KernelException(call, operands.get(), errno, Causes.sentence(call, errno, kernel.facts()));
    }

    private void requireOurs(Fd fd) {
        if (fd.kernel() != kernel) {
            throw new IllegalArgumentException(
                    fd + " belongs to another Kernel: handles of two kernels do not mix, open both from one");
        }
    }

    private int on(Fd fd, IntUnaryOperator call) {
        requireOurs(fd);
        int raw = fd.enter();
        try {
            return call.applyAsInt(raw);
        } finally {
            fd.exit();
        }
    }

    private int number(Fd.Lease lease) {
        requireOurs(lease.fd());
        return lease.number();
    }

    // Handles

    Fd newEventFd() {
        return newFd(check(backend().eventfdCreate(), "eventfd create", () -> ""), "eventfd");
    }

    Fd newSemaphoreEventFd() {
        return newFd(check(backend().eventfdCreateSemaphore(), "eventfd create", () -> "semaphore"), "eventfd");
    }

    private Fd newFd(int raw, String kind) {
        return new Fd(kernel, kind, raw, Ownership.OWNED);
    }

    /** Closes the descriptor of whoever owns it. Idempotent, never fails. */
    public void close(Fd fd) {
        fd.close();
    }

    // KVM and VM

    public int kvmVersion(Fd device) {
        return check(on(device, raw -> backend().kvmVersion(raw)), "kvm version", device::toString);
    }

    /** On the KVM device or a VM; 0 for what this kernel does not have or know. */
    int capability(Fd fd, int capability) {
        return check(
                on(fd, raw -> backend().capabilityCheck(raw, capability)),
                "capability check",
                () -> "capability=" + capability);
    }

    /** Type 0, the default. */
    public Fd createVm() {
        return newFd(check(on(kernel.device(), raw -> backend().vmCreate(raw, 0)), "vm create", () -> ""), "vm");
    }

    public void createIrqchip(Fd vm) {
        check(on(vm, raw -> backend().irqchipCreate(raw)), "irqchip create", vm::toString);
    }

    public void createSplitIrqchip(Fd vm, int pins) {
        check(
                on(vm, raw -> backend().irqchipCreateSplit(raw, pins)),
                "split irqchip create",
                () -> vm + " pins=" + pins);
    }

    /** MSI destinations have 32 bits, as {@code MsiMessage} encodes them. */
    public void enableLongApicIds(Fd vm) {
        check(
                on(vm, raw -> backend().x2apicEnable(raw, Uapi.KVM_X2APIC_API_USE_32BIT_IDS)),
                "long apic ids enable",
                vm::toString);
    }

    /** The state of the in-kernel IOAPIC, which the full irqchip has. */
    public IoapicState getIoapic(Fd vm) {
        IoapicState state = new IoapicState();
        check(
                on(vm, raw -> backend().irqchipGet(raw, Route.Chip.IOAPIC.id(), state.bytes())),
                "ioapic get",
                vm::toString);
        return state;
    }

    public void setIoapic(Fd vm, IoapicState state) {
        check(
                on(vm, raw -> backend().irqchipSet(raw, Route.Chip.IOAPIC.id(), state.bytes())),
                "ioapic set",
                vm::toString);
    }

    /** Replaces the whole table, or nothing of it. */
    public void setRoutes(Fd vm, RouteRecords routes) {
        check(
                on(vm, raw -> backend().routesSet(raw, routes.records(), routes.count())),
                "routes set",
                () -> "vm=" + vm.id() + " routes=" + routes.count());
    }

    // irqfd and ioeventfd: on leases, so that what was assigned can be deassigned whatever has been closed meanwhile

    public void assignIrqfd(Fd.Lease vm, Fd.Lease event, Gsi gsi) {
        int result = backend().irqfdAssign(number(vm), number(event), gsi.number());
        check(result, "irqfd assign", () -> operands(vm, event) + " gsi=" + gsi.number());
    }

    public void assignLevelIrqfd(Fd.Lease vm, Fd.Lease event, Fd.Lease resample, Gsi gsi) {
        int result = backend().irqfdAssignLevel(number(vm), number(event), number(resample), gsi.number());
        check(
                result,
                "irqfd assign level",
                () -> operands(vm, event) + " resamplefd=" + resample.number() + " gsi=" + gsi.number());
    }

    /**
     * When it returns nothing of this irqfd is in flight: the kernel accepts any open eventfd. What it says is not looked
     * at: EIO, the irqfd stays, in another process than the one that made the VM.
     */
    public void deassignIrqfd(Fd.Lease vm, Fd.Lease event, Gsi gsi) {
        backend().irqfdDeassign(number(vm), number(event), gsi.number());
    }

    /** Signals an eventfd whose handle may have been closed. */
    public void signal(Fd.Lease event) {
        backend().eventfdSignal(number(event), 1);
    }

    public void assignIoEventFd(Fd.Lease vm, Fd.Lease event, IoAddress to) {
        int result = backend()
                .ioeventfdAssign(
                        number(vm),
                        number(event),
                        to.address(),
                        to.length(),
                        flags(to),
                        to.data().orElse(0));
        check(
                result,
                "ioeventfd assign",
                () -> operands(vm, event) + " address=0x" + Long.toHexString(to.address()) + " length=" + to.length());
    }

    public void deassignIoEventFd(Fd.Lease vm, Fd.Lease event, IoAddress to) {
        backend()
                .ioeventfdDeassign(
                        number(vm),
                        number(event),
                        to.address(),
                        to.length(),
                        flags(to),
                        to.data().orElse(0));
    }

    private static int flags(IoAddress to) {
        return (to instanceof IoAddress.Port ? KernelBackend.IOEVENTFD_PIO : 0)
                | (to.data().isPresent() ? KernelBackend.IOEVENTFD_DATAMATCH : 0);
    }

    private static String operands(Fd.Lease vm, Fd.Lease event) {
        return "vm=" + vm.number() + " eventfd=" + event.number();
    }

    // Injection; allocates nothing when the kernel agrees

    /** @return vCPUs that took it, 0 for refused, {@code -EPERM} for no destination */
    public int signalMsi(Fd vm, MsiMessage message) {
        requireOurs(vm);
        boolean device = message.deviceId().isPresent();
        int raw = vm.enter();
        try {
            int result = backend()
                    .msiSignal(
                            raw,
                            message.address(),
                            message.data(),
                            device ? KernelBackend.ROUTE_FLAG_DEVID : 0,
                            device ? message.deviceId().getAsInt() : 0);
            if (result < 0 && result != -Errno.EPERM.number()) {
                throw failure(result, "msi signal", () -> "vm=" + vm.id() + " " + message);
            }
            return result;
        } finally {
            vm.exit();
        }
    }

    /** @return as the kernel's status: > 0 delivered to so many, 0 coalesced, -1 nobody listened */
    public int setLine(Fd vm, Gsi gsi, boolean level) {
        requireOurs(vm);
        ByteBuffer status = kernel.scratch();
        int raw = vm.enter();
        try {
            int result = backend().lineSetStatus(raw, gsi.number(), level ? 1 : 0, status);
            if (result < 0) {
                throw failure(
                        result,
                        "line set",
                        () -> "vm=" + vm.id() + " gsi=" + gsi.number() + " level=" + (level ? 1 : 0));
            }
            return status.getInt(0);
        } finally {
            vm.exit();
        }
    }

    // Devices

    /** Whether a device of this type could be made; makes none. */
    public boolean testDevice(Fd vm, int type) {
        int result = on(vm, raw -> backend().deviceTest(raw, type));
        if (result == -Errno.ENODEV.number()) {
            return false;
        }
        check(result, "device test", () -> vm + " type=" + type);
        return true;
    }

    public Fd createDevice(Fd vm, int type) {
        int raw = check(
                on(vm, vmRaw -> backend().deviceCreate(vmRaw, type)), "device create", () -> vm + " type=" + type);
        return newFd(raw, "device");
    }

    public boolean hasAttribute(Fd device, int group, long attribute) {
        int result = on(device, raw -> backend().deviceAttrHas(raw, group, attribute));
        if (result == -Errno.ENXIO.number()) {
            return false;
        }
        check(result, "device attribute probe", () -> device + " group=" + group + " attribute=" + attribute);
        return true;
    }

    // Through the raw door

    Fd createVcpu(Fd vm, VcpuId id) {
        int raw = check(
                on(vm, vmRaw -> backend().libc().ioctl(vmRaw, Uapi.KVM_CREATE_VCPU, id.number())),
                "vcpu create",
                () -> vm + " id=" + id.number());
        return newFd(raw, "vcpu " + id.number());
    }

    /** Gives the guest memory. */
    public void setMemory(Fd.Lease vm, int slot, long guestAddress, Mapping memory) {
        ByteBuffer region = memoryRegion(slot, guestAddress, memory.length());
        memory.withAddress(address -> check(
                backend()
                        .libc()
                        .ioctl(
                                number(vm),
                                Uapi.KVM_SET_USER_MEMORY_REGION,
                                region.putLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR, address)),
                "memory set",
                () -> "vm=" + vm.number() + " slot=" + slot + " address=0x" + Long.toHexString(guestAddress) + " size="
                        + memory.length()));
    }

    /** @return whether the guest no longer has it */
    public boolean removeMemory(Fd.Lease vm, int slot) {
        return backend().libc().ioctl(number(vm), Uapi.KVM_SET_USER_MEMORY_REGION, memoryRegion(slot, 0, 0)) >= 0;
    }

    /** How many memory slots a VM has; they are numbered from 0. */
    public int memorySlots(Fd vm) {
        return capability(vm, Uapi.KVM_CAP_NR_MEMSLOTS);
    }

    public boolean supportsResample(Fd vm) {
        return capability(vm, Uapi.KVM_CAP_IRQFD_RESAMPLE) > 0;
    }

    private static ByteBuffer memoryRegion(int slot, long guestAddress, long size) {
        return Buffers.allocate(Uapi.KvmUserspaceMemoryRegion.SIZE)
                .putInt(Uapi.KvmUserspaceMemoryRegion.SLOT, slot)
                .putLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR, guestAddress)
                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, size);
    }

    /** @param name of the call, for messages */
    int ioctl(Fd fd, long request, long argument, String name) {
        return check(ioctlResult(fd, request, argument), name, fd::toString);
    }

    /** The caller vouches for requests whose length is inside the structure. */
    int ioctl(Fd fd, long request, ByteBuffer argument, String name) {
        return check(on(fd, raw -> backend().libc().ioctl(raw, request, argument)), name, fd::toString);
    }

    /** With {@code -errno} as an answer the caller expects. */
    int ioctlResult(Fd fd, long request, long argument) {
        requireOurs(fd);
        int raw = fd.enter();
        try {
            return backend().libc().ioctl(raw, request, argument);
        } finally {
            fd.exit();
        }
    }
}
