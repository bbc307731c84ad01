/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.IoAddress;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.EnumSet;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntUnaryOperator;
import java.util.function.Supplier;

/**
 * ioctls on a VM and its devices, and the known VM state that explains their errors. Set-up methods throw {@link
 * io.kvmirq.KernelException}. Tear-down methods (deassign, remove) never throw. Thread-safe.
 */
final class VmCalls extends Calls {
    /** The number of KVM_ENABLE_CAP arguments. */
    private static final int MOST_ARGUMENTS = 4;

    private static final int PAGE = 4096;
    /** The MSI address bits at which an APIC id's high 24 and low 8 bits begin. */
    private static final int HIGH_ID_BITS = 40;

    private static final int LOW_ID_BITS = 12;
    private static final int EPERM = -Errno.EPERM.number();
    private static final int FEWEST_ADDRESS_BITS = 32;
    private static final int DEFAULT_ADDRESS_BITS = 40;

    private final Fd vm;
    private volatile Set<Condition> known;
    private volatile boolean has32BitApicIds;
    private volatile boolean hasBroadcastQuirk = true;

    /** Negative until queried. */
    private volatile int xsaveSize = -1;

    /** Size of the {@code kvm_run} mapping in bytes; 0 until queried. */
    private volatile int runSize;

    /** @param known the VM's present facts */
    VmCalls(Kernel kernel, Fd vm, Set<Condition> known) {
        super(kernel);
        this.vm = vm;
        this.known = known;
    }

    /** @param guestAddressBits on arm64; empty for the default */
    static <V> V create(Kernel kernel, OptionalInt guestAddressBits, Function<VmCalls, V> owner) {
        Objects.requireNonNull(kernel, "kernel is null");
        Set<Condition> known = Set.of(Condition.NO_IRQCHIP, Condition.OWN);
        return new Creator(kernel).createVm(guestAddressBits, fd -> owner.apply(new VmCalls(kernel, fd, known)));
    }

    /** @throws IllegalArgumentException if /proc shows that the descriptor is not open on a VM */
    static <V> V adopt(Kernel kernel, int number, Ownership ownership, Function<VmCalls, V> owner) {
        Objects.requireNonNull(ownership, "ownership is null");
        return new Creator(kernel).adoptVm(number, ownership, fd -> owner.apply(new VmCalls(kernel, fd, Set.of())));
    }

    /** Creates or adopts a VM, which does not have a VmCalls yet. */
    private static final class Creator extends Calls {
        Creator(Kernel kernel) {
            super(kernel);
        }

        <V> V createVm(OptionalInt guestAddressBits, Function<Fd, V> owner) {
            long type = type(kernel().facts(), guestAddressBits);
            return made(
                    "vm",
                    () -> call(kernel().device(), device -> backend().vmCreate(device, type)),
                    result -> failure(result, KernelCall.VM_CREATE, Set.of(), () -> type == 0 ? "" : "type=" + type),
                    owner);
        }

        <V> V adoptVm(int number, Ownership ownership, Function<Fd, V> owner) {
            return adopted("vm", number, ownership, owner, "a VM, made by KVM_CREATE_VM", FileKind.VM.label());
        }

        /** The VM type, which on arm64 is the guest address size (0 for 40 bits) and on x86 is 0. */
        private static long type(KernelFacts facts, OptionalInt guestAddressBits) {
            if (facts.architecture() != KernelFacts.Architecture.ARM64) {
                if (guestAddressBits.isPresent()) {
                    throw new UnsupportedOperationException("this kernel is "
                            + facts.architecture().label()
                            + " and does not support a guest address size: call Vm.create without one");
                }
                return 0;
            }
            int max = facts.guestAddressBits().orElse(DEFAULT_ADDRESS_BITS);
            int bits = guestAddressBits.orElse(Math.min(DEFAULT_ADDRESS_BITS, max));
            if (bits < FEWEST_ADDRESS_BITS || bits > max) {
                throw new IllegalArgumentException("guest addresses of " + bits + " bits are not possible: expected "
                        + FEWEST_ADDRESS_BITS + "-" + max + " on this host");
            }
            return bits == DEFAULT_ADDRESS_BITS ? 0 : bits;
        }
    }

    Fd vm() {
        return vm;
    }

    /** @throws IllegalStateException if KVM would deliver the message to a vCPU that is not its destination */
    private void requireReached(MsiMessage message) {
        if (isTruncated(message)) {
            throw new IllegalStateException(message + truncated(message));
        }
    }

