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
        MESSAGES.add(message);
        Fact<Machine, KernelLog.Recent> reported =
                new Fact<>(KernelLog.FILE, one -> Fact.of(one.host().log().recent(within, 0, message)));
        return Rule.rule(columns.get(0), reported, one -> reported.in(one).count() >= least)
                .with(one -> reported.in(one).ago(), one -> reported.in(one).text());
    }

    /** The time of a line of the log, with what a rule finds in it; names and numbers beside that may be private. */
    public static String redacted(String line) {
        String time = line.substring(0, line.indexOf(']') + 1) + " ";
        return MESSAGES.stream()
                .map(message -> message.matcher(line))
                .filter(Matcher::find)
                .findFirst()
                .map(found -> time + found.group())
                .orElse(time + "-");
    }

    /** The finding of a host's log. */
    public static Finding log(HostFacts host) {
        return CHECKS.finding(new Machine(new Fact.Facts(host)));
    }
}
