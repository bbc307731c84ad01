/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.util.function.IntUnaryOperator;
import java.util.function.Supplier;

/**
 * Kernel calls on handles: where a handle becomes a number for the length of one call, and {@code -errno} an exception.
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
        return new KernelException(call, operands.get(), errno, Causes.of(call, errno));
    }

    private void requireOurs(Fd fd) {
        if (fd.kernel() != kernel) {
            throw new IllegalArgumentException(
                    fd + " belongs to another Kernel: handles of two kernels do not mix, open" + " both from one");
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

    /** For taking down: a closed handle has taken its registrations with it. */
    private void quietly(Fd fd, IntUnaryOperator call) {
        try {
            on(fd, call);
        } catch (ClosedHandleException e) {
            // Closed is what was wanted.
        }
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

    // KVM and VM

    public int kvmVersion(Fd device) {
        return check(on(device, raw -> backend().kvmVersion(raw)), "kvm version", device::toString);
    }

    /** On the KVM device or a VM; 0 for what this kernel does not have or know. */
    public int capability(Fd fd, int capability) {
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

    public void enableX2apic(Fd vm, long bits) {
        check(
                on(vm, raw -> backend().x2apicEnable(raw, bits)),
                "x2apic enable",
                () -> vm + " bits=0x" + Long.toHexString(bits));
    }

    /** @param state {@link KernelBackend#IRQCHIP_STATE_SIZE} direct bytes */
    public void getIrqchip(Fd vm, int chip, ByteBuffer state) {
        check(on(vm, raw -> backend().irqchipGet(raw, chip, state)), "irqchip get", () -> vm + " chip=" + chip);
    }

    public void setIrqchip(Fd vm, int chip, ByteBuffer state) {
        check(on(vm, raw -> backend().irqchipSet(raw, chip, state)), "irqchip set", () -> vm + " chip=" + chip);
    }

    // Routes

    /** @param routes {@code count} records of {@link KernelBackend#ROUTE_SIZE} direct bytes */
    public void setRoutes(Fd vm, ByteBuffer routes, int count) {
        check(on(vm, raw -> backend().routesSet(raw, routes, count)), "routes set", () -> vm + " routes=" + count);
    }

    // irqfd

    public void assignIrqfd(Fd vm, Fd event, Gsi gsi) {
        requireOurs(event);
        check(
                on(vm, vmRaw -> on(event, raw -> backend().irqfdAssign(vmRaw, raw, gsi.number()))),
                "irqfd assign",
                () -> "eventfd=" + event + " gsi=" + gsi.number());
    }

    public void assignLevelIrqfd(Fd vm, Fd event, Fd resample, Gsi gsi) {
        requireOurs(event);
        requireOurs(resample);
        check(
                on(
                        vm,
                        vmRaw -> on(
                                event,
                                raw -> on(resample, resampleRaw -> backend()
                                        .irqfdAssignLevel(vmRaw, raw, resampleRaw, gsi.number())))),
                "irqfd assign level",
                () -> "eventfd=" + event + " resamplefd=" + resample + " gsi=" + gsi.number());
    }

    public void deassignIrqfd(Fd vm, Fd event, Gsi gsi) {
        quietly(vm, vmRaw -> on(event, raw -> backend().irqfdDeassign(vmRaw, raw, gsi.number())));
    }

    // ioeventfd

    /** @param flags {@link KernelBackend#IOEVENTFD_PIO}, {@link KernelBackend#IOEVENTFD_DATAMATCH} */
    public void assignIoEventFd(Fd vm, Fd event, long address, int length, int flags, long datamatch) {
        requireOurs(event);
        check(
                on(
                        vm,
                        vmRaw -> on(event, raw -> backend()
                                .ioeventfdAssign(vmRaw, raw, address, length, flags, datamatch))),
                "ioeventfd assign",
                () -> "eventfd=" + event + " address=0x" + Long.toHexString(address) + " length=" + length);
    }

    public void deassignIoEventFd(Fd vm, Fd event, long address, int length, int flags, long datamatch) {
        quietly(
                vm,
                vmRaw -> on(event, raw -> backend().ioeventfdDeassign(vmRaw, raw, address, length, flags, datamatch)));
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
                throw failure(result, "msi signal", () -> vm + " " + message);
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
                throw failure(result, "line set", () -> vm + " gsi=" + gsi.number() + " level=" + (level ? 1 : 0));
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

    public Fd createVcpu(Fd vm, VcpuId id) {
        int raw = check(
                on(vm, vmRaw -> backend().libc().ioctl(vmRaw, Uapi.KVM_CREATE_VCPU, id.number())),
                "vcpu create",
                () -> vm + " id=" + id.number());
        return newFd(raw, "vcpu " + id.number());
    }

    /** Gives the guest memory, or takes slot {@code slot} away again. */
    public void setMemory(Fd vm, int slot, long guestAddress, Mapping memory) {
        ByteBuffer region = memoryRegion(slot, guestAddress, memory.length());
        memory.withAddress(address -> check(
                on(vm, raw -> backend()
                        .libc()
                        .ioctl(
                                raw,
                                Uapi.KVM_SET_USER_MEMORY_REGION,
                                region.putLong(Uapi.MEMORY_REGION_USER_ADDRESS, address))),
                "memory set",
                () -> vm + " slot=" + slot + " address=0x" + Long.toHexString(guestAddress) + " size="
                        + memory.length()));
    }

    public void removeMemory(Fd vm, int slot) {
        ByteBuffer region = memoryRegion(slot, 0, 0);
        quietly(vm, raw -> backend().libc().ioctl(raw, Uapi.KVM_SET_USER_MEMORY_REGION, region));
    }

    private static ByteBuffer memoryRegion(int slot, long guestAddress, long size) {
        return Buffers.allocate(Uapi.MEMORY_REGION_SIZE)
                .putInt(Uapi.MEMORY_REGION_SLOT, slot)
                .putLong(Uapi.MEMORY_REGION_GUEST_ADDRESS, guestAddress)
                .putLong(Uapi.MEMORY_REGION_SIZE_BYTES, size);
    }

    /**
     * @param request from {@link Uapi}
     * @param name of the call, for messages
     */
    public int ioctl(Fd fd, long request, long argument, String name) {
        return check(ioctlResult(fd, request, argument), name, fd::toString);
    }

    public int ioctl(Fd fd, long request, ByteBuffer argument, String name) {
        return check(on(fd, raw -> backend().libc().ioctl(raw, request, argument)), name, fd::toString);
    }

    /** As {@link #ioctl(Fd, long, long, String)}, with {@code -errno} as an answer the caller expects. */
    public int ioctlResult(Fd fd, long request, long argument) {
        requireOurs(fd);
        int raw = fd.enter();
        try {
            return backend().libc().ioctl(raw, request, argument);
        } finally {
            fd.exit();
        }
    }
}
