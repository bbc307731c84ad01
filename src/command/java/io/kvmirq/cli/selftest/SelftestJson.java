/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.KernelReport;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.Grade;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Result;
import java.util.List;
import java.util.Optional;

/** Writes a self-test as one JSON document, {@code kvmirq.selftest/1}. */
final class SelftestJson {
    private SelftestJson() {}

    static void write(
            KernelReport kernel, Irqchip irqchip, Optional<FakeKernel> fake, List<Result> results, Terminal terminal) {
        Json.print(terminal, "kvmirq.selftest/1", json -> {
            kernel.write(json);
            json.text("irqchip", (irqchip.isVgic() ? Irqchip.VGIC : irqchip).label());
            if (!irqchip.runsGuest()) {
                // Without a guest, interrupts were counted in the pending state.
                json.flag("guestRan", false);
            }
            fake.ifPresent(one -> json.texts(
                    "inferredRules",
                    Answers.rules(one.rulesUsed()).stream()
                            .filter(rule -> rule.grade() == Grade.INFERRED)
                            .map(Answer::name)
                            .toList()));
            json.objects("scenarios", results, SelftestJson::write);
        });
    }

    private static void write(Json json, Result result) {
        json.text("name", result.scenario().label())
                .flag("passed", result.passed())
                .number("sent", result.sent())
                .number("answered", result.answered())
                .number("lost", result.lost());
        result.latency()
                .ifPresent(latency -> json.object("latencyNanos", nanos -> nanos.number("min", latency.min())
                        .number("p50", latency.p50())
                        .number("p90", latency.p90())
                        .number("p99", latency.p99())
                        .number("max", latency.max())));
        result.failure().ifPresent(failure -> json.text("failure", failure));
        result.skipped().ifPresent(skipped -> json.text("skipped", skipped));
    }
}
