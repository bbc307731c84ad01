/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;
import static io.kvmirq.uapi.UapiArm64.*;

import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.model.EmulatedIts;
import io.kvmirq.differential.Descriptors.Kind;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Steps that give an ITS its tables and commands, as a guest does. */
final class ItsSteps {
    private static final int FIRST_LPI = 8192;
    /** Where the tables of the events of a device are. */
    private static final long EVENTS = ArmSide.TABLES_AT + ArmSide.PROPERTIES + 0x8000;

    private final Draft draft;
    private final Values values;
    private final Descriptors fds;
    private final ArmSteps arm;
    /** The VM of each ITS that has tables. */
    private final Map<Long, Long> vms = new LinkedHashMap<>();

    ItsSteps(Draft draft, ArmSteps arm) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
        this.arm = arm;
    }

    private void step(Operation operation, long fd, long group, long number, long value) {
        draft.step(call(operation, fd, group, number, value));
    }

    /** Tables in memory, LPIs switched on, and commands that map events. */
    void map(long vm, long vgic, long its) {
        vms.put(its, vm);
        draft.step(call(Operation.TABLES, vm));
        step(
                Operation.SET_VALUE,
                vgic,
                KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
                0x70,
                ArmSide.TABLES_AT + ArmSide.PROPERTIES | 0xf);
        for (long vcpu = 0; vcpu < 2; vcpu++) {
            long of = vcpu << KVM_DEV_ARM_VGIC_CPUID_SHIFT;
            step(
                    Operation.SET_VALUE,
                    vgic,
                    KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
                    of | 0x78,
                    ArmSide.TABLES_AT + ArmSide.RING);
            step(Operation.SET_VALUE, vgic, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, of, 1);
        }
        step(
                Operation.SET_VALUE,
                its,
                KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
                EmulatedIts.BASER_DEVICES,
                EmulatedIts.VALID | ArmSide.TABLES_AT);
        step(
                Operation.SET_VALUE,
                its,
                KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
                EmulatedIts.BASER_COLLECTIONS,
                EmulatedIts.VALID | ArmSide.TABLES_AT + ArmSide.COLLECTIONS);
        commands(
                its,
                ItsCommand.mapDevice(0, 2, EVENTS),
                ItsCommand.mapCollection(0, (int) values.below(2)),
                ItsCommand.mapEvent(0, 0, FIRST_LPI, 0),
                ItsCommand.mapEvent(0, 1, FIRST_LPI + 1, 0));
    }

    /** The ring begins anew; the ITS takes it all when it is switched on. */
    private void commands(long its, long[]... all) {
        List<Call> calls = new ArrayList<>();
        calls.add(call(Operation.SET_VALUE, its, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, EmulatedIts.CTLR, 0));
        calls.add(call(
                Operation.SET_VALUE,
                its,
                KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
                EmulatedIts.CBASER,
                EmulatedIts.VALID | ArmSide.TABLES_AT + ArmSide.RING));
        for (int i = 0; i < all.length; i++) {
            calls.add(call(Operation.COMMAND, i, all[i][0], all[i][1], all[i][2]));
        }
        calls.add(call(Operation.SET_VALUE, its, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, EmulatedIts.CTLR, 1));
        calls.add(call(
                Operation.SET_VALUE,
                its,
                KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
                EmulatedIts.CWRITER,
                (long) all.length * ItsCommand.SIZE));
        calls.add(call(Operation.GET_VALUE, its, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, EmulatedIts.CREADR, 0));
        draft.step(calls);
    }

    /** One command of an ITS, or two, and often a message of an event. */
    void command() {
        List<Long> ready =
                vms.keySet().stream().filter(fds.open(Kind.ITS)::contains).toList();
        long its =
                ready.isEmpty() || values.rarely(4) ? fds.pick(Kind.ITS) : ready.get((int) values.below(ready.size()));
        if (values.rarely(2)) {
            commands(its, drawn());
        } else {
            commands(its, drawn(), drawn());
        }
        for (long messages = values.below(3); messages > 0; messages--) {
            arm.signal(vms.getOrDefault(its, fds.pick(Kind.VM)));
        }
    }

    private long[] drawn() {
        int device = values.rarely(12) ? 0x1_0000 : values.rarely(4) ? 1 : 0;
        int event = values.rarely(12) ? 4 : (int) values.below(4);
        int collection = values.rarely(12) ? 0xffff : (int) values.below(2);
        return switch ((int) values.below(10)) {
            case 0 -> ItsCommand.mapDevice(device, 2, EVENTS + 0x100L * device);
            case 1 -> ItsCommand.mapCollection(collection, values.rarely(6) ? 7 : (int) values.below(2));
            case 2, 3 -> {
                int lpi = values.rarely(8) ? (int) values.of(0, 8191, 1 << 16) : FIRST_LPI + event;
                yield ItsCommand.mapEvent(device, event, lpi, collection);
            }
            case 4 -> ItsCommand.INT.ofEvent(device, event);
            case 5 -> ItsCommand.CLEAR.ofEvent(device, event);
            case 6 -> ItsCommand.DISCARD.ofEvent(device, event);
            case 7 -> ItsCommand.INV.ofEvent(device, event);
            // What is mapped is unmapped: without the valid bit.
            case 8 -> without(ItsCommand.mapDevice(device, 2, EVENTS));
            default ->
                values.rarely(2)
                        ? without(ItsCommand.mapCollection(collection, 0))
                        : new long[] {values.below(17), event, collection, 0};
        };
    }

    private static long[] without(long[] command) {
        command[2] &= Long.MAX_VALUE;
        return command;
    }
}
