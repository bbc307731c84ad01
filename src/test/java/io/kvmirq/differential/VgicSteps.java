/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;
import static io.kvmirq.uapi.UapiArm64.*;

import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.Uapi;

/** Steps that make the interrupt controllers of a VM on arm64, and use each group of their attributes, in any order. */
final class VgicSteps {
    /** Pages where the parts of a VGIC may be: those that are usual, one that overlaps, one out of line, one beyond. */
    private static final long[] PLACES = {
        0x800_0000L, 0x800_0000L, 0x801_0000L, ArmSteps.ITS, ArmSteps.ITS, 0x80a_0000L, 0x80a_0000L, 0x80c_0000L
    };

    private static final long[] ODD_PLACES = {
        0x800_1000L,
        0x800_0800L,
        0xffff_ffff_0000L,
        1L << 40,
        (1L << 40) - 0x1_0000,
        (1L << 40) - 0x2_0000,
        1L << 48,
        1L << 32,
        -0x1_0000,
        -1,
        0
    };

    private static final long[] DISTRIBUTOR = {
        0, 0, 4, 8, 8, 0xc, 0x10, 0x80, 0x84, 0x100, 0x104, 0x104, 0x180, 0x184, 0x200, 0x204, 0x204, 0x280, 0x284,
        0x300, 0x304, 0x380, 0x384, 0x400, 0x420, 0x424, 0x800, 0x820, 0xc00, 0xc04, 0xc08, 0xd00, 0xd04, 0xe00, 0xf00,
        0xf10, 0xf20, 0x6100, 0x6100, 0x6104, 0x6108, 0xffd0, 0xffe8, 0xfffc
    };

    private static final long[] REDISTRIBUTOR = {
        0, 0, 4, 8, 0xc, 0x10, 0x14, 0x40, 0x70, 0x70, 0x74, 0x78, 0x78, 0x7c, 0xa0, 0xb0, 0xc0, 0xffe8, 0x1_0080,
        0x1_0100, 0x1_0100, 0x1_0180, 0x1_0200, 0x1_0280, 0x1_0300, 0x1_0380, 0x1_0400, 0x1_0410, 0x1_041c, 0x1_0420,
        0x1_0c00, 0x1_0c04, 0x1_0d00, 0x1_0e00, 0x1_ffff, 0x2_0000
    };

    /** GICv2 CPU interface: GICC_CTLR, PMR, BPR, IAR, EOIR, RPR, ABPR, APR0, IIDR. */
    private static final long[] CPU_INTERFACE = {
        0, 4, 8, 0xc, 0x10, 0x14, 0x1c, 0x2c, 0xd0, 0xd4, 0xdc, 0xe0, 0xfc, 0x1000
    };

    private static final long[] ITS_REGISTERS = {
        0, 4, 8, 0xc, 0x80, 0x88, 0x90, 0x100, 0x108, 0x110, 0x138, 0x140, 0x84, 0x2, 0xfff0, 0x1_0040
    };

    private static final long[] WORDS = {
        0,
        0,
        1,
        2,
        3,
        0x10,
        0x20,
        0x100,
        0xffff_ffffL,
        0x8080_8080L,
        0xf8f8_f8f8L,
        0xaaaa_aaaaL,
        0x1010_1010L,
        0x1_0000,
        0x43b,
        0x143b,
        0x243b,
        0x343b,
        1L << 31,
        1L << 32
    };

    private static final int LAST_GROUP = 10;

    private final Draft draft;
    private final Values values;
    private final Descriptors fds;
    private final ArmSteps arm;
    private final ItsSteps service;
    private final boolean gicv2 = Machine.isGicV2();