    private boolean isTruncated(MsiMessage message) {
        return message.address() >>> HIGH_ID_BITS != 0
                && !has32BitApicIds
                && message.deviceId().isEmpty()
                && known.contains(Condition.OWN)
                && !isArm64();
    }

    /** Does not throw, because a route may be added before 32-bit ids are enabled. */
    void warnUnlessReached(MsiMessage message) {
        if (isTruncated(message)) {
            warnOnce(message.toString(), truncated(message));
        }
    }

    void enable(int capability, long... arguments) {
        ByteBuffer enable = capability(capability, arguments);
        ask(KernelCall.CAP_ENABLE, () -> vm + " capability=" + capability, raw -> libc().ioctl(
                        raw, Uapi.KVM_ENABLE_CAP, enable));
    }

    /** The argument of KVM_ENABLE_CAP. */
    static ByteBuffer capability(int capability, long... arguments) {
        if (arguments.length > MOST_ARGUMENTS) {
            throw new IllegalArgumentException(arguments.length + " arguments of capability " + capability
                    + ": expected at most " + MOST_ARGUMENTS);
        }
        ByteBuffer enable = Buffers.allocate(Uapi.KvmEnableCap.SIZE).putInt(Uapi.KvmEnableCap.CAP, capability);
        for (int i = 0; i < arguments.length; i++) {
            enable.putLong(Uapi.KvmEnableCap.ARGS + i * Long.BYTES, arguments[i]);
        }
        return enable;
    }

    boolean hasType(Route.Other route) {
        return switch (route.type()) {
            case Uapi.KVM_IRQ_ROUTING_HV_SINT -> capability(Uapi.KVM_CAP_HYPERV_SYNIC) != 0;
            case Uapi.KVM_IRQ_ROUTING_XEN_EVTCHN ->
                (capability(Uapi.KVM_CAP_XEN_HVM) & Uapi.KVM_XEN_HVM_CONFIG_EVTCHN_2LEVEL) != 0;
            default -> true;
        };
    }

    private static String truncated(MsiMessage message) {
        long high = message.address() >>> HIGH_ID_BITS;
        long low = message.address() >>> LOW_ID_BITS & 0xff;
        return " is to vcpu " + (high << 8 | low) + ", but goes to vcpu " + low
                + ", because KVM reads 8 bits of the id: call X86Vm.use32BitApicIds first";
    }

    /** Notifies a listener, whose exception does not fail the VM's call. */
    void tell(VmListener listener, Consumer<VmListener> event) {
        tell("a VmListener of " + vm, () -> event.accept(listener));
    }

    boolean has32BitApicIds() {
        return has32BitApicIds;
    }

    void closeVm() {
        close(vm);
    }

    // Architecture

    boolean isArm64() {
        return facts(vm).architecture() == KernelFacts.Architecture.ARM64;
    }

    /** @param instead the call that returns the other architecture's parts */
    void requireX86(Object handle, String instead) {
        if (isArm64()) {
            throw new UnsupportedOperationException(handle + " is arm64 and has no x86 parts: call " + instead);
        }
    }

    /** @param instead the call that returns the other architecture's parts */
    void requireArm64(Object handle, String instead) {
        KernelFacts.Architecture architecture = facts(vm).architecture();
        if (architecture != KernelFacts.Architecture.ARM64) {
            throw new UnsupportedOperationException(
                    handle + " is " + architecture.label() + " and has no arm64 parts: call " + instead);
        }
    }

    // Known facts

    /** Adds a fact and drops the facts that it excludes. */
    synchronized void learn(Condition fact) {
        Set<Condition> next = EnumSet.of(fact);
        known.stream().filter(old -> !old.excludes(fact)).forEach(next::add);
        known = next;
    }

    boolean has(Condition fact) {
        return known.contains(fact);
    }

    Set<Condition> known(Condition... more) {
        Set<Condition> all = EnumSet.noneOf(Condition.class);
        all.addAll(known);
        all.addAll(Set.of(more));
        return all;
    }

    // VM

    int ask(KernelCall call, Supplier<String> operands, IntUnaryOperator made) {
        return check(call(vm, made), call, known, operands);
    }

    int capability(int capability) {
        return ask(KernelCall.CAPABILITY, () -> "capability=" + capability, raw -> backend()
                .capabilityCheck(raw, capability));
    }

    /** The size of vCPUs' XSAVE areas in bytes, or 0 (for 4096) if the kernel lacks KVM_CAP_XSAVE2. Queried once. */
    int xsaveSize() {
        int size = xsaveSize;
        if (size < 0) {
            size = capability(Uapi.KVM_CAP_XSAVE2);
            xsaveSize = size;
        }
        return size;
    }

