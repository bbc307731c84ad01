/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.UapiArm64;
import java.util.function.Function;

/**
 * The arm64 methods of a VM, from {@link Vm#arm64}: VGIC, ITSs, and calls that drive SPI and PPI lines. Thread-safe.
 * Errnos named in method comments are thrown as {@link io.kvmirq.KernelException}s.
 *
 * <p>Source: {@code kvm_vm_ioctl_irq_line()} in arch/arm64/kvm/arm.c.
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="vgic"}
 */
public final class Arm64Vm {
    private static final int VCPU_MASK = 0xff;
    private static final int VCPU_BITS = 8;

    private final VmCalls vm;
    private final VgicCalls calls;
    private final RouteTable routes;

    Arm64Vm(VgicCalls calls, RouteTable routes) {
        this.vm = calls.vm();
        this.calls = calls;
        this.routes = routes;
    }

    /**
     * Creates a GICv2. Call {@link Vgic#init} before a vCPU runs. Fails with ENODEV if the host's GIC cannot run a
     * GICv2; EEXIST if the VM has a VGIC, even one with a closed handle; EBUSY if a vCPU has run, or another thread is
     * creating or using one; E2BIG with more than 8 vCPUs, which only a GICv3 host allows.
     */
    public VgicV2 createVgicV2() {
        return create(KvmDevice.Type.VGIC_V2, fd -> v2(fd, false));
    }

    /**
     * Creates a GICv3. Call {@link Vgic#init} before a vCPU runs. Fails with ENODEV on a host with a GICv2, and with
     * EEXIST and EBUSY as {@link #createVgicV2} does.
     */
    public VgicV3 createVgicV3() {
        return create(KvmDevice.Type.VGIC_V3, fd -> v3(fd, false));
    }

    /**
     * Creates an ITS, which accepts device MSIs. A VM can have several. Create all of them before you restore
     * GICR_PROPBASER, because creating an ITS resets that register. Fails with ENODEV on a host with a GICv2.
     */
    public Its createIts() {
        return create(KvmDevice.Type.ITS, fd -> new Its(calls, fd));
    }

    private <D> D create(KvmDevice.Type type, Function<Fd, D> owner) {
        return vm.createDevice(type.number(), type.facts(), owner);
    }

    /**
     * Wraps a GICv2 that a VMM created for this VM. The VMM also initializes it, so {@link Vgic#init} of the returned
     * object sets no default routes in {@link Vm#routes}.
     */
    public VgicV2 adoptVgicV2(int number, Ownership ownership) {
        return vm.adoptDevice("a VGIC", number, ownership, fd -> v2(fd, true));
    }

    /** Wraps a GICv3 that a VMM created and initializes, so {@link Vgic#init} sets no default routes. */
    public VgicV3 adoptVgicV3(int number, Ownership ownership) {
        return vm.adoptDevice("a VGIC", number, ownership, fd -> v3(fd, true));
    }

    /** Wraps an ITS that a VMM created for this VM. GSI routes do not change. */
    public Its adoptIts(int number, Ownership ownership) {
        return vm.adoptDevice("an ITS", number, ownership, fd -> new Its(calls, fd));
    }

    private VgicV2 v2(Fd fd, boolean initialized) {
        return learned(Condition.GICV2, new VgicV2(calls, routes, fd, initialized));
    }

    private VgicV3 v3(Fd fd, boolean initialized) {
        return learned(Condition.GICV3, new VgicV3(calls, routes, fd, initialized));
    }

    private <V extends Vgic> V learned(Condition version, V vgic) {
        vm.learn(Condition.VGIC);
        vm.learn(version);
        return vgic;
    }

    /**
     * Drives an SPI line from user space, without a GSI route. A rising edge latches an edge-triggered SPI, and a
     * level-triggered SPI is pending while its line is high. Irqfds drive the same line, so the last change determines
     * its level. Allocates nothing. Fails with ENXIO without a VGIC, EBUSY before {@link Vgic#init}, and EINVAL if the
     * VGIC lacks the SPI.
     *
     * @throws IllegalStateException before the {@link Vgic#init} of a GICv2 from {@link #createVgicV2}
     */
    public void setSpi(Spi spi, boolean high) {
        int result = setLine(word(spi.number()), high);
        if (result < 0) {
            throw vm.failure(result, KernelCall.LINE, vm.known(), () -> operands(spi.toString(), high));
        }
    }

    /**
     * Drives one vCPU's PPI line from user space, as {@link #setSpi} drives an SPI line. Fails with EINVAL if the VM
     * has no vCPU with this id. Linux 6.1 treats the id as the vCPU's index in creation order, so create vCPUs in
     * ascending order of ids, from 0.
     */
    public void setPpi(VcpuId vcpu, Ppi ppi, boolean high) {
        int word = vcpu.number() >> VCPU_BITS << UapiArm64.KVM_ARM_IRQ_VCPU2_SHIFT
                | UapiArm64.KVM_ARM_IRQ_TYPE_PPI << UapiArm64.KVM_ARM_IRQ_TYPE_SHIFT
                | (vcpu.number() & VCPU_MASK) << UapiArm64.KVM_ARM_IRQ_VCPU_SHIFT
                | ppi.number();
        int result = setLine(word, high);
        if (result < 0) {
            throw vm.failure(result, KernelCall.PPI_LINE, vm.known(), () -> operands(vcpu + " " + ppi, high));
        }
    }

    /** Encodes an SPI for KVM_IRQ_LINE. */
    static int word(int spi) {
        return UapiArm64.KVM_ARM_IRQ_TYPE_SPI << UapiArm64.KVM_ARM_IRQ_TYPE_SHIFT | spi;
    }

    private int setLine(int word, boolean high) {
        calls.requireInit();
        int raw = vm.begin(vm.vm());
        try {
            return vm.backend().lineSet(raw, word, high ? 1 : 0);
        } finally {
            VmCalls.end(vm.vm());
        }
    }

    private String operands(String line, boolean high) {
        return "vm=" + VmCalls.number(vm.vm()) + " " + line + " level=" + (high ? 1 : 0);
    }
}
