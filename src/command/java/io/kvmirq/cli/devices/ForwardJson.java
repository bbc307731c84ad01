/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.KernelReport;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.mirror.Posting;
import io.kvmirq.selftest.ForwardAnswer;
import io.kvmirq.selftest.ForwardPlan;
import io.kvmirq.selftest.ForwardResult;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;

/** Writes the self-test of {@code kvmirq forward} as one JSON document, {@code kvmirq.forward/2}. */
final class ForwardJson {
    private static final String SCHEMA = "kvmirq.forward/2";

    private ForwardJson() {}

    static void write(KernelReport kernel, ForwardResult result, List<String> left, Terminal terminal) {
        ForwardPlan plan = result.plan();
        Json.print(terminal, SCHEMA, json -> {
            kernel.write(json);
            json.text("device", plan.device())
                    .text("kind", plan.kind().name().toLowerCase(Locale.ROOT))
                    .number("inDevice", plan.inDevice())
                    .number("first", plan.first())
                    .number("count", plan.count())
                    .number("atOnce", plan.atOnce())
                    .flag("guestRan", plan.guestRuns())
                    .text("abi2014", plan.abi2014().map(probe -> probe.name().toLowerCase(Locale.ROOT)))
                    .objects("vectors", result.answers(), ForwardJson::write)
                    .number("answered", result.answered())
                    .flag("passed", result.passed() && left.isEmpty());
            result.failure().ifPresent(failure -> json.text("failure", failure));
            json.texts("left", left);
        });
    }

    /** The steps of a test, or the reason why it would be refused. */
    static void plan(
            boolean fake,
            PciAddress device,
            Optional<PlannedIrqs> interrupts,
            PostingOutlook posting,
            Optional<String> refusal,
            Terminal terminal) {
        Json.print(terminal, "kvmirq.forward-plan/2", json -> json.text("kernel", fake ? "fake" : "real")
                .text("device", device.toString())
                .text("kind", interrupts.map(irqs -> irqs.kind().name().toLowerCase(Locale.ROOT)))
                .number("inDevice", number(interrupts, PlannedIrqs::inDevice))
                .number("first", number(interrupts, irqs -> OptionalInt.of(irqs.first())))
                .number("count", number(interrupts, PlannedIrqs::count))
                .object("posting", one -> VfioJson.write(posting, one))
                .text("refusal", refusal));
    }

    private static OptionalInt number(Optional<PlannedIrqs> irqs, Function<PlannedIrqs, OptionalInt> part) {
        return irqs.map(part).orElse(OptionalInt.empty());
    }

    /** The document of a test that could not run: values that only a test can find are null. */
    static void refused(KernelReport kernel, PciAddress device, String failure, Terminal terminal) {
        Json.print(terminal, SCHEMA, json -> {
            kernel.write(json);
            json.text("device", device.toString());
            List.of("kind", "inDevice", "first", "count", "atOnce").forEach(json::none);
            json.flag("guestRan", false)
                    .none("abi2014")
                    .texts("vectors", List.of())
                    .number("answered", 0)
                    .flag("passed", false)
                    .text("failure", failure)
                    .texts("left", List.of());
        });
    }

    private static void write(Json json, ForwardAnswer answer) {
        json.number("vector", answer.vector())
                .text("eventfd", answer.event())
                .number("gsi", answer.gsi().stream().mapToInt(Gsi::number).findFirst())
                .text("guest", answer.target())
                .number("arrived", answer.arrived())
                .text("mechanism", answer.mechanism().label())
                .object("predicted", predicted -> posting(answer.predicted(), predicted));
    }

    /** "posted" is true, false, or null if it cannot be predicted. */
    private static void posting(Posting predicted, Json json) {
        if (predicted instanceof Posting.Posted posted) {
            json.flag("posted", true);
            posted.note().ifPresent(note -> json.text("why", note));
        } else if (predicted instanceof Posting.NotPosted not) {
            json.flag("posted", false).text("why", not.reason()).text("do", not.remedy());
        } else if (predicted instanceof Posting.Unknown unknown) {
            json.none("posted").text("why", unknown.reason());
        }
    }
}
