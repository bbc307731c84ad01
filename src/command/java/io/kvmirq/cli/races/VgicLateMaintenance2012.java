/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.model.Distributor;
import io.kvmirq.arch.gic.model.InterruptState;
import io.kvmirq.arch.gic.model.SyncSteps;
import io.kvmirq.arch.gic.model.VirtualInterface;
import java.util.ArrayList;
import java.util.List;

/**
 * The late maintenance interrupt of a VGIC, a race found in review in 2012, in steps. They are played with and without
 * the repair.
 *
 * <p>Source: the thread "[PATCH v4 07/13] ARM: KVM: VGIC virtual CPU interface management" of December 2012.
 */
final class VgicLateMaintenance2012 {
    private VgicLateMaintenance2012() {}

    /** The level-triggered interrupt that waits. */
    static final int SPI = 34;

    /** One kernel. Its guest has taken a level-triggered SPI, whose line stays high. */
    static final class Side implements Race.Side {
        private final boolean repaired;
        private final Distributor gic = Distributor.gicv2(1, 32, vcpu -> {});
        private final VirtualInterface registers = VirtualInterface.of(gic, 0, 4);
        private final SyncSteps steps = new SyncSteps(registers);
        private boolean sleeps;

        Side(boolean repaired) {
            this.repaired = repaired;
            gic.set(InterruptState.LEVEL, 0, 32, 1 << SPI);
            gic.set(InterruptState.ENABLED, 0, 32, 1 << SPI);
            gic.raise(0, SPI);
            registers.syncToCpu();
            setState(2);
        }

        /** Changes the list register as hardware does while the guest runs. */
        private void setState(long state) {
            registers.setListRegister(0, ListRegister.STATE.put(registers.listRegister(0), state));
        }

        boolean isFlagged() {
            return gic.isFlagged(0);
        }

        /** The state of the list register, or what its interrupt waits for. */
        String register() {
            long word = registers.listRegister(0);
            return ListRegister.isSpent(word)
                    ? "ended"
                    : ListRegister.STATE.isSet(word) ? ListRegister.STATE.meaning(new long[] {word}) : "empty";
        }

        @Override
        public String state() {
            return String.format("%-8s %-5d ", register(), isFlagged() ? 1 : 0);
        }

        @Override
        public Race.Outcome outcome() {
            return isLost()
                    ? new Race.Outcome(true, "sleeps: LOST until another interrupt")
                    : new Race.Outcome(false, "has SPI 34 in LR0: KEPT");
        }

        /** Whether the vCPU sleeps with the line high and nothing in its list registers. */
        boolean isLost() {
            return sleeps && gic.pending(0, 32) != 0;
        }
    }

    /** The losing order. With the repair the interrupt waits until the vCPU is in its guest, which then exits. */
    static List<Race.Step<Side>> steps() {
        return List.of(
                Race.Step.of("guest", "ends SPI 34, its line is high", side -> {
                    side.setState(0);
                    return "EISR 0x" + Long.toHexString(side.registers.ended());
                }),
                Race.Step.silent("vcpu", "exits: sets its flag, LR0 is not free", side -> side.registers.syncFromCpu()),
                Race.Step.of("vcpu", "queues what is pending", side -> side.steps.queue() ? "all queued" : "overflow"),
                Race.Step.of("cpu", "late maintenance interrupt", side -> {
                    if (!side.repaired) {
                        side.registers.maintain();
                    }
                    return side.repaired ? "waits: interrupts off" : "SPI 34 pending";
                }),
                Race.Step.silent("vcpu", "clears its flag: all is queued", side -> side.steps.settle()),
                Race.Step.silent("vcpu", "enters the guest", side -> {}),
                Race.Step.of("cpu", "takes the interrupt that waited", side -> {
                    if (side.repaired) {
                        side.registers.syncFromCpu();
                        side.registers.maintain();
                        side.registers.syncToCpu();
                    }
                    return side.repaired ? "exit, queue, entry" : "none";
                }),
                Race.Step.of("guest", "waits for an interrupt (WFI)", side -> {
                    side.registers.syncFromCpu();
                    side.sleeps = !side.isFlagged();
                    return side.sleeps ? "flag clear: sleeps" : "flag set: awake";
                }));
    }

    /** The answers of the thread, then three of ours, and what the model of each finds. */
    static List<Race.Finding> findings() {
        return List.of(
                Race.Finding.keeps(
                        "the distributor's lock is taken with interrupts off (spin_lock_irqsave)",
                        "the repair: the handler comes before both steps or after both"),
                Race.Finding.keeps(
                        "the exit and the late handler both set the flag",
                        "setting it twice is harmless: the vCPU looks once more"),
                Race.Finding.loses(
                        "the sources of an SGI are collapsed into one interrupt",
                        "SGIs of two CPUs are two interrupts: the guest never sees the second sender"),
                Race.Finding.keeps(
                        "the interrupt is so late that another vCPU, or none, is on the CPU; it is level-sensitive",
                        "the handler meets the wrong vCPU or none, and the level is raised again when the vCPU's list"
                                + " registers are loaded"),
                Race.Finding.loses(
                        "the same, and hardware raises it once",
                        "the thread's remark: \"messing with the wrong vcpu, or no vcpu at all\"; nothing else frees the"
                                + " list register"),
                new Race.Finding(
                        true,
                        "waits",
                        "ours: interrupts are on, and each entry looks at pending interrupts, whatever the flag is",
                        "the guest gets SPI 34 a round later, at its next entry"),
                Race.Finding.loses(
                        "ours: interrupts are off, and the flag is cleared after the lock is given back",
                        "a sender on another CPU comes between"),
                Race.Finding.keeps(
                        "ours: each exit looks at EISR itself, as KVM does since it was merged in 2013",
                        "the handler has nothing left to do"));
    }

    static Race race() {
        return new Race(
                "vgic-late-maintenance",
                "KVM on ARM as posted in 2012 forgets a level that a late maintenance interrupt makes pending (VGIC).",
                """
                Before a vCPU enters its guest, KVM puts pending interrupts into list registers (LR). If all are queued, it clears
                the vCPU's flag, without which the vCPU may sleep. The end of a level-triggered interrupt raises a maintenance
                interrupt, and EISR names its LR. The handler frees the LR and sets the flag if the line is high. Until then the
                interrupt is not queued again. SPI 34 is active in LR0.
                """,
                "as posted, interrupts on",
                "interrupts off",
                "LR0      flag",
                VgicLateMaintenance2012::parts);
    }

    private static List<Race.Part> parts() {
        List<Race.Part> parts = new ArrayList<>();
        parts.add(new Race.Play<>("vcpu", new Side(false), new Side(true), steps()));
        parts.add(new Race.Text("""
            As posted, an entry with a clear flag queues nothing. So a guest that does not sleep waits, too: until another
            interrupt of its vCPU, or an exit with an LR in use, sets the flag. The review on the mailing list ("[PATCH v4
            07/13] ARM: KVM: VGIC virtual CPU interface management", December 2012) expects that the interrupt is lost for a
            round, an exit and an entry: "Probably not fatal".

            What the search finds of each answer of the review, and of three forms of ours:
            keeps: no order loses an interrupt. waits: an order delivers it a round later. loses: an order loses it.\
            """));
        parts.addAll(findings());
        parts.add(new Race.End("In the sources, make races searches every order."));
        return parts;
    }
}
