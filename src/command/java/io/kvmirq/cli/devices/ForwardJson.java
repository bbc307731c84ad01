/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.mirror.Posting;
import io.kvmirq.selftest.ForwardAnswer;
import io.kvmirq.selftest.ForwardResult;
import java.util.List;
import java.util.Optional;

/** Writes the self-test of {@code kvmirq forward}, or its plan, as one JSON document. */
final class ForwardJson {
    private ForwardJson() {}

    static void write(HostFacts host, Kernel kernel, ForwardResult result, List<String> left, Terminal terminal) {
        Json.print(terminal, "forward", host, json -> kernel(kernel, json)
                .record(result.plan())
                .objects("vectors", result.answers(), ForwardJson::write)
                .number("answered", result.answered())
                .flag("passed", result.passed() && left.isEmpty())
                .text("failure", result.failure())
                .texts("left", left));
    }

    /** The steps of a test, or the reason why it would be refused. */
    static void plan(
            HostFacts host,
            boolean fake,
            PciAddress device,
            Optional<PlannedIrqs> interrupts,
            PostingOutlook posting,
            Optional<String> refusal,
            Terminal terminal) {
        Json.print(terminal, "forward", host, json -> json.flag("fake", fake)
                .value("device", device)
                .value("plan", interrupts)
                .value("posting", posting)
                .text("failure", refusal));
    }

    /** The document of a test that could not run. */
    static void refused(HostFacts host, Kernel kernel, PciAddress device, String failure, Terminal terminal) {
        Json.print(terminal, "forward", host, json -> kernel(kernel, json)
                .value("device", device)
                .flag("passed", false)
                .text("failure", failure));
    }

    private static Json kernel(Kernel kernel, Json json) {
        return json.flag("fake", !kernel.isReal()).text("backend", kernel.backendName());
    }

    /** "posted" is true, false, or null if it cannot be predicted. */
    private static void write(Json json, ForwardAnswer answer) {
        Posting posting = answer.predicted();
        json.number("vector", answer.vector())
                .text("eventfd", answer.event())
                .value("gsi", answer.gsi())
                .text("guest", answer.target())
                .number("arrived", answer.arrived())
                .value("mechanism", answer.mechanism())
                .object("predicted", to -> to.value(
                                "posted",
                                Optional.of(posting)
                                        .filter(one -> !(one instanceof Posting.Unknown))
                                        .map(Posting.Posted.class::isInstance))
                        .text("text", posting.text()));
    }
}
