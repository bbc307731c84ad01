/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.kvm.FakeRoutes;
import io.kvmirq.fake.x86.cpu.ReportedEvents;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Set;

/**
 * VM requests that create, enable, save and restore its interrupt controllers. Source: {@code kvm_arch_vm_ioctl()} in
 * arch/x86/kvm/x86.c.
 */
final class IrqchipCalls {
    /** Capabilities that a real x86 VM can enable and the fake does not model; measured on 6.18. */
    private static final Set<Integer> ENABLED_ELSEWHERE = Set.of(
            116,
            143,
            159,
            168,
            182,
            188,
            Uapi.KVM_CAP_DIRTY_LOG_RING,
            193,
            201,
            204,
            213,
            220,
            Uapi.KVM_CAP_DIRTY_LOG_RING_ACQ_REL);

    /** 2^32-1 cycles, each divided by 128, stay below 2^64 ns. */
    private static final long LONGEST_BUS_CYCLE = 1L << 25;

    private final KernelOfFile host;
    private final X86Vm vm;
    /** The ids of the VM's vCPUs. The VM adds to this set. */
    private final Set<Integer> vcpus;

    IrqchipCalls(X86Vm vm, Set<Integer> vcpus) {
        this.host = vm.host();
        this.vm = vm;
        this.vcpus = vcpus;
    }

    /** The bits of KVM_CAP_X2APIC_API for this VM's irqchip; the kernel version may support fewer. */
    int x2apicBits() {
        return vm.irqchip() == X86Vm.Irqchip.SPLIT ? -1 : ~Uapi.KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST;
    }

    int create() {
        if (vm.irqchip() != X86Vm.Irqchip.NONE) {
            return host.refuse(VmAnswer.IRQCHIP_EXISTS);
        }
        if (!vcpus.isEmpty()) {
            return host.refuse(VmAnswer.IRQCHIP_AFTER_VCPU);
        }
        vm.createFullIrqchip();
        return 0;
    }

    int enable(ByteBuffer capability) {
        if (capability.getInt(Uapi.KvmEnableCap.FLAGS) != 0) {
            return host.refuse(VmAnswer.CAP_FLAGS);
        }
        long argument = capability.getLong(Uapi.KvmEnableCap.ARGS);
        return switch (capability.getInt(Uapi.KvmEnableCap.CAP)) {
            case Uapi.KVM_CAP_SPLIT_IRQCHIP -> enableSplit(argument);
            case Uapi.KVM_CAP_X2APIC_API -> enableX2apic(argument);
            case Uapi.KVM_CAP_MAX_VCPU_ID -> limitIds(argument);
            case Uapi.KVM_CAP_X86_APIC_BUS_CYCLES_NS -> setBusCycle(argument);
            case Uapi.KVM_CAP_EXCEPTION_PAYLOAD -> {
                vm.report(new ReportedEvents(argument != 0, vm.reportedEvents().tripleFault()));
                yield 0;
            }
            case Uapi.KVM_CAP_X86_TRIPLE_FAULT_EVENT -> {
                vm.report(new ReportedEvents(vm.reportedEvents().exceptionPayload(), argument != 0));
                yield 0;
            }
            default -> refuse(capability.getInt(Uapi.KvmEnableCap.CAP));
        };
    }

    private int refuse(int capability) {
        if (ENABLED_ELSEWHERE.contains(capability)) {
            throw new NotModelledException("KVM_ENABLE_CAP of capability " + capability);
        }
        return host.refuse(VmAnswer.CAP_UNKNOWN);
    }

    /** Sets the limit of vCPU ids, once and before the first vCPU. */
    private int limitIds(long ids) {
        if (Long.compareUnsigned(ids, X86Capabilities.vcpuIds(host.build())) > 0) {
            return host.refuse(VmAnswer.MAX_VCPU_ID_VALUE);
        }
        if (Integer.toUnsignedLong(vm.bootVcpu()) > ids && host.build().isSince(6, 11)) {
            return host.refuse(VmAnswer.MAX_VCPU_ID_BOOT);
        }
        if (vm.vcpuIds() != 0 && vm.vcpuIds() != ids) {
            return host.refuse(VmAnswer.MAX_VCPU_ID_CHOSEN);
        }
        vm.limitVcpuIds((int) ids);
        return 0;
    }

    private int setBusCycle(long nanos) {
        if (!host.build().isSince(6, 11)) {
            return host.refuse(VmAnswer.CAP_UNKNOWN);
        }
        if (nanos == 0 || Long.compareUnsigned(nanos, LONGEST_BUS_CYCLE) > 0) {
            return host.refuse(VmAnswer.BUS_CYCLE_VALUE);
        }
        if (vm.irqchip() == X86Vm.Irqchip.NONE) {
            return host.refuse(VmAnswer.BUS_CYCLE_NEEDS_LAPICS);
        }
        if (!vcpus.isEmpty()) {
            return host.refuse(VmAnswer.BUS_CYCLE_AFTER_VCPU);
        }
        vm.settings().setBusCycle(nanos);
        return 0;
    }

