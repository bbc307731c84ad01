/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * The result of a check. Immutable.
 *
 * @param check the check
 * @param status the verdict
 * @param reason a stable name of the verdict's cause, such as {@code no-iommu}
 * @param text one sentence without a full stop. May hold names from files
 * @param facts the observed values, by stable names: text, a number, a flag, or a list of texts
 * @param remedies what to change, or how to see more
 * @param needsRoot whether root would see more
 * @param oneIsEnough whether one of the remedies is enough; otherwise all are needed, in their order
 * @param verdict the verdict about interrupts, if the check looks at their paths
 */
public record Finding(
        Check check,
        Status status,
        String reason,
        String text,
        Map<String, Object> facts,
        List<Remedy> remedies,
        boolean needsRoot,
        boolean oneIsEnough,
        Optional<Verdict> verdict) {
    /** The verdict of a check. */
    public enum Status {
        /** No problem was found, or the check does not apply here. */
        PASS,
        /** It works, but worse than it could, or with a risk. */
        WARN,
        /** It does not work. */
        FAIL,
        /** No file shows it. */
        UNKNOWN
    }

    public Finding {
        facts = Collections.unmodifiableMap(new LinkedHashMap<>(facts));
        remedies = List.copyOf(remedies);
    }

    public static Finding of(Check check, Status status, String reason, String text) {
        return new Finding(check, status, reason, text, Map.of(), List.of(), false, false, Optional.empty());
    }

    public static Finding pass(Check check, String reason, String text) {
        return of(check, Status.PASS, reason, text);
    }

    public static Finding warn(Check check, String reason, String text) {
        return of(check, Status.WARN, reason, text);
    }

    public static Finding fail(Check check, String reason, String text) {
        return of(check, Status.FAIL, reason, text);
    }

    /** A check whose fact cannot be read. */
    public static Finding unknown(Check check, String reason, Known.Unknown<?> fact) {
        return unknown(check, reason, fact.why(), fact.remedy()).with("unseen", List.of(fact.reason()));
    }

    /** A check whose fact nothing shows; {@code remedy} would show it. */
    public static Finding unknown(Check check, String reason, String why, String remedy) {
        return of(check, Status.UNKNOWN, reason, why)
                .with(Remedy.look(remedy))
                .withRoot(remedy.equals(HostKvm.AS_ROOT));
    }

    public Finding with(Remedy remedy) {
        return with(List.of(remedy));
    }

    public Finding with(List<Remedy> others) {
        List<Remedy> more = new ArrayList<>(remedies);
        more.addAll(others);
        return new Finding(check, status, reason, text, facts, more, needsRoot, oneIsEnough, verdict);
    }

    public Finding with(String name, Object value) {
        Map<String, Object> more = new LinkedHashMap<>(facts);
        more.put(name, value);
        return new Finding(check, status, reason, text, more, remedies, needsRoot, oneIsEnough, verdict);
    }

    public Finding withRoot(boolean root) {
        return new Finding(check, status, reason, text, facts, remedies, needsRoot || root, oneIsEnough, verdict);
    }

    /** The same facts and remedies with another cause. */
    public Finding whose(String cause, String sentence) {
        return new Finding(check, status, cause, sentence, facts, remedies, needsRoot, oneIsEnough, verdict);
    }

    /** The same finding with another verdict. */
    public Finding as(Status grade) {
        return new Finding(check, grade, reason, text, facts, remedies, needsRoot, oneIsEnough, verdict);
    }

    public Finding withVerdict(Verdict of) {
        return new Finding(check, status, reason, text, facts, remedies, needsRoot, oneIsEnough, Optional.of(of));
    }

    /** One of its remedies is enough. */
    public Finding withAlternatives() {
        return new Finding(check, status, reason, text, facts, remedies, needsRoot, true, verdict);
    }

    /** The name of a reason as decide takes it. */
    public static String name(InhibitReason reason) {
        return reason.name().toLowerCase(Locale.ROOT);
    }

    /** The first of some, followed by an ellipsis if there are more. */
    public static String some(Collection<?> all, int max) {
        String first = all.stream().limit(max).map(String::valueOf).collect(Collectors.joining(", "));
        return first + (all.size() > max ? ", ..." : "");
    }

    /** The name of a constant as ids are written. */
    public static String id(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
}
