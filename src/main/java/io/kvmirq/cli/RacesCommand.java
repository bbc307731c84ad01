/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq races}: plays interrupts that kernels lost, step by step. Asks no kernel. */
final class RacesCommand implements Command {
    private static final String LOST_INTERRUPT = "lost-interrupt-2019";
    private static final String LOST_INTERRUPT_SUMMARY =
            "KVM until 2019 loses an interrupt that a device posts while the vCPU is preempted (VT-d posting).";
    private static final String IR_LIST = "ir-list-2016";
    private static final String IR_LIST_SUMMARY =
            "AVIC as posted in 2016 leaves an entry on the list of its old vCPU, which then writes it (AMD posting).";
    private static final List<String> RACES = List.of(LOST_INTERRUPT, IR_LIST);
    private static final int COLUMN = 40;
    private static final String ENTRY_HEAD = "vCPU IsRun Dest. GALog";
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
                .footer(
                        "",
                        "Races:",
                        "  " + LOST_INTERRUPT + "  " + LOST_INTERRUPT_SUMMARY,
                        "  " + IR_LIST + "  " + IR_LIST_SUMMARY);
        spec.addPositional(PositionalParamSpec.builder()
                .index("0")
                .arity("0..1")
                .paramLabel("RACE")
                .type(String.class)
                .completionCandidates(RACES)
                .description("The race to play.")
                .build());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        String race = arguments.matchedPositionalValue(0, "");
        switch (race) {
            case "" -> {
                terminal.out().println(LOST_INTERRUPT + "   " + LOST_INTERRUPT_SUMMARY);
                terminal.out().println(IR_LIST + "          " + IR_LIST_SUMMARY);
            }
            case LOST_INTERRUPT -> play(terminal);
            case IR_LIST -> playLists(terminal);
            default -> {
                terminal.err()
                        .println("kvmirq: race " + Hex.quoted(race) + " is unknown: expected "
                                + String.join(" or ", RACES) + ". See kvmirq races --help");
                return ExitCode.USAGE;
            }
        }
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

    private static void playLists(Terminal terminal) {
        terminal.out().println(terminal.bold(IR_LIST) + "   " + IR_LIST_SUMMARY);
        terminal.out().println("""

  Each vCPU has a list of the remapping entries that are posted to it. At each load and put it writes them. IsRun: a
  request rings the doorbell of the CPU in Destination. Otherwise GALogIntr: a request is logged, and KVM wakes the vCPU.
  Otherwise the request is silent. vCPU 0 is loaded on CPU 0, vCPU 1 sleeps, and the entry is posted to vCPU 0.
""");
        IrList2016.Side was = new IrList2016.Side(false);
        IrList2016.Side is = new IrList2016.Side(true);
        row(terminal, "", "", "today's kernel without the repair", "today's kernel");
        row(terminal, "actor", "step", ENTRY_HEAD, ENTRY_HEAD);
        for (IrList2016.Step step : IrList2016.steps()) {
            row(terminal, step.actor(), step.what(), play(was, step), play(is, step));
        }
        row(terminal, "vcpu 1", "", outcome(was, terminal, true), outcome(is, terminal, false));
        terminal.out()
                .println(
                        "\n  How an entry is added, and whether some order loses an interrupt, though the device is masked"
                                + " meanwhile:");
        for (IrList2016.Repair repair : IrList2016.repairs()) {
            tell(terminal, repair.loses(), repair.what(), repair.why());
        }
        terminal.out()
                .println(
                        "\n  In the sources, make races searches every order. It also shows what a device can lose that is not"
                                + " masked.");
    }

    private static String play(IrList2016.Side side, IrList2016.Step step) {
        String seen = step.action().on(side);
        return String.format(
                "%-4d %-5d %-5d %-5d %s",
                Stream.concat(side.entry().stream(), Stream.of(seen)).toArray());
    }

    private static String outcome(IrList2016.Side side, Terminal terminal, boolean padded) {
        return verdict(terminal, side.isLost(), side.isLost() ? "sleeps for ever: LOST" : "awake: KEPT", padded);
    }

    private static String verdict(Terminal terminal, boolean lost, String text, boolean padded) {
        String aligned = padded ? String.format("%-" + COLUMN + "s", text) : text;
        return lost ? terminal.bad(aligned) : terminal.good(aligned);
    }

    private static void tell(Terminal terminal, boolean loses, String what, String why) {
        String verdict = loses ? terminal.bad("loses") : terminal.good("keeps");
        terminal.out().println("    " + verdict + "  " + what + "\n           " + why);
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
