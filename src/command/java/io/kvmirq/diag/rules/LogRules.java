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
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The rules of messages of the kernel about a host as a whole, which {@code messages.txt} has. A log loses its oldest lines, so
 * that a message is not there proves nothing.
 */
public final class LogRules {
    private record Machine(Fact.Facts facts) implements Fact.Subject {}

    private static final int COLUMNS = 4;
    private static final Pattern OFF = Pattern.compile("AMD-Vi: .*Disabling interrupt remapping");
    /** Any text in a message is a group of its own, which a redacted line loses. */
    private static final String ANY = "([^\n]*)";

    private static final List<Pattern> MESSAGES = new ArrayList<>();

    /** Whether a log is shown at all. */
    private static final Fact<Machine, Boolean> SHOWN = new Fact<>(
            KernelLog.FILE,
            one -> one.host().log().isShown()
                    ? new Known.Observed<>(true)
                    : new Known.Unknown<>("no log of the kernel is shown", HostKvm.AS_ROOT));

    public static final Rule.Checks<Machine> CHECKS = new Rule.Checks<>(rules());

    private LogRules() {}

    private static List<Rule<Machine>> rules() {
        List<Rule<Machine>> all = new ArrayList<>();
        Rows.each("messages.txt", Rows.shipped("messages.txt"), columns -> all.add(rule(columns)));
        return Stream.concat(
                        all.stream(),
                        Stream.of(Rule.rule("log.none", SHOWN, one -> true).otherwise()))
                .toList();
    }

    private static Rule<Machine> rule(List<String> columns) {
        Rows.check(columns, COLUMNS, Map.of());
        int within =
                switch (columns.get(1)) {
                    case "short" -> KernelLog.SHORT;
                    case "long" -> KernelLog.LONG;
                    case "boot" -> KernelLog.BOOT;
                    default ->
                        throw new IllegalArgumentException("\"" + columns.get(1) + "\" is none of short, long, boot");
                };
        int least = Integer.parseInt(columns.get(2));
        Pattern message = Pattern.compile(columns.get(3));
        MESSAGES.add(Pattern.compile(columns.get(3).replace(".*", ANY).replace("\\S+", ANY)));
        Fact<Machine, KernelLog.Recent> reported =
                new Fact<>(KernelLog.FILE, one -> Fact.of(one.host().log().recent(within, 0, message)));
        String id = columns.get(0);
        return Rule.rule(
                        id,
                        reported,
                        one -> reported.in(one).count() >= least
                                && (least == 1 || reported.in(one).isLasting()))
                .on("hosts", one -> isToBeAsked(id, one))
                .with(one -> reported.in(one).ago(), one -> reported.in(one).text());
    }

    /** A message that another fact must confirm: remapping may be on in spite of the one, and the clock fast of the other. */
    private static boolean isToBeAsked(String id, Machine one) {
        return switch (id) {
            case "log.ioapic-missing" ->
                one.host().log().recent(KernelLog.BOOT, 0, OFF).isPresent();
            case "log.clock" ->
                one.files()
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
        for (Pattern message : MESSAGES) {
            Matcher found = message.matcher(text);
            if (found.find()) {
                StringBuilder kept = new StringBuilder();
                int at = found.start();
                for (int i = 1; i <= found.groupCount(); i++) {
                    if (found.start(i) >= at && isAny(message, i)) {
                        kept.append(text, at, found.start(i)).append('-');
                        at = found.end(i);
                    }
                }
                return time + kept + text.substring(at, found.end());
            }
        }
        return time + "-";
    }

    /** Whether a group of a message stands for any text. */
    private static boolean isAny(Pattern message, int group) {
        int seen = 0;
        String regex = message.pattern();
        for (int at = 0; at < regex.length(); at++) {
            boolean opens =
                    regex.charAt(at) == '(' && (at == 0 || regex.charAt(at - 1) != '\\') && !regex.startsWith("(?", at);
            if (opens && ++seen == group) {
                return regex.startsWith(ANY, at);
            }
        }
        return false;
    }

    /** The finding of a host's log. */
    public static Finding log(HostFacts host) {
        return CHECKS.finding(new Machine(new Fact.Facts(host)));
    }
}
