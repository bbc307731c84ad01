/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.VcpuId;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.screens.VcpuEvidence;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.VcpuWindow;
import io.kvmirq.diag.sources.Vcpus;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.path.Known;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.ParseResult;

/**
 * Prints a guest's vCPUs. Their texts contain names from files, so all text is made printable.
 *
 * @param evidence whether to print each field of kernel memory beside the value that it must have
 */
record ExplainVcpus(HostFacts host, VmProcess guest, KernelPaths memory, boolean evidence, boolean json) {
    private static final int FIELD = 9;

    /** The words of the first line for each phase. */
    private static final List<Map.Entry<String, String>> WORDS = List.of(
            Map.entry("running", "on a CPU"),
            Map.entry("preempted", "waiting for a CPU (preempted)"),
            Map.entry("blocked", "asleep until an interrupt (blocked)"),
            Map.entry("in user space", "in the VMM (user space)"),
            Map.entry("", "in an unknown state"));

    /** Prints the vCPUs of the only guest that is asked for, as files or a watch show them. */
    static int print(
            HostFacts host,
            ExplainQuestion question,
            Optional<LiveOption> live,
            KernelPaths memory,
            ParseResult arguments,
            Terminal terminal) {
        VmProcess guest = question.onlyGuest(host);
        ExplainVcpus screen = new ExplainVcpus(
                host,
                guest,
                memory,
                arguments.hasMatchedOption(ExplainCommand.EVIDENCE),
                arguments.hasMatchedOption("--json"));
        if (live.isEmpty()) {
            return screen.print(Vcpus.ofGuest(host, guest), terminal);
        }
        LiveHost watched = live.get().machine();
        return live.get()
                .run(
                        terminal,
                        () -> VcpuWindow.begin(watched, host, guest),
                        window -> screen.print(window.end(new HostFacts(watched.files())), terminal));
    }

    /** Watches a guest of a fake kernel. */
    static int printFake(ExplainQuestion question, ParseResult arguments, Terminal terminal) {
        try (FakeGuest guest = FakeGuest.start(arguments.matchedOptionValue("--fake", ""))) {
            HostFacts host = new HostFacts(guest.files());
            VmProcess process = question.onlyGuest(host);
            try (VcpuWindow window = VcpuWindow.begin(guest, host, process)) {
                window.await(1);
                return new ExplainVcpus(host, process, KernelPaths.none(), false, arguments.hasMatchedOption("--json"))
                        .print(window.end(new HostFacts(guest.files())), terminal);
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException("nobody interrupts a command", e);
        }
    }

    /** Returns the exit code: {@code COULD_NOT_RUN} if a watch shows no phase. */
    private int print(Vcpus known, Terminal terminal) {
        Known<Map<VcpuId, KernelVcpu>> seen = memory.vcpus(host, guest);
        Vcpus vcpus = known.with(seen);
        Known<List<VcpuEvidence>> fields =
                evidence ? seen.map(all -> VcpuEvidence.compare(host, memory, all.values())) : Known.none();
        int exitCode = vcpus.watched().isPresent() && !vcpus.knowsAPhase() ? ExitCode.COULD_NOT_RUN : ExitCode.OK;
        if (json) {
            Json.print(terminal, "explain", host, to -> {
                to.record(vcpus);
                if (evidence) {
                    to.value(
                            "kernelMemory",
                            fields.known().orElse(List.of()).stream()
                                    .flatMap(vcpu -> vcpu.fields().stream())
                                    .toList());
                }
                to.value("exitCode", exitCode);
            });
        } else {
            print(vcpus, fields, terminal);
        }
        return exitCode;
    }

    /** The verdict in one sentence, for readers who know no phase. */
    private static String headline(Vcpus vcpus) {
        List<String> states = new ArrayList<>();
        for (Map.Entry<String, String> state : WORDS) {
            long count = vcpus.vcpus().stream()
                    .filter(vcpu -> vcpu.phase().orElse("").equals(state.getKey()))
                    .count();
            if (count > 0) {
                states.add(count + " " + state.getValue());
            }
        }
        String guest = vcpus.guest().name();
        return states.isEmpty()
                ? "no vCPU of guest " + guest + " is visible"
                : "vCPUs of guest " + guest + ": " + String.join(", ", states);
    }

    private static void print(Vcpus vcpus, Known<List<VcpuEvidence>> fields, Terminal terminal) {
        terminal.line(terminal.bold(Foreign.printable(headline(vcpus))));
        terminal.say(vcpus.guest()
                + vcpus.watched()
                        .map(time -> ", at the end of a watch of " + Live.seconds(time))
                        .orElse(""));
        for (Vcpus.One listed : vcpus.vcpus()) {
            terminal.line(listed.id()
                    + (listed.thread().isPresent()
                            ? "  thread " + listed.thread().getAsInt()
                            : ""));
            for (Vcpus.Field field : listed.fields()) {
                terminal.fact(
                        field.name(),
                        FIELD,
                        field.value().orElse("unknown: " + field.why())
                                + field.evidence().map(how -> "  [" + how + "]").orElse(""));
            }
            fields.known().orElse(List.of()).stream()
                    .filter(vcpu -> vcpu.vcpu().equals(listed.id()))
                    .forEach(vcpu -> new ExplainText(terminal).fields(vcpu.fields()));
        }
        if (fields instanceof Known.Unknown<?> unknown) {
            terminal.say("no fields compared: " + unknown.why());
        }
        if (vcpus.lost() > 0) {
            terminal.line("trace buffer overflow lost " + vcpus.lost() + " events");
        }
        LiveOption.print("", vcpus.missing(), vcpus.notes(), terminal);
    }
}
