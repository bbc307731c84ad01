/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.KernelReport;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.forward.Abi2014;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.mirror.Posting;
import io.kvmirq.selftest.ForwardAnswer;
import io.kvmirq.selftest.ForwardPlan;
import io.kvmirq.selftest.ForwardResult;
import io.kvmirq.selftest.ForwardSelftest;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/** Prints the self-test of {@code kvmirq forward} when it has ended: as text with a verdict first, or as JSON. */
final class ForwardText implements ForwardSelftest.Listener {
    /**
     * The interrupts that a self-test would forward; {@code inDevice} is empty if this user may not read the number, {@code
     * count} for all of an unknown number.
     */
    record Planned(IrqKind kind, OptionalInt inDevice, int first, OptionalInt count) {
        @Override
        public String toString() {
            if (kind == IrqKind.INTX) {
                return kind.label();
            }
            if (count.isEmpty()) {
                return kind.label() + ", every vector";
            }
            int last = first + count.getAsInt() - 1;
            return kind.label() + " " + first + (last == first ? "" : "-" + last);
        }
    }

    private final KernelReport kernel;
    private final Terminal terminal;
    private final List<String> lines = new ArrayList<>();
    private boolean guestRuns;
    private boolean saysHow;

    ForwardText(KernelReport kernel, Terminal terminal) {
        this.kernel = kernel;
        this.terminal = terminal;
    }

    /** The steps of a test that does not run. */
    static void plan(String mark, PciAddress device, Planned interrupts, PostingOutlook posting, Terminal terminal) {
        for (String line : List.of(
                device + " is ready for the test; nothing was touched. --selftest would:",
                "  open " + device + ", which resets it",
                "  forward " + interrupts + " into a throwaway VM",
                "  trigger each through VFIO's loopback; the device raises none and cannot do DMA",
                "  release everything; the device stays bound to vfio-pci",
                "posting is " + posting)) {
            terminal.line(mark + line);
        }
    }

    @Override
    public void begin(ForwardPlan plan) {
        guestRuns = plan.guestRuns();
        lines.add(kernel.nameAndBinding());
        lines.add(terminal.bold(plan.device() + "  " + what(plan)) + " → "
                + (guestRuns ? "a throwaway guest" : "a throwaway VGIC; no guest runs")
                + (plan.rounds() > 1 ? ", " + plan.atOnce() + " at a time in " + plan.rounds() + " rounds" : ""));
        plan.abi2014()
                .filter(probe -> probe != Abi2014.Probe.ABSENT || plan.kind() == IrqKind.INTX)
                .ifPresent(probe -> lines.add("direct EOI: " + probe.text()));
    }

    private static String what(ForwardPlan plan) {
        if (plan.kind() == IrqKind.INTX) {
            return "INTx";
        }
        String kind = plan.kind().label();
        if (plan.count() == plan.inDevice()) {
            return plan.count() == 1 ? "the only " + kind + " vector" : "all " + plan.count() + " " + kind + " vectors";
        }
        return kind + " " + plan.first() + (plan.count() == 1 ? "" : "-" + (plan.first() + plan.count() - 1)) + " of "
                + plan.inDevice();
    }

    @Override
    public void answered(ForwardAnswer answer) {
        if (!guestRuns && !saysHow && answer.predicted() instanceof Posting.Posted) {
            saysHow = true;
            lines.add("each interrupt is triggered while KVM delivers its LPI, then forwarded again, because KVM does"
                    + " not show which GICv4 vLPIs are pending");
        }
        String name = answer.kind().label() + (answer.kind() == IrqKind.INTX ? "" : " " + answer.vector());
        String gsi = answer.gsi().map(Gsi::toString).orElse("user space");
        lines.add("  " + KernelReport.padded(name, 10) + " → " + KernelReport.padded(answer.event(), 16) + " → "
                + KernelReport.padded(gsi, 8) + " → "
                + KernelReport.padded(answer.target(), 11) + "  " + arrived(answer) + "  "
                + KernelReport.padded(answer.mechanism().label(), 8) + "  " + posting(answer.predicted()));
    }

    /** The prediction in a word or two; {@link #end} prints the reason once for all vectors with it. */
    static String posting(Posting predicted) {
        return predicted instanceof Posting.Posted
                ? "posted"
                : predicted instanceof Posting.NotPosted ? "not posted" : "posting unknown";
    }

    private static String reason(Posting predicted) {
        return predicted instanceof Posting.Posted posted
                ? "posted" + posted.note().map(note -> "; " + note).orElse("")
                : predicted instanceof Posting.Unknown unknown
                        ? unknown.reason()
                        : "not posted because " + ((Posting.NotPosted) predicted).reason();
    }

    private void reasons(List<ForwardAnswer> answers) {
        Map<String, List<ForwardAnswer>> having = answers.stream()
                .collect(Collectors.groupingBy(
                        answer -> reason(answer.predicted()), LinkedHashMap::new, Collectors.toList()));
        having.forEach((reason, which) -> {
            boolean all = having.size() == 1 && which.size() > 1;
            Posting predicted = which.get(0).predicted();
            boolean known = !(predicted instanceof Posting.Unknown);
            lines.add((known
                            ? "predicted for " + (all ? "all" : named(which)) + ": "
                            : "no prediction for " + (all ? "any of them" : named(which)) + ": ")
                    + reason);
            if (predicted instanceof Posting.NotPosted not) {
                lines.add("  do: " + not.remedy());
            }
        });
    }

