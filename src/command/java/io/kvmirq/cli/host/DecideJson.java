/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.MsiMessage;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import java.util.List;

/** A decision about posting as JSON. */
final class DecideJson {
    private static final String SCHEMA = "kvmirq.decide/2";

    private DecideJson() {}

    static void print(DecideQuestion question, List<PostingDecision> decisions, Terminal terminal) {
        ApicMessage message = question.decoded();
        Json.print(terminal, SCHEMA, json -> {
            json.object("message", one -> words(question.message(), one)
                            .number("destination", Integer.toUnsignedLong(question.destination()))
                            .flag("logical", message.logical())
                            .flag("redirectionHint", message.redirectionHint())
                            .text("deliveryMode", message.mode().toString())
                            .number("vector", message.vector())
                            .flag("level", message.level()))
                    .number("vcpus", question.vcpus())
                    .numbers("means", question.meant())
                    .texts(
                            "strange",
                            question.format().violations().stream()
                                    .map(Violation::toString)
                                    .toList())
                    .flag("observed", question.observed());
            for (int i = 0; i < decisions.size(); i++) {
                PostingHost host = question.hosts().get(i);
                PostingDecision decision = decisions.get(i);
                json.object(Command.label(host.vendor()), one -> write(question, host, decision, one));
            }
        });
    }

    static void print(MsiMessage message, ArmDecision decision, Terminal terminal) {
        Json.print(terminal, SCHEMA, json -> json.object("message", one -> words(message, one))
                .flag("observed", true)
                .object("arm64", one -> {
                    boolean posted = decision.vlpi().orElse(false);
                    one.flag("posted", posted);
                    if (!posted) {
                        one.text("reason", decision.reason())
                                .text("text", decision.text())
                                .text("do", decision.remedy());
                    }
                }));
    }

    private static Json words(MsiMessage message, Json json) {
        return json.text("address", Hex.of(message.address()))
                .text("data", Hex.of(Integer.toUnsignedLong(message.data())));
    }

    private static void write(DecideQuestion question, PostingHost host, PostingDecision decision, Json json) {
        if (decision instanceof PostingDecision.Posted posted) {
            json.flag("posted", true)
                    .number("vcpu", posted.vcpu().number())
                    .number("vector", posted.vector().number())
                    .texts(
                            "inhibits",
                            posted.inhibits().stream().map(Command::label).toList())
                    .object("entryWithExampleAddress", one -> {
                        DecideText.Entry entry = DecideText.entry(host, posted);
                        one.text("kind", entry.format().kind())
                                .texts("words", List.of(Hex.of(entry.low()), Hex.of(entry.high())));
                    });
        } else if (decision instanceof PostingDecision.Unposted unposted) {
            json.flag("posted", false)
                    .text("reason", Command.label(unposted.reason()))
                    .text("text", unposted.reason().text())
                    .text("detail", unposted.detail())
                    .text("decided", unposted.reason().decidedBy())
                    .text("see", unposted.reason().seen())
                    .text("do", question.remedy(host, unposted));
        }
        json.texts("notes", question.bugs(host));
    }
}
