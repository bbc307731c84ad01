/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import java.util.List;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq backends}: lists the kernel bindings that work here, and why the others do not. */
public final class BackendsCommand implements Command {
    @Override
    public void describe(Usage usage) {
        usage.description("Tries every binding, and prints the file it was loaded from or why it cannot be used."
                + " 'auto' uses the first binding that works. Exits with 1 if none works.");
        usage.add(Command.json());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<Backends.Probe> probes = Backends.ofThisMachine().probeAll();
        if (arguments.hasMatchedOption("--json")) {
            write(probes, terminal);
        } else {
            probes.forEach(probe -> print(probe, terminal));
        }
        return probes.stream().anyMatch(probe -> probe.backend().isPresent()) ? ExitCode.OK : ExitCode.FAILED;
    }

    private static void print(Backends.Probe probe, Terminal terminal) {
        String verdict = probe.backend().isPresent() ? terminal.good("usable  ") : terminal.bad("unusable");
        terminal.line(terminal.bold(String.format("%-4s", probe.name())) + " " + verdict + "  "
                + Terminal.printable(probe.reason()));
    }

    private static void write(List<Backends.Probe> probes, Terminal terminal) {
        Json.print(
                terminal,
                "kvmirq.backends/1",
                json -> json.objects("backends", probes, (object, probe) -> object.value("name", probe.name())
                        .value("usable", probe.backend().isPresent())
                        .value("reason", probe.reason())));
    }
}
