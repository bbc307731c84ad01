/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;

import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.util.List;

/** Steps of arm64 that are about VMs, vCPUs, lines and messages; no guest runs. */
final class ArmSteps {
    static final long ITS = 0x808_0000L;
    private static final int MOST_VMS = 3;
    private static final int MOST_VCPUS = 5;
    private static final long DOORBELL = ITS + 0x1_0040;
    private static final int VCPU_IDS = 512;

    /**
     * Capabilities that a kernel has on any processor, or on none. Left out are those of processors: their number, 32 bits,
     * PMU, SVE, pointer authentication, errors, breakpoints and tags; and those of calls that are not modelled.
     */
    private static final long[] CAPABILITIES = {
        0, 1, 2, 3, 7, 10, 11, 14, 15, 16, 21, 25, 29, 30, 32, 33, 35, 36, 40, 54, 66, 70, 77, 81, 82, 87, 88, 89, 98,
        102, 105, 121, 122, 127, 128, 131, 136, 165, 174, 203, 231, 9999
    };

    private static final long SYSTEM =
            UapiArm64.KVM_REG_ARM64 | UapiArm64.KVM_REG_SIZE_U64 | UapiArm64.KVM_REG_ARM64_SYSREG;

    private static final long CORE = UapiArm64.KVM_REG_ARM64 | UapiArm64.KVM_REG_ARM_CORE;

    /** What a VMM sets: SCTLR, TTBR0, TTBR1, ESR, FAR, MAIR, VBAR, CONTEXTIDR, TPIDR of EL1 and EL0. */
    private static final long[] KEPT = {
        0xc080, 0xc100, 0xc101, 0xc290, 0xc300, 0xc510, 0xc600, 0xc681, 0xc684, 0xde82, 0xde83
    };

    /** MPIDR, MIDR, features, CLIDR, timers and their counters, and no register. */
    private static final long[] OTHERS = {
        0xc005, 0xc000, 0xc009, 0xc020, 0xc028, 0xc030, 0xc038, 0xc801, 0xdf19, 0xdf1a, 0xdf01, 0xdf02, 0xdf11, 0xffff,
        0xc230
    };

    private final Draft draft;
    private final Values values;
    private final Descriptors fds;