    VgicSteps(Draft draft, ArmSteps arm) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
        this.arm = arm;
        this.service = new ItsSteps(draft, arm);
    }

    /** vCPUs and a VGIC, which is at its places and initialized, most of the time. */
    void begin(long vm) {
        long more = values.below(3);
        for (long id = 0; id <= more; id++) {
            long vcpu = arm.createVcpu(vm, id);
            if (!values.rarely(6)) {
                arm.initialize(vcpu, KVM_ARM_TARGET_GENERIC_V8, 4);
            }
        }
        if (values.rarely(4)) {
            return;
        }
        long vgic = create(vm, usual(), 0);
        if (values.rarely(2)) {
            step(Operation.SET_VALUE, vgic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, values.of(64, 96, 256, 992));
        }
        if (values.rarely(3)) {
            // At the end of the addresses, the redistributor of one vCPU more has no room.
            long second = values.rarely(3) ? (1L << 40) - (more + 1) * 0x2_0000 : 0x80a_0000L;
            step(Operation.SET_VALUE, vgic, KVM_DEV_ARM_VGIC_GRP_ADDR, places()[0], PLACES[0]);
            step(Operation.SET_VALUE, vgic, KVM_DEV_ARM_VGIC_GRP_ADDR, places()[1], second);
        }
        if (!values.rarely(4)) {
            initialize(vgic);
        }
        if (!gicv2 && values.rarely(2)) {
            long its = create(vm, KVM_DEV_TYPE_ARM_VGIC_ITS, 0);
            step(Operation.SET_VALUE, its, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, ArmSteps.ITS);
            initialize(its);
            if (values.rarely(2)) {
                service.map(vm, vgic, its);
            }
        }
    }

    /** Commands of an ITS; a GICv2 has none. */
    void command() {
        if (gicv2) {
            register();
        } else {
            service.command();
        }
    }

    private void step(Operation operation, long fd, long group, long number, long value) {
        draft.step(call(operation, fd, group, number, value));
    }

    private void initialize(long fd) {
        step(Operation.SET_VALUE, fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, Side.NOWHERE);
    }

    private long usual() {
        return gicv2 ? KVM_DEV_TYPE_ARM_VGIC_V2 : KVM_DEV_TYPE_ARM_VGIC_V3;
    }

    /** The types of address of distributor and CPU interface or redistributors. */
    private long[] places() {
        return gicv2
                ? new long[] {KVM_VGIC_V2_ADDR_TYPE_DIST, KVM_VGIC_V2_ADDR_TYPE_CPU}
                : new long[] {KVM_VGIC_V3_ADDR_TYPE_DIST, KVM_VGIC_V3_ADDR_TYPE_REDIST};
    }

    void create() {
        long type = values.rarely(8)
                ? values.of(KVM_DEV_TYPE_ARM_VGIC_V2, KVM_DEV_TYPE_ARM_VGIC_V3, 0, 6, 99)
                : values.of(usual(), usual(), KVM_DEV_TYPE_ARM_VGIC_ITS);
        create(fds.pick(Kind.VM), type, values.of(0, 0, 0, 0, 1, 2));
    }

    private long create(long vm, long type, long flags) {
        long to = fds.fresh();
        draft.step(call(Operation.CREATE_DEVICE, to, vm, type, flags));
        boolean made = (flags & Uapi.KVM_CREATE_DEVICE_TEST) == 0;
        if (made && type == usual()) {
            fds.addFrom(Kind.VM, vm, Kind.VGIC, to);
        } else if (made && !gicv2 && type == KVM_DEV_TYPE_ARM_VGIC_ITS) {
            fds.addFrom(Kind.VM, vm, Kind.ITS, to);
        }
        return to;
    }

    private long device() {
        return fds.pick(values.rarely(4) ? Kind.ITS : Kind.VGIC);
    }

    private boolean isIts(long fd) {
        return fds.open(Kind.ITS).contains(fd);
    }

    private Operation operation() {
        return values.rarely(6) ? Operation.HAS_ATTR : values.rarely(3) ? Operation.GET_VALUE : Operation.SET_VALUE;
    }

    private void ask(long fd, long group, long number, long value) {
        Operation operation = operation();
        long given = values.rarely(10) ? Side.NOWHERE : value;
        step(operation, fd, group, number, operation == Operation.HAS_ATTR ? 0 : given);
        if (operation == Operation.SET_VALUE && !values.rarely(3)) {
            step(Operation.GET_VALUE, fd, group, number, value & 0xff);
            if (values.rarely(3)) {
                step(Operation.GET_VALUE, fd, group, number ^ Integer.BYTES, 0);
            }
        }
    }

    /** Group 0: each type of address, on what has it and on what has not. */
    void place() {
        long fd = device();
        long type = isIts(fd) && !values.rarely(6)
                ? KVM_VGIC_ITS_ADDR_TYPE
                : values.rarely(4) ? values.of(0, 1, 2, 3, 4, 5, 5, 6, -1) : values.of(places());
        if (!gicv2 && !isIts(fd) && values.rarely(2)) {
            ask(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, region());
            return;
        }
        ask(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, type, where());
    }

    private long where() {
        return values.rarely(2) ? values.of(ODD_PLACES) : values.of(PLACES);
    }

    /** Index, flags, base and number of redistributors in one word. */
    private long region() {
        long count = values.rarely(6) ? values.of(0, 0xfff) : 1 + values.below(3);
        long flags = values.rarely(12) ? 1L << 12 : 0;
        long index = values.rarely(6) ? values.of(7, 0xff) : values.below(3);
        return where() & 0xf_ffff_ffff_0000L | count << KVM_VGIC_V3_RDIST_COUNT_SHIFT | flags | index;
    }

    /** Init, tables, reset, and how many interrupts. */
    void control() {
        long fd = device();
        if (!isIts(fd) && values.rarely(2)) {
            long count = values.of(0, 31, 32, 64, 65, 96, 256, 992, 1020, 1024, -1, 1L << 32 | 64);
            ask(fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, values.rarely(6) ? 1 : 0, count);
        } else {
            ask(fd, KVM_DEV_ARM_VGIC_GRP_CTRL, values.rarely(3) ? values.of(5, -1) : values.below(5), Side.NOWHERE);
        }
    }

    /** A register of any group that has some. */
    void register() {
        long fd = device();
        if (isIts(fd)) {
            ask(fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, values.of(ITS_REGISTERS), itsValue());
            return;
        }
        long vcpu = vcpu() << KVM_DEV_ARM_VGIC_CPUID_SHIFT;
        switch ((int) values.below(gicv2 ? 4 : 5)) {
            case 0, 1 -> ask(fd, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, vcpu | odd(values.of(DISTRIBUTOR)), values.of(WORDS));
            case 2 -> {
                if (gicv2) {
                    ask(fd, KVM_DEV_ARM_VGIC_GRP_CPU_REGS, vcpu | odd(values.of(CPU_INTERFACE)), values.of(WORDS));
                } else {
                    ask(fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, vcpu | odd(values.of(REDISTRIBUTOR)), values.of(WORDS));
                }
            }
            case 3 -> {
                long info = values.rarely(8) ? 1L << KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT : 0;
                long first = values.rarely(6) ? values.of(1, 16, 33, 992, 1023) : values.of(0, 32, 32, 64, 256);
                ask(fd, KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, vcpu | info | first, values.of(WORDS));
            }
            default -> {
                CpuInterfaceRegister[] all = CpuInterfaceRegister.values();
                long id = values.rarely(12) ? values.of(0, 0xc000, 0xffff) : all[(int) values.below(all.length)].id();
                long value = values.rarely(4) ? values.of(WORDS) : values.of(0, 1, 7, 0xf8, 0xff, 0x400, 0x8402);
                ask(fd, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, vcpu | id, value);
            }
        }
    }

    private long vcpu() {
        return values.rarely(8) ? values.of(3, 8, 0xff, 0x100, -1) : values.of(0, 0, 1);
    }

    private long odd(long offset) {
        return values.rarely(12) ? offset + values.of(1, 2, 4, 0x40) : offset;
    }

    /** Tables and rings of commands are in the memory of the search, or where there is none. */
    private long itsValue() {
        return values.rarely(3)
                ? values.of(WORDS)
                : values.of(
                        0,
                        0x20,
                        0x40,
                        0x1000,
                        1L << 63 | 0x10_0000,
                        1L << 63 | 0x10_1000,
                        1L << 63,
                        1L << 63 | 0x10_0100);
    }

    /** A group that the device may not have, and a number at random. */
    void any() {
        ask(
                device(),
                values.rarely(12) ? -1 : values.below(LAST_GROUP + 1),
                values.of(0, 1, 2, 3, 4, 5, -1),
                values.of(WORDS));
    }

    /** What is pending, enabled and up at the end. */
    void observe() {
        fds.open(Kind.VGIC).forEach(fd -> {
            for (long offset : new long[] {0x104, 0x204, 0x304, 0x420}) {
                step(Operation.GET_VALUE, fd, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset, 0);
            }
            step(Operation.GET_VALUE, fd, KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, 32, 0);
        });
    }
}
