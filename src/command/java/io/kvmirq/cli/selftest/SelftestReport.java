/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.KernelReport;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.Grade;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.selftest.SelftestListener;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A self-test: as text, line by line while it runs, or as JSON when it has ended. */
final class SelftestReport implements SelftestListener {
    private static final int ANSWER_COLUMN = 62;

    private final Terminal terminal;
    private final Kernel kernel;
    private final KernelReport report;
    private final Irqchip irqchip;
    private final Optional<FakeKernel> fake;
    private boolean begun;

    SelftestReport(Terminal terminal, Kernel kernel, Irqchip irqchip, Optional<FakeKernel> fake) {
        this.terminal = terminal;
        this.kernel = kernel;
        this.report = new KernelReport(kernel, terminal);
        this.irqchip = irqchip;
        this.fake = fake;
    }

    @Override
    public void begin(Scenario scenario) {
        if (!begun) {
            begun = true;
            report.line(report.nameAndBinding()
                    + (kernel.isReal() ? " (" + Terminal.printable(kernel.backendDescription()) + ")" : ""));
        }
        report.line("");
        report.line(terminal.bold(KernelReport.padded(scenario.label(), 11)) + scenario.path(irqchip));
    }

    @Override
    public void step(String done, String answer) {
        report.line("  " + KernelReport.padded(done, ANSWER_COLUMN) + " " + answer);
    }

    @Override
    public void end(Result result) {
        if (result.skipped().isPresent()) {
            step(result.skipped().get(), "SKIPPED");
            return;
        }
        result.latency().ifPresent(latency -> step("round trip", text(latency)));
        String counts = "sent " + result.sent() + (irqchip.runsGuest() ? ", answered " : ", seen pending ")
                + result.answered() + ", lost " + result.lost() + (irqchip.runsGuest() ? "" : "; no guest ran");
        String verdict = result.failure()
                .map(failure -> terminal.bad("FAIL") + "  " + failure)
                .orElse(terminal.good("PASS"));
        step(counts, verdict);
    }

    void summary(List<Result> results) {
        long passed = results.stream().filter(Result::passed).count();
        report.line("");
        long skipped =
                results.stream().filter(result -> result.skipped().isPresent()).count();
        report.line(passed + " of " + results.size() + " scenarios passed"
                + (skipped == 0 ? "" : ", " + skipped + " skipped")
                + (irqchip.runsGuest() ? "" : " in the pending state, no guest ran,") + " on the "
                + (kernel.isReal() ? "real kernel" : report.name()));
        fake.ifPresent(kernel -> report.line(rulesUsed(Answers.rules(kernel.rulesUsed()))));
    }

    /** The number of used rules by grade, which shows how much a pass on the fake proves. */
    private static String rulesUsed(Set<Answer> rules) {
        List<String> inferred = inferred(rules).map(Answer::text).toList();
        Map<Grade, Long> counts = rules.stream().collect(Collectors.groupingBy(Answer::grade, Collectors.counting()));
        String surer = Arrays.stream(Grade.values())
                .filter(grade -> grade != Grade.INFERRED && counts.containsKey(grade))
                .map(grade -> counts.get(grade) + " " + grade.label()
                        + (grade.kernel().isEmpty() ? "" : " on " + grade.kernel()))
                .collect(Collectors.joining(", "));
        return "used " + rules.size() + " of the fake's rules: " + surer + "; "
                + (inferred.isEmpty()
                        ? "none inferred"
                        : inferred.size() + " inferred: " + String.join("; ", inferred));
    }

    private static Stream<Answer> inferred(Set<Answer> rules) {
        return rules.stream().filter(rule -> rule.grade() == Grade.INFERRED);
    }

    private static String text(Result.Latency latency) {
        return "min " + micros(latency.min()) + "  p50 " + micros(latency.p50()) + "  p90 " + micros(latency.p90())
                + "  p99 " + micros(latency.p99()) + "  max " + micros(latency.max()) + " µs";
    }

    private static String micros(long nanos) {
        return nanos / 1000 + "." + nanos % 1000 / 100;
    }

    /** Writes one JSON document, {@code kvmirq.selftest/1}. */
    void write(List<Result> results) {
        Json.print(terminal, "kvmirq.selftest/1", json -> {
            report.write(json);
            json.value("irqchip", (irqchip.isVgic() ? Irqchip.VGIC : irqchip).label());
            if (!irqchip.runsGuest()) {
                // Without a guest, interrupts were counted in the pending state.
                json.value("guestRan", false);
            }
            fake.ifPresent(kernel -> json.value(
                    "inferredRules",
                    inferred(Answers.rules(kernel.rulesUsed()))
                            .map(Answer::name)
                            .toList()));
            json.objects("scenarios", results, SelftestReport::write);
        });
    }

    private static void write(Json json, Result result) {
        json.value("name", result.scenario().label())
                .value("passed", result.passed())
                .value("sent", result.sent())
                .value("answered", result.answered())
                .value("lost", result.lost());
        result.latency().ifPresent(latency -> json.value("latencyNanos", latency));
        result.failure().ifPresent(failure -> json.value("failure", failure));
        result.skipped().ifPresent(skipped -> json.value("skipped", skipped));
    }
}
