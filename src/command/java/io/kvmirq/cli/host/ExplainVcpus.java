/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.Vcpus;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Known;
import io.kvmirq.text.Foreign;

/** Prints the vCPUs of a guest. Their texts contain names from files, so all text is made printable. */
final class ExplainVcpus {
    private final HostFacts host;
    private final boolean json;
    private final Terminal terminal;

    ExplainVcpus(HostFacts host, boolean json, Terminal terminal) {
        this.host = host;
        this.json = json;
        this.terminal = terminal;
    }

    /** Returns the exit code: {@code COULD_NOT_RUN} if a watch shows no phase. */
    int print(Vcpus vcpus) {
        if (json) {
            Json.print(terminal, "explain", host, to -> to.record(vcpus).number("exitCode", exitCode(vcpus)));
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
                        .map(time -> ", at the end of a watch of " + Live.seconds(time))
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
        }
        if (vcpus.vcpus().isEmpty()) {
            line("no vCPU is seen");
        }
        if (vcpus.lost() > 0) {
            line("events that did not fit into the buffer: " + vcpus.lost());
        }
        for (Known.Unknown<?> one : vcpus.missing()) {
            line("not readable: " + one.why());
            line("              shown by: " + one.remedy());
        }
        vcpus.notes().forEach(note -> line("note: " + note));
    }

    private void line(String text) {
        terminal.line(Foreign.printable(text));
    }
}
