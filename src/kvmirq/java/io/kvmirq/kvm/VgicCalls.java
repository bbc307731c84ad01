/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.function.Supplier;

/**
 * Attribute ioctls of an arm64 VM's VGIC and ITSs. Thread-safe.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic*.rst.
 */
final class VgicCalls extends Calls {
    private final VmCalls vm;
    /** Whether the VM has a GICv2 that was created here and is not initialized yet. */
    private volatile boolean awaitsInit;

    VgicCalls(VmCalls vm) {
        super(vm.vm().kernel());
        this.vm = vm;
    }

    VmCalls vm() {
        return vm;
    }

    // Init

    void awaitInit(boolean awaited) {
        awaitsInit = awaited;
    }

    /**
     * Refuses calls in which the kernel would implicitly initialize a GICv2 and set default routes that {@link
     * RouteTable} does not have. The kernel never does so for a GICv3. Source: {@code vgic_lazy_init()}, {@code
     * vgic_v2_attr_regs_access()}, {@code vgic_v2_map_resources()}.
     *
     * @throws IllegalStateException if the kernel would initialize the GICv2
     */
    void requireInit() {
        if (awaitsInit) {
            throw new IllegalStateException(
                    "this GICv2 is not initialized: call init first, else the kernel does, and" + " resets the routes");
        }
    }

    // Attributes. Buffers have 8 bytes, of which the kernel may use only 4.

    void attribute(
            long request,
            Fd device,
            KernelCall call,
            int group,
            long attribute,
            ByteBuffer value,
            Supplier<String> operands) {
        if (call == KernelCall.VGIC_REGISTER && !device.isClosed()) {
            requireInit();
        }
        ByteBuffer structure = Buffers.allocate(Uapi.KvmDeviceAttr.SIZE)
                .putInt(Uapi.KvmDeviceAttr.GROUP, group)
                .putLong(Uapi.KvmDeviceAttr.ATTR, attribute)
                .putLong(Uapi.KvmDeviceAttr.ADDR, libc().addressOf(value));
        try {
            check(
                    call(device, raw -> libc().ioctl(raw, request, structure)),
                    call,
                    vm.known(),
                    () -> device + " " + operands.get());
        } finally {
            Reference.reachabilityFence(value);
        }
    }

    static ByteBuffer value(long value) {
        return Buffers.allocate(Long.BYTES).putLong(0, value);
    }

    static ByteBuffer value(int value) {
        return Buffers.allocate(Long.BYTES).putInt(0, value);
    }

    /** The vCPU's default affinity in bits 63:32 of an attribute; source: {@code reset_mpidr()} in sys_regs.c. */
    static long affinity(VcpuId vcpu) {
        long id = vcpu.number();
        return (id & 0xf | (id >> 4 & 0xff) << 8 | id >> 12 << 16) << Integer.SIZE;
    }
}
