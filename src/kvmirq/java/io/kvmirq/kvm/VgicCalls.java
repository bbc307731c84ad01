/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.function.Supplier;

/**
 * KVM's calls on an arm64 VM: the attributes of its VGIC and ITSs, and its lines. Thread-safe.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic*.rst; {@code kvm_vm_ioctl_irq_line()} in arch/arm64/kvm/arm.c.
 */
final class VgicCalls extends Calls {
    private static final int VCPU_MASK = 0xff;
    private static final int VCPU_BITS = 8;

    private final VmCalls vm;
    /** Whether the VM has a GICv2 that was made here and not initialised. */
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
     * The kernel initialises a GICv2 by itself in calls that need it, and then sets default routes that {@link
     * RouteTable} does not have. It never initialises a GICv3 by itself. Source: {@code vgic_lazy_init()}; {@code
     * vgic_v2_attr_regs_access()}; {@code vgic_v2_map_resources()}.
     *
     * @throws IllegalStateException if the kernel would initialise the GICv2
     */
    void requireInit() {
        if (awaitsInit) {
            throw new IllegalStateException(
                    "this GICv2 is not initialised: call init first, else the kernel does, and" + " resets the routes");
        }
    }

    // Attributes; a value has 8 bytes, or 4 where the kernel reads and writes no more

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
                    on(device, raw -> libc().ioctl(raw, request, structure)),
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

    // Lines; allocates nothing when the kernel agrees

    /** An SPI as KVM_IRQ_LINE names it. */
    static int word(int spi) {
        return UapiArm64.KVM_ARM_IRQ_TYPE_SPI << UapiArm64.KVM_ARM_IRQ_TYPE_SHIFT | spi;
    }

    void setSpi(Spi spi, boolean high) {
        vm.requireArm64("an SPI");
        int result = setLine(word(spi.number()), high);
        if (result < 0) {
            throw failure(result, KernelCall.LINE, vm.known(), () -> operands(spi.toString(), high));
        }
    }

    void setPpi(VcpuId vcpu, Ppi ppi, boolean high) {
        vm.requireArm64("a PPI");
        int word = vcpu.number() >> VCPU_BITS << UapiArm64.KVM_ARM_IRQ_VCPU2_SHIFT
                | UapiArm64.KVM_ARM_IRQ_TYPE_PPI << UapiArm64.KVM_ARM_IRQ_TYPE_SHIFT
                | (vcpu.number() & VCPU_MASK) << UapiArm64.KVM_ARM_IRQ_VCPU_SHIFT
                | ppi.number();
        int result = setLine(word, high);
        if (result < 0) {
            throw failure(result, KernelCall.PPI_LINE, vm.known(), () -> operands(vcpu + " " + ppi, high));
        }
    }

    private int setLine(int word, boolean high) {
        requireInit();
        int raw = begin(vm.vm());
        try {
            return backend().lineSet(raw, word, high ? 1 : 0);
        } finally {
            end(vm.vm());
        }
    }

    private String operands(String line, boolean high) {
        return "vm=" + number(vm.vm()) + " " + line + " level=" + (high ? 1 : 0);
    }
}
