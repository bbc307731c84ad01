/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.MsiMessage;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTagKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.text.Foreign;
import java.util.List;
import java.util.stream.Collectors;

/** A decision about posting, as text and as JSON. */
final class DecideText {
    private static final long EXAMPLE_ADDRESS = 0x1_0000_0000L;
    private static final int PAGE = 4096;
    private static final int FACT_WIDTH = 8;
    private static final String SCHEMA = "kvmirq.decide/2";

    private DecideText() {}

    static void print(DecideQuestion question, List<PostingDecision> decisions, Terminal terminal) {
        ApicMessage message = question.decoded();
        terminal.line(terminal.bold(question.message().toString()));
        terminal.line("  " + (message.logical() ? "logical" : "physical") + " destination "
                + Hex.of(Integer.toUnsignedLong(question.destination()))
                + (message.redirectionHint() ? " with redirection hint" : "") + ", " + message.mode() + ", vector "
                + Hex.of(message.vector()) + (message.level() ? ", level" : ""));
        int vcpus = question.vcpus();
        terminal.line("  targets " + meant(question) + ", of " + vcpus + (vcpus == 1 ? " vCPU" : " vCPUs"));
        question.strange().forEach(remark -> terminal.line("  strange: " + remark));
        for (int i = 0; i < decisions.size(); i++) {
            print(question, question.hosts().get(i), decisions.get(i), terminal);
        }
    }

    private static void print(DecideQuestion question, PostingHost host, PostingDecision decision, Terminal terminal) {
        String name = Command.label(host.vendor())
                + (question.observed() ? " (Linux " + host.kernel() + ", from the host's files)" : "");
        if (decision instanceof PostingDecision.Posted posted) {
            terminal.line(name + ": " + terminal.good("posted") + " to " + posted.vcpu() + ", vector "
                    + Hex.of(posted.vector().number()));
            terminal.fact("entry", FACT_WIDTH, entry(host, posted).toString());
            terminal.fact("", FACT_WIDTH, "with an example address and VM number; kvmirq decode shows each field");
            posted.inhibits()
                    .forEach(reason -> terminal.line("  inhibited: " + reason.cause()
                            + "; the entry stays posted, and software delivers the vector to the guest"));
        } else if (decision instanceof PostingDecision.Unposted unposted) {
            PostingObstacle reason = unposted.reason();
            terminal.line(name + ": " + terminal.bad("not posted") + " because " + reason.text());
            terminal.fact("here:", FACT_WIDTH, unposted.detail());
            printWhy(reason, question.remedy(host, unposted), terminal);
            terminal.fact("entry", FACT_WIDTH, "remapped, as set up by the host; the host irq signals the eventfd");
        }
        question.bugs(host).forEach(bug -> terminal.fact("note:", FACT_WIDTH, bug));
    }

    private static void printWhy(PostingObstacle reason, String remedy, Terminal terminal) {
        terminal.fact("decided:", FACT_WIDTH, reason.decidedBy());
        terminal.fact("see:", FACT_WIDTH, reason.seen());
        terminal.fact("do:", FACT_WIDTH, remedy);
    }

    static void print(MsiMessage message, ArmDecision decision, Terminal terminal) {
        terminal.line(terminal.bold(message.toString()));
        terminal.line("  event " + Integer.toUnsignedString(message.data()) + ", for a guest ITS");
        boolean posted = decision.vlpi().orElse(false);
        terminal.line("arm64 (Linux " + Foreign.printable(decision.kernel())
                + ", from the host's files): "
                + (posted ? terminal.good("a vLPI") : terminal.bad("no vLPI")) + ", because " + decision.text());
        if (!posted) {
            terminal.fact("do:", FACT_WIDTH, decision.remedy());
        }
    }

    private static String meant(DecideQuestion question) {
        List<Integer> meant = question.meant();
        return meant.isEmpty()
                ? "no vCPU"
                : meant.stream().map(vcpu -> "vcpu " + vcpu).collect(Collectors.joining(", "));
    }

    /** The two words of an IRTE. */
    record Entry(Format format, long low, long high) {
        @Override
        public String toString() {
            return format.text(low, high);
        }
    }