    private int enableSplit(long pins) {
        if (pins < 0 || pins > FakeRoutes.MAX_GSI) {
            return host.refuse(VmAnswer.SPLIT_PINS);
        }
        if (vm.irqchip() != X86Vm.Irqchip.NONE || !vcpus.isEmpty()) {
            return host.refuse(VmAnswer.SPLIT_EXISTS);
        }
        vm.createSplitIrqchip((int) pins);
        return 0;
    }

    private int enableX2apic(long bits) {
        boolean suppress = (bits & Uapi.KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST) != 0;
        if ((bits & ~(long) X86Capabilities.x2apicBits(host.build())) != 0) {
            return host.refuse((bits & ~0xfL) != 0 ? VmAnswer.X2APIC_BITS : VmAnswer.X2APIC_TWO_BITS_BEFORE);
        }
        if (suppress && (bits & Uapi.KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST) != 0) {
            return host.refuse(VmAnswer.X2APIC_BOTH_SUPPRESS);
        }
        if (suppress && vm.irqchip() != X86Vm.Irqchip.SPLIT) {
            return host.refuse(VmAnswer.X2APIC_SUPPRESS_SPLIT);
        }
        if ((bits & Uapi.KVM_X2APIC_API_USE_32BIT_IDS) != 0) {
            vm.lapics().use32BitIds();
        }
        if ((bits & Uapi.KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK) != 0) {
            vm.lapics().endBroadcastQuirk();
        }
        boolean decided = suppress || (bits & Uapi.KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST) != 0;
        if (decided) {
            vm.lapics().setDirectedEoi(suppress);
        }
        return 0;
    }

    int get(ByteBuffer chip) {
        int refused = refuseChip(chip);
        if (refused < 0) {
            return refused;
        }
        switch (chip.getInt(Uapi.KvmIrqchip.CHIP_ID)) {
            case 0, 1 -> vm.pics().get(chip.getInt(Uapi.KvmIrqchip.CHIP_ID)).save(chip, Uapi.KvmIrqchip.CHIP);
            default -> vm.ioapic().save(chip, Uapi.KvmIrqchip.CHIP);
        }
        return 0;
    }

    int set(ByteBuffer chip) {
        int refused = refuseChip(chip);
        int id = chip.getInt(Uapi.KvmIrqchip.CHIP_ID);
        if (refused == 0 && id < 2) {
            vm.pics().get(id).restore(chip, Uapi.KvmIrqchip.CHIP);
        } else if (refused == 0) {
            vm.ioapic().restore(chip, Uapi.KvmIrqchip.CHIP);
        }
        if (refused != VmAnswer.CHIP_NEEDS_FULL.result()) {
            vm.pics().update();
        }
        return refused;
    }

    private int refuseChip(ByteBuffer chip) {
        if (vm.irqchip() != X86Vm.Irqchip.FULL) {
            return host.refuse(VmAnswer.CHIP_NEEDS_FULL);
        }
        int id = chip.getInt(Uapi.KvmIrqchip.CHIP_ID);
        return id < 0 || id > 2 ? host.refuse(VmAnswer.CHIP_UNKNOWN) : 0;
    }

    /** KVM_CREATE_PIT2. */
    int createPit(ByteBuffer config) {
        if (vm.pit().isPresent()) {
            return host.refuse(VmAnswer.PIT_EXISTS);
        }
        if (vm.irqchip() != X86Vm.Irqchip.FULL) {
            if (host.build().isSince(6, 12)) {
                return host.refuse(VmAnswer.PIT_NEEDS_PIC);
            }
            host.note(VmAnswer.PIT_WITHOUT_PIC_BEFORE);
        }
        vm.createPit((config.getInt(Uapi.KvmPitConfig.FLAGS) & Uapi.KVM_PIT_SPEAKER_DUMMY) != 0);
        return 0;
    }

    int setBootVcpu(long id) {
        if (!vcpus.isEmpty()) {
            return host.refuse(VmAnswer.BOOT_VCPU_AFTER_VCPU);
        }
        int ids = vm.vcpuIds() == 0 ? X86Capabilities.vcpuIds(host.build()) : vm.vcpuIds();
        if (Long.compareUnsigned(id, ids) > 0 && host.build().isSince(6, 11)) {
            return host.refuse(VmAnswer.BOOT_VCPU_ID);
        }
        vm.bootVcpu((int) id);
        return 0;
    }
}
