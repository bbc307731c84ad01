/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Rules for kernel messages about a host as a whole, which {@code messages.txt} has. A log loses its oldest lines, so
 * that a message is not there proves nothing.
 */
public final class LogRules {
    private record Machine(Fact.Facts facts) implements Fact.Subject {}

    private static final int COLUMNS = 4;
    private static final Pattern OFF = Pattern.compile("AMD-Vi: .*Disabling interrupt remapping");
    /** The parts of a message that stand for any text. */
    private static final Pattern ANY = Pattern.compile("\\.\\*|\\\\S\\+");

    private static final List<Message> MESSAGES = shipped();

    /**
     * A row.
     *
     * @param within seconds in which it tells of now
     * @param min how often
     * @param redactable the message, with a group {@code anyN} for each part that stands for any text
     */
    private record Message(String rule, int within, int min, Pattern text, Pattern redactable, int parts) {}

    /** Whether a log is shown at all. */
    private static final Fact<Machine, Boolean> SHOWN = new Fact<>(
            KernelLog.FILE,
            machine -> machine.host().log().isShown()
                    ? new Known.Observed<>(true)
                    : new Known.Unknown<>("no kernel log is visible", HostKvm.AS_ROOT));

    public static final Rule.Checks<Machine> CHECKS = new Rule.Checks<>(rules());

    private LogRules() {}

    private static List<Message> shipped() {
        List<Message> all = new ArrayList<>();
        Rows.each("messages.txt", Rows.shipped("messages.txt"), columns -> all.add(message(columns)));
        return List.copyOf(all);
    }

    private static Message message(List<String> columns) {
        Rows.check(columns, COLUMNS, Map.of());
        int within =
                switch (columns.get(1)) {
                    case "short" -> KernelLog.SHORT_SECONDS;
                    case "long" -> KernelLog.LONG_SECONDS;
                    case "boot" -> KernelLog.BOOT_SECONDS;
                    default ->
                        throw new IllegalArgumentException(
                                "\"" + columns.get(1) + "\" is not one of short, long, boot");
                };
        String text = columns.get(3);
        AtomicInteger parts = new AtomicInteger();
        String redactable = ANY.matcher(text).replaceAll(part -> "(?<any" + parts.getAndIncrement() + ">.*)");
        return new Message(
                columns.get(0),
                within,
                Integer.parseInt(columns.get(2)),
                Pattern.compile(text),
                Pattern.compile(redactable),
                parts.get());
    }

    private static List<Rule<Machine>> rules() {
        return Stream.concat(
                        MESSAGES.stream().map(LogRules::rule),
                        Stream.of(Rule.rule("log.none", SHOWN, machine -> true).otherwise()))
                .toList();
    }

    private static Rule<Machine> rule(Message message) {
        Fact<Machine, KernelLog.Recent> reported = new Fact<>(
                KernelLog.FILE, machine -> Fact.of(machine.host().log().recent(message.within, 0, message.text)));
        return Rule.rule(
                        message.rule,
                        reported,
                        machine -> reported.in(machine).count() >= message.min
                                && (message.min == 1 || reported.in(machine).isLasting()))
                .on("hosts", machine -> isToBeAsked(message.rule, machine))
                .with(machine -> reported.in(machine).ago(), machine -> reported.in(machine)
                        .text());
    }

    /** A message that another fact must confirm: remapping may be on in spite of the one, and the clock fast of the other. */
    private static boolean isToBeAsked(String rule, Machine machine) {
        return switch (rule) {
            case "log.ioapic-missing" ->
                machine.host().log().recent(KernelLog.BOOT_SECONDS, 0, OFF).isPresent();
            case "log.clock" ->
                machine.files()
                        .text("sys/devices/system/clocksource/clocksource0/current_clocksource")
                        .filter(Set.of("hpet", "acpi_pm", "jiffies")::contains)
                        .isPresent();
            default -> true;
        };
    }

    /** The time of a line of the log, with what a rule finds in it; names and numbers beside that may be private. */
    public static String redacted(String line) {
        int end = Math.max(line.indexOf("] ") + 2, 0);
        String time = line.substring(0, end);
        String text = line.substring(end);
        for (Message message : MESSAGES) {
            Matcher found = message.redactable.matcher(text);
            if (found.find()) {
                StringBuilder kept = new StringBuilder();
                int at = found.start();
                for (int part = 0; part < message.parts; part++) {
                    if (found.start("any" + part) >= at) {
                        kept.append(text, at, found.start("any" + part)).append('-');
                        at = found.end("any" + part);
                    }
                }
                return time + kept + text.substring(at, found.end());
            }
        }
        return time + "-";
    }

    /** The finding of a host's log. */
    public static Finding log(HostFacts host) {
        return CHECKS.finding(new Machine(new Fact.Facts(host)));
    }
}
