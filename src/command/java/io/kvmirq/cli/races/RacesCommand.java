/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.text.Foreign;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq races}: plays interrupts that kernels lost, step by step. Asks no kernel. */
public final class RacesCommand implements Command {
    /** Loaded only if a race is named or listed. */
    private static final class Races {
        private static final List<Race> ALL = List.of(
                LostInterrupt2019.race(),
                IrList2016.race(),
                IntxStarvation2017.race(),
                IntxExclusive2017.race(),
                VgicLateMaintenance2012.race());

        private static List<String> names() {
            return ALL.stream().map(Race::name).toList();
        }

        private static List<String> lines() {
            int width = names().stream().mapToInt(String::length).max().orElse(0);
            return ALL.stream()
                    .map(race -> String.format("%-" + width + "s  %s", race.name(), race.summary()))
                    .toList();
        }
    }

    @Override
    public String name() {
        return "races";
    }

    @Override
    public String summary() {
        return "Show how kernels lost interrupts, and how the repair keeps them.";
    }

    @Override
    public void describe(Usage usage) {
        usage.spec()
                .usageMessage()
                .description("Lists the historic races, or plays one step by step, without and with the repair."
                        + " Asks no kernel.")
                .footer(Stream.concat(
                                Stream.of("", "Races:"), Races.lines().stream().map(line -> "  " + line))
                        .toArray(String[]::new));
        usage.add(Command.parameter("0", "0..1", "RACE")
                .completionCandidates(Races.names())
                .description("The race to play."));
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        String name = arguments.matchedPositionalValue(0, "");
        if (name.isEmpty()) {
            Races.lines().forEach(terminal.out()::println);
            return ExitCode.OK;
        }
        Optional<Race> race =
                Races.ALL.stream().filter(one -> one.name().equals(name)).findFirst();
        if (race.isEmpty()) {
            terminal.err()
                    .println("kvmirq: race " + Foreign.quoted(name) + " is unknown: expected one of "
                            + String.join(", ", Races.names()) + ". See kvmirq races --help");
            return ExitCode.USAGE;
        }
        new RacePrinter(terminal).play(race.get());
        return ExitCode.OK;
    }
}