    /**
     * The IRTE for a vCPU that is preempted, with an example address and without the device's source id. The vCPU's
     * index is its id.
     */
    static Entry entry(PostingHost host, PostingDecision.Posted posted) {
        int vcpu = posted.vcpu().number();
        int vector = posted.vector().number();
        if (host.vendor() == Vendor.INTEL) {
            long descriptor = EXAMPLE_ADDRESS + (long) vcpu * PostedInterruptDescriptor.BYTES;
            return new Entry(
                    PostedIrte.FORMAT,
                    PostedIrte.lowWord(descriptor, vector),
                    PostedIrte.highWord(descriptor, 0, 0, 0));
        }
        long page = EXAMPLE_ADDRESS + (long) vcpu * PAGE;
        long tag = GaTagKernel.of(host.kernel()).tag(1, vcpu, vcpu);
        boolean logs = AvicKernel.of(host.kernel()).alwaysLogs();
        return new Entry(GaIrte.GUEST, GaIrte.guestLow(tag, logs), GaIrte.guestHigh(page, vector));
    }

    static void printReasons(Terminal terminal) {
        for (PostingObstacle reason : PostingObstacle.values()) {
            terminal.line(terminal.bold(Command.label(reason)) + ": " + reason.text());
            printWhy(reason, reason.remedy(), terminal);
        }
    }

    static void write(DecideQuestion question, List<PostingDecision> decisions, Terminal terminal) {
        ApicMessage message = question.decoded();
        Json.print(terminal, SCHEMA, json -> {
            json.object("message", object -> words(question.message(), object)
                            .value("destination", Integer.toUnsignedLong(question.destination()))
                            .value("logical", message.logical())
                            .value("redirectionHint", message.redirectionHint())
                            .value("deliveryMode", message.mode().toString())
                            .value("vector", message.vector())
                            .value("level", message.level()))
                    .value("vcpus", question.vcpus())
                    .value("means", question.meant())
                    .value("strange", question.strange())
                    .value("observed", question.observed());
            for (int i = 0; i < decisions.size(); i++) {
                PostingHost host = question.hosts().get(i);
                PostingDecision decision = decisions.get(i);
                json.object(Command.label(host.vendor()), object -> write(question, host, decision, object));
            }
        });
    }

    static void write(MsiMessage message, ArmDecision decision, Terminal terminal) {
        Json.print(terminal, SCHEMA, json -> json.object("message", object -> words(message, object))
                .value("observed", true)
                .object("arm64", object -> {
                    boolean posted = decision.vlpi().orElse(false);
                    object.value("posted", posted);
                    if (!posted) {
                        object.value("reason", decision.reason())
                                .value("text", decision.text())
                                .value("do", decision.remedy());
                    }
                }));
    }

    private static Json words(MsiMessage message, Json json) {
        return json.value("address", Hex.of(message.address()))
                .value("data", Hex.of(Integer.toUnsignedLong(message.data())));
    }

    private static void write(DecideQuestion question, PostingHost host, PostingDecision decision, Json json) {
        if (decision instanceof PostingDecision.Posted posted) {
            json.value("posted", true)
                    .value("vcpu", posted.vcpu().number())
                    .value("vector", posted.vector().number())
                    .value(
                            "inhibits",
                            posted.inhibits().stream().map(Command::label).toList())
                    .object("entryWithExampleAddress", object -> {
                        Entry entry = entry(host, posted);
                        object.value("kind", entry.format().kind())
                                .value("words", List.of(Hex.of(entry.low()), Hex.of(entry.high())));
                    });
        } else if (decision instanceof PostingDecision.Unposted unposted) {
            json.value("posted", false)
                    .value("reason", Command.label(unposted.reason()))
                    .value("text", unposted.reason().text())
                    .value("detail", unposted.detail())
                    .value("decided", unposted.reason().decidedBy())
                    .value("see", unposted.reason().seen())
                    .value("do", question.remedy(host, unposted));
        }
        json.value("notes", question.bugs(host));
    }
}
