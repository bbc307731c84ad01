/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Remedy;
import io.kvmirq.host.facts.HostFacts;
import java.util.ArrayList;
import java.util.List;

/** Prints findings as JSON: fields and stable names, no sentences to parse. */
final class DoctorJson {
    private DoctorJson() {}

    static void print(HostFacts host, List<Finding> findings, Terminal terminal) {
        Json.print(terminal, "kvmirq.doctor/1", json -> json.text("kernel", host.kernel())
                .objects("findings", findings, DoctorJson::write));
    }

    private static void write(Json json, Finding finding) {
        json.text("check", finding.check().id())
                .text("status", Command.label(finding.status()))
                .text("reason", finding.reason())
                .flag("needsRoot", finding.needsRoot())
                .object("facts", facts -> finding.facts().forEach((name, value) -> write(facts, name, value)))
                .text("needed", finding.oneIsEnough() ? "one" : "all")
                .objects("remedies", finding.remedies(), DoctorJson::write);
    }

    static void write(Json json, Remedy remedy) {
        json.text("change", dashed(remedy.change()))
                .text("text", remedy.text())
                .text("takes", dashed(remedy.takes()))
                .text("risk", remedy.risk());
    }

    private static void write(Json json, String name, Object value) {
        if (value instanceof Boolean flag) {
            json.flag(name, flag);
        } else if (value instanceof Long number) {
            json.number(name, number);
        } else if (value instanceof List<?> list) {
            List<String> texts = new ArrayList<>();
            list.forEach(one -> texts.add(String.valueOf(one)));
            json.texts(name, texts);
        } else {
            json.text(name, String.valueOf(value));
        }
    }

    private static String dashed(Enum<?> constant) {
        return Command.label(constant).replace('_', '-');
    }
}
