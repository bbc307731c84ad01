/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Evidence;
import io.kvmirq.diag.Vcpus;
import io.kvmirq.path.Known;
import io.kvmirq.text.Foreign;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;

/** Prints the vCPUs of a guest. Their texts contain names from files, so all text is made printable. */
final class ExplainVcpus {
    private static final String FOLLOWS = "  follows   ";
    private static final String LATER = "            ";

    private final Terminal terminal;

    ExplainVcpus(Terminal terminal) {
        this.terminal = terminal;
    }

    /** Returns the exit code: {@code COULD_NOT_RUN} if a watch shows no phase. */
    int print(Vcpus vcpus, boolean json) {
        if (json) {
            Json.print(terminal, "kvmirq.vcpus/1", document -> write(document, vcpus));
        } else {
            text(vcpus);
        }
        return exitCode(vcpus);
    }

    private static int exitCode(Vcpus vcpus) {
        return vcpus.watched().isPresent() && !vcpus.knowsAPhase() ? ExitCode.COULD_NOT_RUN : ExitCode.OK;
    }

    private void text(Vcpus vcpus) {
        line(vcpus.guest()
                + vcpus.watched()
                        .map(time -> ", at the end of a watch of " + seconds(time))
                        .orElse(""));
        for (Vcpus.One one : vcpus.vcpus()) {
            line(one.id()
                    + (one.thread().isPresent() ? "  thread " + one.thread().getAsInt() : ""));
            for (Vcpus.Field field : one.fields()) {
                line(String.format(
                        "  %-9s %s",
                        field.name(),
                        field.value().orElse("unknown: " + field.why())
                                + field.evidence().map(how -> "  [" + how + "]").orElse("")));
            }
            if (one.irqs().isEmpty()) {
                line(FOLLOWS + "no interrupt that is seen");
            }
            for (Vcpus.Irq irq : one.irqs()) {
                line(FOLLOWS + irq.text() + "  [" + irq.evidence() + "]");
                irq.later().forEach(text -> line(LATER + text));
            }
        }
        if (vcpus.vcpus().isEmpty()) {
            line("no vCPU is seen");
        }
        if (vcpus.lost() > 0) {
            line("events that did not fit into the buffer: " + vcpus.lost());
        }
        if (!vcpus.unassignable().isEmpty()) {
            line("events of KVM that no field assigns to this guest: " + sum(vcpus.unassignable()));
            vcpus.unassignable().forEach((why, count) -> line("  " + count + " " + why));
        }
        for (Known.Unknown<?> one : vcpus.missing()) {
            line("not readable: " + one.why());
            line("              shown by: " + one.remedy());
        }
        vcpus.notes().forEach(note -> line("note: " + note));
    }

    private static long sum(Map<String, Long> counts) {
        return counts.values().stream().mapToLong(Long::longValue).sum();
    }

    private static String seconds(Duration time) {
        long tenths = time.toMillis() / 100;
        return tenths / 10 + "." + tenths % 10 + " s";
    }

    private void line(String text) {
        terminal.line(Foreign.printable(text));
    }

    private static void write(Json json, Vcpus vcpus) {
        json.text("guest", vcpus.guest());
        vcpus.watched()
                .ifPresentOrElse(time -> json.number("milliseconds", time.toMillis()), () -> json.none("milliseconds"));
        json.objects("vcpus", vcpus.vcpus(), (to, one) -> to.number(
                                "vcpu", one.id().number())
                        .number("thread", one.thread())
                        .objects("fields", one.fields(), (field, value) -> {
                            field.text("field", value.name()).text("value", value.value());
                            write(field, value.evidence());
                            field.text("unknown", Optional.of(value.why()).filter(why -> !why.isEmpty()));
                        })
                        .objects("follows", one.irqs(), (irq, value) -> {
                            irq.text("text", value.text());
                            write(irq, Optional.of(value.evidence()));
                            irq.texts("predicted", value.later());
                        }))
                .number("lost", vcpus.lost())
                .number("unassignable", sum(vcpus.unassignable()))
                .objects("unassignableBy", vcpus.unassignable().entrySet(), (to, one) -> to.text("reason", one.getKey())
                        .number("count", one.getValue()))
                .objects("notReadable", vcpus.missing(), (to, one) -> to.text("text", one.why())
                        .text("do", one.remedy()))
                .texts("notes", vcpus.notes())
                .number("exitCode", exitCode(vcpus));
    }

    private static void write(Json json, Optional<Evidence> evidence) {
        json.text("evidence", evidence.map(one -> one.kind().label())).text("from", evidence.map(Evidence::from));
    }
}
