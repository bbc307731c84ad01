/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.amd.model.AvicHost;
import io.kvmirq.arch.amd.model.AvicIrqfd;
import io.kvmirq.arch.amd.model.AvicVm;
import io.kvmirq.arch.amd.model.GaUnit;
import io.kvmirq.arch.vcpu.Host;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * The entry on the lists of two vCPUs, a bug found in review in 2016, in steps. They are played with and without the
 * repair; the rest is Linux 6.17 and later.
 *
 * <p>Source: the thread "[PART2 PATCH v6 12/12] svm: Implements update_pi_irte hook to setup posted interrupt" of August
 * 2016.
 */
final class IrList2016 implements Race {
    /** The vector that is lost. */
    static final int VECTOR = 0x41;

    private static final int LOG_VECTOR = 0x30;
    private static final int ENTRY = 0;

    @Override
    public String name() {
        return "ir-list-2016";
    }

    @Override
    public String summary() {
        return "AVIC as posted in 2016 leaves an entry on the list of its old vCPU, which then writes it (AMD"
                + " posting).";
    }

    /**
     * One kernel. vCPU 0 is loaded on CPU 0, vCPU 1 sleeps, and the interrupt of the device is posted to vCPU 0. Each
     * irqfd has a node of its own on a list. So a second one for the same entry is the node that is not removed.
     */
    static final class Side {
        private final Host host = new Host(0, 1);
        private final AvicHost avic = new AvicHost(host, AvicKernel.FROM_6_17, true);
        private final GaUnit unit = new GaUnit(avic, new GaUnit.Setup(1, 8, LOG_VECTOR, true, true));
        private final AvicVm vm = new AvicVm(avic, 2, 2, 0x1000);
        private final AvicIrqfd irqfd = vm.irqfd(unit, ENTRY);
        private final AvicIrqfd moved;

        Side(boolean repaired) {
            unit.set(ENTRY, 0x1, 0x22, 0x4100, true);
            moved = repaired ? irqfd : vm.irqfd(unit, ENTRY);
            vm.vcpu(0).thread().load(0);
            vm.vcpu(1).thread().load(1);
            vm.vcpu(1).thread().block(true);
            irqfd.post(vm.vcpu(0), new InterruptVector(VECTOR));
        }

        /** The fields of the entry that posting changes: the vCPU, IsRun, Destination and GALogIntr. */
        List<Long> entry() {
            long low = unit.low(ENTRY);
            return List.of(
                    GaTag.VCPU.of(GaIrte.GA_TAG.of(low)),
                    GaIrte.IS_RUN.of(low),
                    GaIrte.DESTINATION.of(low, unit.high(ENTRY)),
                    GaIrte.GA_LOG_INTR.of(low));
        }

        boolean isOnBothLists() {
            return irqfd != moved && irqfd.vcpu().isPresent() && moved.vcpu().isPresent();
        }

        /** Whether vCPU 1 sleeps with the vector in its IRR. */
        boolean isLost() {
            return vm.vcpu(1).thread().isAsleep() && vm.vcpu(1).hasInterrupt();
        }

        private String request() {
            return unit.request(ENTRY).name().toLowerCase(Locale.ROOT);
        }
    }

    /** What a step does. */
    @FunctionalInterface
    interface Action {
        /** @return the text to print beside the entry */
        String on(Side side);
    }

    /** One step of the order. */
    record Step(String actor, String what, Action action) {}

    /** The losing order, then what the entry does after it. With the repair vCPU 1 is woken. */
    static List<Step> steps() {
        return List.of(
                new Step("guest", "moves the interrupt to vCPU 1", side -> {
                    side.moved.post(side.vm.vcpu(1), new InterruptVector(VECTOR));
                    return side.isOnBothLists() ? "on lists 0, 1" : "on list 1";
                }),
                new Step("vcpu 0", "is preempted: updates its list", side -> {
                    side.vm.vcpu(0).thread().preempt();
                    return side.isOnBothLists() ? "wrong vCPU" : "list empty";
                }),
                new Step("device", "requests 0x41: sets it in vCPU 1's IRR", Side::request),
                new Step("vcpu 0", "runs again: updates its list", side -> {
                    side.vm.vcpu(0).thread().load(0);
                    return side.isOnBothLists() ? "wrong CPU" : "list empty";
                }),
                new Step("cpu 0", "takes the GA log's interrupt, if any", side -> {
                    boolean interrupted = side.host.cpu(0).isInterrupted();
                    side.host.cpu(0).takeInterrupt();
                    return interrupted ? "wakes vCPU 1" : "none";
                }),
                new Step("device", "requests 0x41 again", Side::request));
    }

    /**
     * A way to add an entry to a list.
     *
     * @param loses whether an order loses an interrupt, though the device is masked while it moves
     * @param why one sentence
     */
    record Repair(String what, boolean loses, String why) {}

    /** The forms of the thread, those of later kernels, and what the model of these finds. */
    static List<Repair> repairs() {
        return List.of(
                new Repair(
                        "the node is in the entry's data and is added again",
                        true,
                        "as posted: the old list then runs into the new one, and its walk leaves it"),
                new Repair(
                        "each list has a node of its own and the old one stays",
                        true,
                        "the form before: the old vCPU writes its own state into the entry, as above"),
                new Repair(
                        "an entry that is on a list is not added again",
                        true,
                        "the new vCPU never updates the entry, and the old one still does"),
                new Repair(
                        "is it on a list, and the insertion, under two locks",
                        true,
                        "the new vCPU is loaded or put between the two, and two threads both insert"),
                new Repair(
                        "the entry is written, then leaves the old list",
                        true,
                        "Linux 6.5 to 6.16: the old vCPU is loaded between the two and writes its own CPU"),
                new Repair(
                        "the entry leaves the old list, then is written and linked under the new list's lock",
                        false,
                        "Linux 6.17: one vCPU at most writes the entry"));
    }

    @Override
    public void play(RacePrinter printer) {
        printer.text("""
            Each vCPU has a list of the remapping entries that are posted to it. At each load and put it writes them. IsRun: a
            request rings the doorbell of the CPU in Destination. Otherwise GALogIntr: a request is logged, and KVM wakes the
            vCPU. Otherwise the request is silent. vCPU 0 is loaded on CPU 0, vCPU 1 sleeps, and the entry is posted to vCPU 0.

            """);
        Side was = new Side(false);
        Side is = new Side(true);
        printer.head("today's kernel without the repair", "today's kernel", "vCPU IsRun Dest. GALog");
        for (Step step : steps()) {
            printer.row(step.actor(), step.what(), play(was, step), play(is, step));
        }
        printer.outcome("vcpu 1", was.isLost(), outcome(was), is.isLost(), outcome(is));
        printer.text("How an entry is added, and whether some order loses an interrupt, though the device is masked"
                + " meanwhile:");
        for (Repair repair : repairs()) {
            printer.verdict(repair.loses(), repair.loses() ? "loses" : "keeps", repair.what(), repair.why());
        }
        printer.end("In the sources, make races searches every order. It also shows what a device can lose that is not"
                + " masked.");
    }

    private static String play(Side side, Step step) {
        String seen = step.action().on(side);
        return String.format(
                "%-4d %-5d %-5d %-5d %s",
                Stream.concat(side.entry().stream(), Stream.of(seen)).toArray());
    }

    private static String outcome(Side side) {
        return side.isLost() ? "sleeps for ever: LOST" : "awake: KEPT";
    }
}
