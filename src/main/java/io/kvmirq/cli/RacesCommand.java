/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import java.util.List;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq races}: plays interrupts that kernels lost, step by step. Asks no kernel. */
final class RacesCommand implements Command {
    private static final String LOST_INTERRUPT = "lost-interrupt-2019";
    private static final String LOST_INTERRUPT_SUMMARY =
            "KVM until 2019 loses an interrupt that a device posts while the vCPU is preempted (VT-d posting).";
    private static final int COLUMN = 40;
    private static final String ROW = "  %-7s %-38s %-" + COLUMN + "s %s";

    @Override
    public String name() {
        return "races";
    }

    @Override
    public String summary() {
        return "Show how kernels lost interrupts, and how the repair keeps them.";
    }

    @Override
    public void describe(CommandSpec spec) {
        spec.usageMessage()
                .description("Lists the historic races, or plays one step by step, without and with the repair."
                        + " Asks no kernel.")
                .footer("", "Races:", "  " + LOST_INTERRUPT + "  " + LOST_INTERRUPT_SUMMARY);
        spec.addPositional(PositionalParamSpec.builder()
                .index("0")
                .arity("0..1")
                .paramLabel("RACE")
                .type(String.class)
                .completionCandidates(List.of(LOST_INTERRUPT))
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
            terminal.complain("race " + Hex.quoted(race) + " is unknown: expected " + LOST_INTERRUPT
                    + ". See kvmirq races --help");
            return ExitCode.USAGE;
        }
        play(terminal);
        return ExitCode.OK;
    }

    private static String play(LostInterrupt2019.Side side, LostInterrupt2019.Step step) {
        String seen = step.action().on(side);
        return String.format(
                "%d  %d  %-7s %-7s %s",
                side.isOn() ? 1 : 0,
                side.isSuppressed() ? 1 : 0,
                vectors(side.isRequested()),
                vectors(side.isInIrr()),
                seen);
    }

    private static String vectors(boolean has) {
        return has ? "{" + Hex.of(LostInterrupt2019.VECTOR) + "}" : "{}";
    }

    private static void play(Terminal terminal) {
        terminal.out().println(terminal.bold(LOST_INTERRUPT) + "   " + LOST_INTERRUPT_SUMMARY);
        terminal.out().println();
        terminal.out()
                .println(
                        "  Each vCPU has a descriptor. PIR: the requested vectors. ON, outstanding notification: the vCPU was"
                                + " notified, or\n  will sync. SN, suppress notification: a device sets PIR only, and does not"
                                + " notify. A sync moves PIR to the vCPU's\n  interrupt request register (IRR), only if ON is"
                                + " set. Software that finds its PIR bit or ON set does not notify. A unit"
                                + " looks\n  at ON and SN only.\n");
        LostInterrupt2019.Side was = new LostInterrupt2019.Side();
        LostInterrupt2019.Side is = new LostInterrupt2019.Side();
        row(terminal, "", "", "today's kernel without the repair", "today's kernel");
        row(terminal, "actor", "step", "ON SN PIR     IRR", "ON SN PIR     IRR");
        for (LostInterrupt2019.Step step : LostInterrupt2019.steps()) {
            row(terminal, step.actor(), step.what(), step.repair() ? "" : play(was, step), play(is, step));
        }
        row(terminal, "guest", "", outcome(was, terminal, true), outcome(is, terminal, false));
        terminal.out()
                .println(
                        "\n  LOST: no entry takes 0x41, however often the guest exits. Only a new request helps: a device that"
                                + " posts again, finds\n  ON clear and notifies, or software that requests another"
                                + " vector. A device that waits to be served posts nothing more.");
        terminal.out()
                .println(
                        "\n  The dispute: may software set ON? While ON is set, a unit does not notify (VT-d specification"
                                + " 9.12). It may: the\n  vCPU is on its way into the guest, and its next entry clears ON"
                                + " and takes PIR. Until then no notification is needed.");
        terminal.out().println("\n  Proposed repairs, and the worst order of two senders and a vCPU:");
        for (LostInterrupt2019.Repair repair : LostInterrupt2019.repairs()) {
            String verdict =
                    switch (repair.verdict()) {
                        case LOSES -> terminal.bad("loses");
                        case LATE -> terminal.bad("late ");
                        case KEEPS -> terminal.good("keeps");
                    };
            terminal.out().println("    " + verdict + "  " + repair.what() + "\n           " + repair.why());
        }
        terminal.out()
                .println(
                        "\n  Linux has the repair since commit c112b5f50232. In the sources, make races searches every order.");
    }

    private static void row(Terminal terminal, Object... cells) {
        terminal.out().println(String.format(ROW, cells).stripTrailing());
    }

    private static String outcome(LostInterrupt2019.Side side, Terminal terminal, boolean padded) {
        String text = side.isInIrr() ? "has 0x41 in its IRR: KEPT" : "0x41 stays in PIR: LOST";
        String aligned = padded ? String.format("%-" + COLUMN + "s", text) : text;
        return side.isInIrr() ? terminal.good(aligned) : terminal.bad(aligned);
    }
}