    int memorySlots() {
        return capability(Uapi.KVM_CAP_NR_MEMSLOTS);
    }

    /** Queried once, because it is the same for all vCPUs. */
    int runSize() {
        if (runSize == 0) {
            Fd device = kernel().device();
            int size = call(device, kvm -> libc().ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0));
            runSize = check(size, KernelCall.VCPU_MMAP_SIZE, known, device::toString);
        }
        return runSize;
    }

    boolean supportsResample() {
        return capability(Uapi.KVM_CAP_IRQFD_RESAMPLE) > 0;
    }

    /** Makes KVM read 32-bit MSI destinations, as {@code MsiMessage} encodes them. */
    void use32BitApicIds() {
        enableX2apic(Uapi.KVM_X2APIC_API_USE_32BIT_IDS);
        has32BitApicIds = true;
    }

    /** Makes KVM stop treating destination 255 as a broadcast for LAPICs in x2APIC mode. */
    void disableBroadcastQuirk() {
        enableX2apic(Uapi.KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
        hasBroadcastQuirk = false;
    }

    boolean hasBroadcastQuirk() {
        return hasBroadcastQuirk;
    }

    private void enableX2apic(long bits) {
        ask(KernelCall.X2APIC, vm::toString, raw -> backend().x2apicEnable(raw, bits));
    }

    /** Replaces the whole table, or leaves it unchanged. */
    void setRoutes(RouteRecords routes) {
        int raw = begin(vm);
        try {
            int result = backend().routesSet(raw, routes.records(), routes.count());
            Set<Condition> facts = known;
            if (result < 0) {
                facts = known(routes.hasOther() ? Condition.OTHER_ROUTES : Condition.PINS_AND_MESSAGES);
            }
            check(result, KernelCall.ROUTES, facts, () -> "vm=" + raw + " routes=" + routes.count());
        } finally {
            end(vm);
        }
    }

    // ioeventfds use leases, so that they can be deassigned even after handles were closed

    void assignIoEventFd(Fd.Lease vm, Fd.Lease event, IoAddress to) {
        long data = to.data().orElse(0);
        check(
                backend().ioeventfdAssign(number(vm), number(event), to.address(), to.length(), flags(to), data),
                KernelCall.IOEVENTFD,
                known,
                () -> "vm=" + vm.number() + " eventfd=" + event.number() + " address=0x"
                        + Long.toHexString(to.address()) + " length=" + to.length());
    }

    void deassignIoEventFd(Fd.Lease vm, Fd.Lease event, IoAddress to) {
        long data = to.data().orElse(0);
        backend().ioeventfdDeassign(number(vm), number(event), to.address(), to.length(), flags(to), data);
    }

    private static int flags(IoAddress to) {
        return (to instanceof IoAddress.Port ? KernelBackend.IOEVENTFD_PIO : 0)
                | (to.data().isPresent() ? KernelBackend.IOEVENTFD_DATAMATCH : 0);
    }

    // Injection

    /** Flags for which KVM returns EINVAL, so an EPERM comes from a system call filter. */
    private static final int UNKNOWN_FLAGS = 2;

    MsiOutcome signal(MsiMessage message) {
        requireReached(Objects.requireNonNull(message, "message is null"));
        boolean device = message.deviceId().isPresent();
        int raw = begin(vm);
        try {
            int result = backend()
                    .msiSignal(
                            raw,
                            message.address(),
                            message.data(),
                            device ? KernelBackend.ROUTE_FLAG_DEVID : 0,
                            device ? message.deviceId().getAsInt() : 0);
            if (result < 0 && result != EPERM) {
                throw failure(
                        result,
                        KernelCall.MSI,
                        known(device ? Condition.DEVICE_ID : Condition.NO_DEVICE_ID),
                        () -> "vm=" + raw + " " + message);
            }
            if (result == EPERM && backend().msiSignal(raw, 0, 0, UNKNOWN_FLAGS, 0) == EPERM) {
                throw new KernelException(
                        KernelCall.MSI.label(),
                        "vm=" + raw + " " + message,
                        Errno.EPERM,
                        InterruptAnswer.MSI_FILTERED.text());
            }
            if (result < 0) {
                return MsiOutcome.NO_DESTINATION_MATCHED;
            }
            return result == 0 ? MsiOutcome.NOT_ACCEPTED : MsiOutcome.delivered(result);
        } finally {
            end(vm);
        }
    }

    // Devices

    /** Whether a device of this type can be created. Creates none. */
    boolean testDevice(int type) {
        int result = call(vm, raw -> backend().deviceTest(raw, type));
        if (result == -Errno.ENODEV.number()) {
            return false;
        }
        check(result, KernelCall.DEVICE_TEST, known, () -> vm + " type=" + type);
        return true;
    }

    /** @param facts the facts that explain a refusal */
    <D> D createDevice(int type, Set<Condition> facts, Function<Fd, D> owner) {
        return made(
                "device",
                () -> call(vm, raw -> backend().deviceCreate(raw, type)),
                result -> failure(
                        result,
                        KernelCall.DEVICE_CREATE,
                        known(facts.toArray(Condition[]::new)),
                        () -> vm + " type=" + type),
                owner);
    }

    /** @throws KernelException EINVAL for an id beyond the limit; EEXIST for one that exists */
    <V> V createVcpu(VcpuId id, Function<Fd, V> owner) {
        Set<Condition> facts =
                known(id.number() < VcpuId.MOST_OF_GICV3 ? Condition.LOW_VCPU_ID : Condition.HIGH_VCPU_ID);
        return made(
                "vcpu " + id.number(),
                () -> call(vm, raw -> libc().ioctl(raw, Uapi.KVM_CREATE_VCPU, id.number())),
                result -> failure(result, KernelCall.VCPU_CREATE, facts, () -> vm + " id=" + id.number()),
                owner);
    }

    <D> D adoptDevice(String what, int number, Ownership ownership, Function<Fd, D> owner) {
        return adopted(
                "device", number, ownership, owner, what + ", made by KVM_CREATE_DEVICE", FileKind.KVM_DEVICE.label());
    }

    boolean hasAttribute(Fd device, int group, long attribute) {
        int result = call(device, raw -> backend().deviceAttrHas(raw, group, attribute));
        if (result == -Errno.ENXIO.number()) {
            return false;
        }
        check(result, KernelCall.ATTRIBUTE_PROBE, known, () -> device + " group=" + group + " attribute=" + attribute);
        return true;
    }

    void closeDevice(Fd device) {
        close(device);
    }

    // Memory

    /** @param region a {@link #memoryRegion} with its flags */
    void setMemory(Fd.Lease vm, ByteBuffer region, Mapping.Lease pages) {
        requireOurs(pages);
        long guestAddress = region.getLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR);
        long size = region.getLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE);
        check(
                changeMemory(vm, region, pages),
                KernelCall.MEMORY,
                known(rangeFact(guestAddress, size)),
                () -> "vm=" + vm.number() + " slot=" + region.getInt(Uapi.KvmUserspaceMemoryRegion.SLOT) + " address=0x"
                        + Long.toHexString(guestAddress) + " size=" + size);
    }

    private static Condition rangeFact(long guestAddress, long size) {
        if (guestAddress % PAGE != 0 || size % PAGE != 0) {
            return Condition.MISALIGNED;
        }
        return Long.compareUnsigned(guestAddress + size, guestAddress) < 0 ? Condition.WRAPPING : Condition.ALIGNED;
    }

    /** Does not allocate. @return the kernel's result */
    int changeMemory(Fd.Lease vm, ByteBuffer region, Mapping.Lease pages) {
        region.putLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR, address(pages));
        return libc().ioctl(number(vm), Uapi.KVM_SET_USER_MEMORY_REGION, region);
    }

    /** @param request the slot's {@code struct kvm_dirty_log} */
    void getDirtyLog(Fd.Lease vm, int slot, ByteBuffer request, ByteBuffer bitmap) {
        try {
            request.putLong(Uapi.KvmDirtyLog.DIRTY_BITMAP, libc().addressOf(bitmap));
            check(
                    libc().ioctl(number(vm), Uapi.KVM_GET_DIRTY_LOG, request),
                    KernelCall.DIRTY_LOG,
                    known,
                    () -> "vm=" + vm.number() + " slot=" + slot);
        } finally {
            Reference.reachabilityFence(bitmap);
        }
    }

    /** Removes a slot by a {@link #memoryRegion} of length 0, without allocating. @return whether it succeeded */
    boolean removeMemory(Fd.Lease vm, ByteBuffer removal) {
        return libc().ioctl(number(vm), Uapi.KVM_SET_USER_MEMORY_REGION, removal) >= 0;
    }

    static ByteBuffer memoryRegion(int slot, int flags, long guestAddress, long size) {
        return Buffers.allocate(Uapi.KvmUserspaceMemoryRegion.SIZE)
                .putInt(Uapi.KvmUserspaceMemoryRegion.SLOT, slot)
                .putInt(Uapi.KvmUserspaceMemoryRegion.FLAGS, flags)
                .putLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR, guestAddress)
                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, size);
    }
}
