/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.arch.apic.LostInterrupt2019;
import io.kvmirq.arch.apic.PiDescriptor;
import io.kvmirq.arch.apic.SharedWords;
import java.util.stream.IntStream;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq races}: interrupts that kernels lost, step by step. Asks no kernel. */
final class RacesCommand implements Command {
    private static final String LOST_INTERRUPT = "lost-interrupt-2019";
    private static final String LOST_INTERRUPT_SUMMARY =
            "An interrupt posted while its vCPU is preempted stays behind (VT-d posting, KVM until 2019).";
    private static final int COLUMN = 40;
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
            descriptor.load(0);
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
                .println(
                        "  Each vCPU has a descriptor. PIR: the vectors requested of it. ON, outstanding notification: it was"
                                + " told, or will look.\n  SN, suppress notification: devices are not to tell it, and set no"
                                + " ON. A sync moves PIR to the vCPU's interrupt\n  request register (IRR), but only if ON. Who"
                                + " finds a bit or ON set already tells nobody.\n");
        Side was = new Side();
        Side is = new Side();
        row(terminal, "", "", "KVM until 2019", "repaired (Linux commit c112b5f50232)");
        row(terminal, "who", "does", "ON SN PIR     IRR", "ON SN PIR     IRR");
        for (LostInterrupt2019.Step step : LostInterrupt2019.steps()) {
            row(terminal, step.actor(), step.what(), step.repair() ? "" : was.play(step), is.play(step));
        }
        row(terminal, "guest", "", outcome(was, terminal, true), outcome(is, terminal, false));
        terminal.out().println("\n  What was proposed, and whether some order of two senders and a vCPU still loses:");
        for (LostInterrupt2019.Repair repair : LostInterrupt2019.repairs()) {
            String verdict = repair.loses() ? terminal.bad("loses") : terminal.good("keeps");
            terminal.out().println("    " + verdict + "  " + repair.what() + "\n           " + repair.why());
        }
        terminal.out().println("\n  Every order is searched by make races, in the sources.");
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