    ArmSteps(Draft draft) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
    }

    private long vcpu() {
        return values.rarely(25) ? fds.another(Kind.VCPU) : fds.pick(Kind.VCPU);
    }

    // VMs

    /** The type is a number of address bits. */
    void createVm() {
        long type = fds.count(Kind.VM) >= MOST_VMS || values.rarely(4)
                ? values.of(1, 31, 53, 64, 0x100, 0x128, -1, 1L << 32)
                : values.of(0, 32, 36, 40, 48);
        long kvm = fds.pick(Kind.KVM);
        long to = fds.fresh();
        draft.step(call(Operation.CREATE_VM, to, kvm, type));
        if (type >= 0 && type <= 48 && type % 4 == 0) {
            fds.addFrom(Kind.KVM, kvm, Kind.VM, to);
        }
    }

    void checkExtension() {
        draft.step(call(
                Operation.CHECK_EXTENSION, fds.pick(values.rarely(2) ? Kind.KVM : Kind.VM), values.of(CAPABILITIES)));
    }

    void enable() {
        long capability = values.rarely(4) ? values.below(256) : values.of(9999, 32, 0, 121, 129, 136);
        draft.step(call(Operation.ENABLE_CAP, fds.pick(Kind.VM), capability, values.rarely(4) ? 1 : 0));
    }

    /** A GICv2, where the host has one. */
    void createIrqchip() {
        draft.step(call(Operation.CREATE_IRQCHIP, fds.pick(Kind.VM)));
    }

    // vCPUs

    void createVcpu() {
        long vm = fds.pick(Kind.VM);
        boolean more = fds.anotherVcpu(vm) <= MOST_VCPUS;
        createVcpu(
                vm,
                more && !values.rarely(6)
                        ? values.of(0, 0, 1, 1, 2, 3, 7, 8, 16, 17, 0x100, 0x100, 511)
                        : values.of(512, -1, 1L << 32, 4096));
    }

    long createVcpu(long vm, long id) {
        long to = fds.fresh();
        draft.step(call(Operation.CREATE_VCPU, to, vm, id));
        return id >= 0 && id < VCPU_IDS ? fds.addFrom(Kind.VM, vm, Kind.VCPU, to) : to;
    }

    void initialize() {
        if (values.rarely(5)) {
            draft.step(call(Operation.FINALIZE, vcpu(), values.of(4, 4, 0, 5, -1, Side.NOWHERE)));
            return;
        }
        initialize(
                vcpu(),
                values.rarely(8) ? values.of(0, 4, 6, -1) : UapiArm64.KVM_ARM_TARGET_GENERIC_V8,
                values.of(0, 0, 0, 1, 4, 4, 5, values.rarely(3) ? 1 << 7 : 0, values.rarely(3) ? 1 << 31 : 4));
    }

    void initialize(long vcpu, long target, long features) {
        draft.step(call(Operation.VCPU_INIT, vcpu, target, features));
    }

    void listRegisters() {
        draft.step(call(Operation.LIST_REGISTERS, vcpu(), values.of(0, 1, 200, 400, 400, 500)));
    }

    /** Writes, and often looks at once what came of it. */
    void register() {
        long vcpu = vcpu();
        long id = id();
        Call look = call(Operation.GET_REGISTER, vcpu, id, values.rarely(12) ? Side.NOWHERE : 0);
        if (values.rarely(3)) {
            draft.step(look);
            return;
        }
        long value = id == (CORE | UapiArm64.KVM_REG_SIZE_U64 | UapiArm64.KvmArmRegs.PSTATE / 4)
                ? values.of(0x3c5, 0x3c4, 0x3c0, 0x5, 0, 1, 8, 0xf, 0x3c9)
                : values.of(0, 1, -1, 0x1234_5678_9abc_def0L, 0x8000_0000L, Side.NOWHERE);
        draft.step(call(Operation.SET_REGISTER, vcpu, id, value));
        if (values.rarely(6)) {
            initialize(vcpu, UapiArm64.KVM_ARM_TARGET_GENERIC_V8, 4);
        }
        if (!values.rarely(3)) {
            draft.step(look);
        }
    }

    private long id() {
        return switch ((int) values.below(8)) {
            case 0, 1 ->
                CORE | UapiArm64.KVM_REG_SIZE_U64 | values.of(0, 2, 60, 62, 64, 66, 66, 66, 66, 68, 70, 72, 80);
            case 2 -> CORE | UapiArm64.KVM_REG_SIZE_U128 | values.of(84, 88, 208);
            case 3 -> CORE | UapiArm64.KVM_REG_SIZE_U32 | values.of(212, 213, 213);
            case 4 -> CORE | values.of(1, 2, 3, 4, 5) << UapiArm64.KVM_REG_SIZE_SHIFT | values.below(222);
            case 5 ->
                values.of(
                        0,
                        -1,
                        0x2030_0000_0000_0000L,
                        0x4030_0000_0010_0000L,
                        0x6030_0001_0010_0000L,
                        SYSTEM | 0x1_0000);
            case 6 -> SYSTEM | values.of(OTHERS);
            default -> SYSTEM | values.of(KEPT);
        };
    }

    void state() {
        long vcpu = vcpu();
        draft.step(
                values.rarely(2)
                        ? call(Operation.GET_MP_STATE, vcpu)
                        : call(Operation.SET_MP_STATE, vcpu, values.of(0, 0, 1, 2, 3, 4, 5, 5, 8, 9, 10, 10, 11, -1)));
    }

    void signals() {
        draft.step(call(Operation.SIGNALS, vcpu(), values.of(8, 8, 8, 4, 0, 16, -1), values.of(0, 1, -1)));
    }

    /** Attributes of a vCPU (the interrupts of its timers and its PMU), of a VM, and of other open files. */
    void attribute() {
        long fd = values.rarely(4) ? fds.pick(Kind.VM) : vcpu();
        long group = values.of(0, 1, 1, 1, 1, 2, 3, -1);
        long number = values.of(0, 0, 1, 1, 2, 4, -1);
        if (values.rarely(6)) {
            timerOfNext();
            return;
        }
        switch ((int) values.below(3)) {
            case 0 -> draft.step(call(Operation.HAS_ATTR, fd, group, number, 0));
            case 1 -> draft.step(call(Operation.GET_VALUE, fd, group, number, values.rarely(5) ? Side.NOWHERE : 0));
            default ->
                draft.step(call(
                        Operation.SET_VALUE,
                        fd,
                        group,
                        number,
                        values.of(15, 16, 20, 23, 27, 27, 30, 31, 32, 0, -1, Side.NOWHERE)));
        }
    }

    /** A timer's interrupt, and that of a vCPU made after it was set. */
    private void timerOfNext() {
        long timer = values.below(2);
        long group = UapiArm64.KVM_ARM_VCPU_TIMER_CTRL;
        draft.step(call(Operation.SET_VALUE, vcpu(), group, timer, values.of(16, 20, 31)));
        long made = createVcpu(fds.pick(Kind.VM), values.of(2, 3, 7, 8));
        draft.step(call(Operation.GET_VALUE, made, group, timer, 0));
    }

    // Interrupts

    void route() {
        InterruptSteps.route(draft, () -> values.rarely(2) ? pin() : message());
    }

    private static List<Long> pinOf(long flags, long chip, long pin) {
        return List.of((long) Uapi.KVM_IRQ_ROUTING_IRQCHIP, flags, chip, pin, 0L);
    }

    private List<Long> pin() {
        return pinOf(
                values.rarely(20) ? 1 : 0,
                values.rarely(20) ? values.of(1, 2, -1) : 0,
                values.rarely(12) ? values.of(224, 987, 988, -1) : values.below(32));
    }

    private List<Long> message() {
        long type = values.rarely(30) ? values.of(0, 3, 4, 5, 6) : Uapi.KVM_IRQ_ROUTING_MSI;
        return List.of(type, values.rarely(15) ? 2 : values.below(2), doorbell(), high(), values.below(4));
    }

    private long doorbell() {
        return values.rarely(5)
                ? values.of(0, ITS - 4, ITS + 0x2_0000, 0xfee00000L)
                : values.of(DOORBELL, DOORBELL, ITS);
    }

    private long high() {
        return values.rarely(12) ? values.of(1, -1) : 0;
    }

    void signal() {
        signal(fds.pick(Kind.VM));
    }

    void signal(long vm) {
        draft.step(call(
                Operation.SIGNAL_MSI,
                vm,
                doorbell(),
                high(),
                values.below(4),
                values.rarely(8) ? values.of(2, -1) : values.of(0, 1, 1, 1)));
    }

    void line() {
        Operation operation = values.rarely(2) ? Operation.IRQ_LINE : Operation.IRQ_LINE_STATUS;
        long kind = values.rarely(10) ? values.of(3, 15) : values.below(3);
        long number = kind == UapiArm64.KVM_ARM_IRQ_TYPE_CPU && !values.rarely(4)
                ? values.below(3)
                : values.rarely(6)
                        ? values.of(0, 15, 255, 256, 1019, 1020, 0xffff)
                        : kind == UapiArm64.KVM_ARM_IRQ_TYPE_PPI ? 16 + values.below(17) : 31 + values.below(34);
        long of = values.rarely(3) ? values.of(1, 2, 16, 255) : 0;
        long second = values.rarely(8) ? values.of(1, 1, 15) : 0;
        long word = second << UapiArm64.KVM_ARM_IRQ_VCPU2_SHIFT
                | kind << UapiArm64.KVM_ARM_IRQ_TYPE_SHIFT
                | of << UapiArm64.KVM_ARM_IRQ_VCPU_SHIFT
                | number;
        long vm = fds.pick(Kind.VM);
        draft.step(call(operation, vm, word, values.of(0, 1, 1, -1)));
        if (values.rarely(3)) {
            draft.step(call(operation, vm, word, values.below(2)));
        }
    }
}
