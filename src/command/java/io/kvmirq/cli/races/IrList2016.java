/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.amd.model.AvicHost;
import io.kvmirq.arch.amd.model.AvicIrqfd;
import io.kvmirq.arch.amd.model.AvicVm;
import io.kvmirq.arch.amd.model.GaUnit;
import io.kvmirq.arch.vcpu.Host;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * The entry on the lists of two vCPUs, a bug found in review in 2016, in steps. They are played with and without the
 * repair; the rest is Linux 6.17 and later.
 *
 * <p>Source: the thread "[PART2 PATCH v6 12/12] svm: Implements update_pi_irte hook to setup posted interrupt" of
 * August 2016.
 */
final class IrList2016 {
    private IrList2016() {}

    static final int VECTOR = 0x41;

    private static final int LOG_VECTOR = 0x30;
    private static final int ENTRY = 0;

    /**
     * One kernel. vCPU 0 is loaded on CPU 0, vCPU 1 sleeps, and the interrupt of the device is posted to vCPU 0. Each
     * irqfd has a node of its own on a list. So a second one for the same entry is the node that is not removed.
     */
    static final class Side implements Race.Side {
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

        @Override
        public String state() {
            return String.format("%-4d %-5d %-5d %-5d ", entry().toArray());
        }

        @Override
        public Race.Outcome outcome() {
            return isLost() ? new Race.Outcome(true, "sleeps for ever: LOST") : new Race.Outcome(false, "awake: KEPT");
        }

        private String request() {
            return unit.request(ENTRY).name().toLowerCase(Locale.ROOT);
        }
    }

    /** The losing order, then what the entry does after it. With the repair vCPU 1 is woken. */
    static List<Race.Step<Side>> steps() {
        return List.of(
                Race.Step.of("guest", "moves the interrupt to vCPU 1", side -> {
                    side.moved.post(side.vm.vcpu(1), new InterruptVector(VECTOR));
                    return side.isOnBothLists() ? "on lists 0, 1" : "on list 1";
                }),
                Race.Step.of("vcpu 0", "is preempted: updates its list", side -> {
                    side.vm.vcpu(0).thread().preempt();
                    return side.isOnBothLists() ? "wrong vCPU" : "list empty";
                }),
                Race.Step.of("device", "requests 0x41: sets it in vCPU 1's IRR", Side::request),
                Race.Step.of("vcpu 0", "runs again: updates its list", side -> {
                    side.vm.vcpu(0).thread().load(0);
                    return side.isOnBothLists() ? "wrong CPU" : "list empty";
                }),
                Race.Step.of("cpu 0", "takes the GA log's interrupt, if any", side -> {
                    boolean interrupted = side.host.cpu(0).isInterrupted();
                    side.host.cpu(0).takeInterrupt();
                    return interrupted ? "wakes vCPU 1" : "none";
                }),
                Race.Step.of("device", "requests 0x41 again", Side::request));
    }

    /** The forms of the thread, those of later kernels, and what the model of these finds. */
    static List<Race.Finding> repairs() {
        return List.of(
                Race.Finding.loses(
                        "the node is in the entry's data and is added again",
                        "as posted: the old list then runs into the new one, and its walk leaves it"),
                Race.Finding.loses(
                        "each list has a node of its own and the old one stays",
                        "the form before: the old vCPU writes its own state into the entry, as above"),
                Race.Finding.loses(
                        "an entry that is on a list is not added again",
                        "the new vCPU never updates the entry, and the old one still does"),
                Race.Finding.loses(
                        "is it on a list, and the insertion, under two locks",
                        "the new vCPU is loaded or put between the two, and two threads both insert"),
                Race.Finding.loses(
                        "the entry is written, then leaves the old list",
                        "Linux 6.5 to 6.16: the old vCPU is loaded between the two and writes its own CPU"),
                Race.Finding.keeps(
                        "the entry leaves the old list, then is written and linked under the new list's lock",
                        "Linux 6.17: one vCPU at most writes the entry"));
    }

    static Race race() {
        return new Race(
                "ir-list-2016",
                "AVIC as posted in 2016 leaves an entry on the list of its old vCPU, which then writes it (AMD"
                        + " posting).",
                """
                Each vCPU has a list of the remapping entries that are posted to it. At each load and put it writes them. IsRun: a
                request rings the doorbell of the CPU in Destination. Otherwise GALogIntr: a request is logged, and KVM wakes the
                vCPU. Otherwise the request is silent. vCPU 0 is loaded on CPU 0, vCPU 1 sleeps, and the entry is posted to vCPU 0.
                """,
                "today's kernel without the repair",
                "today's kernel",
                "vCPU IsRun Dest. GALog",
                IrList2016::parts);
    }

    private static List<Race.Part> parts() {
        List<Race.Part> parts = new ArrayList<>();
        parts.add(new Race.Play<>("vcpu 1", new Side(false), new Side(true), steps()));
        parts.add(new Race.Text(
                "How an entry is added, and whether some order loses an interrupt, though the device is masked"
                        + " meanwhile:"));
        parts.addAll(repairs());
        parts.add(new Race.End(
                "In the sources, make races searches every order. It also shows the interrupts that an unmasked"
                        + " device can lose."));
        return parts;
    }
}