    private static String named(List<ForwardAnswer> answers) {
        if (answers.get(0).kind() == IrqKind.INTX) {
            return IrqKind.INTX.label();
        }
        List<String> runs = new ArrayList<>();
        for (int i = 0; i < answers.size(); ) {
            int first = answers.get(i).vector();
            int last = first;
            for (i++; i < answers.size() && answers.get(i).vector() == last + 1; i++) {
                last++;
            }
            runs.add(first == last ? String.valueOf(first) : first + "-" + last);
        }
        return answers.get(0).kind().label() + " " + String.join(", ", runs);
    }

    private String arrived(ForwardAnswer answer) {
        String how = guestRuns ? "answered" : "pending in the VGIC";
        if (answer.passed()) {
            return terminal.good(how);
        }
        return terminal.bad(answer.arrived() == 0 ? "NOT " + how : how + " " + answer.arrived() + " times, expected 1");
    }

    /** @param left handles or irqs that are left */
    void end(ForwardResult result, List<String> left) {
        kernel.line(headline(result, left));
        reasons(result.answers());
        result.failure().ifPresent(failure -> lines.add(terminal.bad("FAIL") + "  " + failure));
        left.forEach(part -> lines.add(terminal.bad("LEFT") + "  " + part));
        int count = result.plan().count();
        lines.add(result.answered() + " of " + count + (count == 1 ? " interrupt" : " interrupts")
                + (guestRuns ? " answered" : " seen pending, no guest ran") + ", "
                + (left.isEmpty() ? "nothing left behind" : "something left behind") + ": "
                + (result.passed() && left.isEmpty() ? terminal.good("PASS") : terminal.bad("FAIL")));
        lines.forEach(kernel::line);
    }

    /** The verdict in one sentence, for readers who know no link. */
    private String headline(ForwardResult result, List<String> left) {
        int count = result.plan().count();
        String who = (count == 1 ? "interrupt of " : "interrupts of ")
                + result.plan().device();
        String all = (count == 1 ? "the " : count == 2 ? "both " : "all " + count + " ") + who;
        String where = guestRuns ? " reached the guest" : " reached the VGIC (no guest ran)";
        if (result.answered() < count) {
            return terminal.bad("only " + result.answered() + " of " + count + " " + who + where
                    + result.failure().map(failure -> ": " + failure).orElse("; see the lines marked NOT"));
        }
        if (!result.passed() || !left.isEmpty()) {
            return terminal.bad("the test failed, though " + all + where
                    + ": " + (left.isEmpty() ? "" : "something was left behind, ")
                    + result.failure().orElse("see below"));
        }
        long posted = result.answers().stream()
                .filter(answer -> answer.predicted() instanceof Posting.Posted)
                .count();
        boolean sure = result.answers().stream().noneMatch(answer -> answer.predicted() instanceof Posting.Unknown);
        String how = posted == count
                ? "; hardware will deliver the device's own interrupts (posted)"
                : posted == 0 && sure ? "; KVM will deliver the device's own interrupts (not posted)" : "";
        return terminal.good(all + where + how);
    }

    static void write(HostFacts host, Kernel kernel, ForwardResult result, List<String> left, Terminal terminal) {
        Json.print(terminal, "forward", host, json -> kernel(kernel, json)
                .record(result.plan())
                .objects("vectors", result.answers(), ForwardText::write)
                .value("answered", result.answered())
                .value("passed", result.passed() && left.isEmpty())
                .value("failure", result.failure())
                .value("left", left));
    }

    /** The steps of a test, or the reason why it would be refused. */
    static void writePlan(
            HostFacts host,
            boolean fake,
            PciAddress device,
            Optional<Planned> interrupts,
            PostingOutlook posting,
            Optional<String> refusal,
            Terminal terminal) {
        Json.print(terminal, "forward", host, json -> json.value("fake", fake)
                .value("device", device)
                .value("plan", interrupts)
                .value("posting", posting)
                .value("failure", refusal));
    }

    /** The document of a test that could not run. */
    static void writeRefusal(HostFacts host, Kernel kernel, PciAddress device, String failure, Terminal terminal) {
        Json.print(terminal, "forward", host, json -> kernel(kernel, json)
                .value("device", device)
                .value("passed", false)
                .value("failure", failure));
    }

    private static Json kernel(Kernel kernel, Json json) {
        return json.value("fake", !kernel.isReal()).value("backend", kernel.backendName());
    }

    /** "posted" is true, false, or null if it cannot be predicted. */
    private static void write(Json json, ForwardAnswer answer) {
        Posting posting = answer.predicted();
        json.value("vector", answer.vector())
                .value("eventfd", answer.event())
                .value("gsi", answer.gsi())
                .value("guest", answer.target())
                .value("arrived", answer.arrived())
                .value("mechanism", answer.mechanism())
                .object("predicted", to -> to.value(
                                "posted",
                                Optional.of(posting)
                                        .filter(known -> !(known instanceof Posting.Unknown))
                                        .map(Posting.Posted.class::isInstance))
                        .value("text", posting.text()));
    }
}
