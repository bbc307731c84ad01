/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.arch.apic.LostInterrupt2019;
import io.kvmirq.arch.apic.PiDescriptor;
import io.kvmirq.arch.apic.SharedWords;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq races}: interrupts that kernels lost, step by step. Asks no kernel. */
final class RacesCommand implements Command {
    private static final String LOST_INTERRUPT = "lost-interrupt-2019";
    private static final String LOST_INTERRUPT_SUMMARY =
            "An interrupt posted while its vCPU is preempted stays behind (VT-d posting, KVM until 2019).";
    private static final int COLUMN = 43;
    private static final String ROW = "  %-7s %-38s %-" + COLUMN + "s %s";

    @Override
    public String name() {
        return "races";
    }

    @Override
    public String summary() {
        return "Show how kernels lost interrupts, and what keeps them.";
    }

    @Override
    public void describe(CommandSpec spec) {
        spec.usageMessage()
                .description("Lists the historic races, or plays one step by step, as it was and as it is repaired."
                        + " Asks no kernel.")
                .footer("", "Races:", "  " + LOST_INTERRUPT + "  " + LOST_INTERRUPT_SUMMARY);
        spec.addPositional(PositionalParamSpec.builder()
                .index("0")
                .arity("0..1")
                .paramLabel("RACE")
                .type(String.class)
                .description("The race to play.")
                .build());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        String race = arguments.matchedPositionalValue(0, "");
        if (race.isEmpty()) {
            terminal.out().println(LOST_INTERRUPT + "   " + LOST_INTERRUPT_SUMMARY);
            return ExitCode.OK;
        }
        if (!race.equals(LOST_INTERRUPT)) {
            terminal.err()
                    .println("kvmirq: race '" + race + "' is unknown: expected " + LOST_INTERRUPT
                            + ". See kvmirq races --help");
            return ExitCode.USAGE;
        }
        play(terminal);
        return ExitCode.OK;
    }

    /** One kernel: its descriptor, on a processor and with nothing requested, and its vCPU's IRR. */
    private static final class Side {
        private final PiDescriptor descriptor = PiDescriptor.over(new long[PiDescriptor.WORDS]);
        private final SharedWords irr = SharedWords.of(new long[PiDescriptor.PIR_WORDS]);

        private Side() {
            descriptor.reset();
            descriptor.load(0, true);
        }

        private String play(LostInterrupt2019.Step step) {
            String seen = step.action().on(descriptor, irr);
            return String.format(
                    "%d  %d  %-7s %-7s %s",
                    descriptor.isOn() ? 1 : 0,
                    descriptor.isSuppressed() ? 1 : 0,
                    has(descriptor.snapshot().words()),
                    has(IntStream.range(0, irr.size()).mapToLong(irr::get).toArray()),
                    seen);
        }

        private static String has(long[] words) {
            int vector = LostInterrupt2019.VECTOR;
            return (words[vector / Long.SIZE] >>> vector & 1) != 0 ? "{0x" + Integer.toHexString(vector) + "}" : "{}";
        }

        private boolean lost() {
            return has(IntStream.range(0, irr.size()).mapToLong(irr::get).toArray())
                    .equals("{}");
        }
    }

    private static void play(Terminal terminal) {
        terminal.out().println(terminal.bold(LOST_INTERRUPT) + "   " + LOST_INTERRUPT_SUMMARY);
        terminal.out().println();
        terminal.out()
                .println("  PIR holds the vectors requested of a vCPU, ON says that a notification is on its way, and a"
                        + " sync takes PIR to the\n  IRR if ON. While the vCPU is preempted SN is set: a device's request"
                        + " then sets PIR without ON.\n");
        Side was = new Side();
        Side is = new Side();
        row(terminal, "", "", "until 2019", "repaired");
        row(terminal, "who", "does", "ON SN PIR     IRR", "ON SN PIR     IRR");
        for (LostInterrupt2019.Step step : LostInterrupt2019.steps()) {
            row(terminal, step.actor(), step.what(), step.repair() ? "" : was.play(step), is.play(step));
        }
        row(terminal, "guest", "", outcome(was, terminal, true), outcome(is, terminal, false));
        terminal.out().println("\n  What was proposed, and whether some order of two senders and a vCPU still loses:");
        List<LostInterrupt2019.Repair> repairs = LostInterrupt2019.repairs();
        int width = repairs.stream()
                .mapToInt(repair -> repair.what().length())
                .max()
                .orElseThrow();
        terminal.out()
                .println(repairs.stream()
                        .map(repair -> String.format(
                                "    %-" + width + "s  %s  %s",
                                repair.what(),
                                repair.loses() ? terminal.bad("loses") : terminal.good("keeps"),
                                repair.why()))
                        .collect(Collectors.joining("\n")));
    }

    private static void row(Terminal terminal, Object... cells) {
        terminal.out().println(String.format(ROW, cells).stripTrailing());
    }

    private static String outcome(Side side, Terminal terminal, boolean padded) {
        String text = side.lost() ? "waits for ever: LOST" : "has 0x41 in its IRR: KEPT";
        String aligned = padded ? String.format("%-" + COLUMN + "s", text) : text;
        return side.lost() ? terminal.bad(aligned) : terminal.good(aligned);
    }
}
