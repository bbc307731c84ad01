/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.rules.DeviceRules;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.HostIrqRules;
import io.kvmirq.diag.rules.InhibitChecks;
import io.kvmirq.diag.rules.IommuRules;
import io.kvmirq.diag.rules.Kinds;
import io.kvmirq.diag.rules.KvmRules;
import io.kvmirq.diag.rules.LimitChecks;
import io.kvmirq.diag.rules.LogRules;
import io.kvmirq.diag.rules.MemoryRules;
import io.kvmirq.diag.rules.ParameterRules;
import io.kvmirq.diag.rules.Rule;
import io.kvmirq.diag.rules.SourceRules;
import io.kvmirq.diag.rules.SupportRules;
import io.kvmirq.diag.rules.VfioHostRules;
import io.kvmirq.diag.rules.VfioRules;
import io.kvmirq.diag.rules.VmmRules;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/** The checks of a host's interrupt path, from its files. Starts no VM, opens no device and writes nothing. */
public final class Doctor {
    private Doctor() {}

    /**
     * The findings, in the order of the checks.
     *
     * @param checks those to make, of which those that no file shows are left out
     */
    public static List<Finding> examine(HostFacts host, Set<Check> checks) {
        List<Finding> findings = new ArrayList<>();
        for (Check check : Check.values()) {
            // Older captures have no files of these checks, and an ordinary user may not read the log.
            boolean absent = checks.size() > 1
                    && (check == Check.SUPPORT && host.files().text("proc/misc").isEmpty()
                            || check == Check.LOG && !host.log().isShown());
            if (checks.contains(check) && !check.isStepOfItsOwn() && !absent) {
                findings.add(guarded(check, host));
            }
        }
        return findings;
    }

    /** A check that fails does not keep the others from their findings. */
    private static Finding guarded(Check check, HostFacts host) {
        try {
            return examine(check, host);
        } catch (UncheckedIOException e) {
            throw e; // a file that no check can read
        } catch (RuntimeException e) {
            return Finding.unknown(check, "failed", "this check failed: " + e, "report it, with a capture of the host");
        }
    }

    private static Finding examine(Check check, HostFacts host) {
        return switch (check) {
            case KVM -> KvmRules.kvm(host);
            case IRQCHIP -> KvmRules.irqchip(host);
            case NESTED -> KvmRules.nested(host);
            case IOMMU -> IommuRules.iommu(host);
            case REMAPPING -> IommuRules.remapping(host);
            case POSTING -> IommuRules.posting(host);
            case AVIC_INHIBITS -> InhibitChecks.avicInhibits(host);
            case VFIO -> VfioHostRules.vfio(host);
            case UNSAFE_INTERRUPTS -> VfioHostRules.unsafeInterrupts(host);
            case PARAMETERS -> ParameterRules.parameters(host);
            case LOG -> LogRules.log(host);
            case PATHS -> PathsCheck.paths(host);
            case LIMITS -> new LimitChecks(host).limits();
            case SUPPORT -> SupportRules.support(host);
            case TRACING -> tracing(host);
            case BACKENDS, KERNEL_MEMORY -> throw new IllegalArgumentException("no file shows " + check);
        };
    }

    /** All rules, in the order of the hops. */
    public static List<Rule.Table<?>> tables() {
        return Stream.<List<? extends Rule.Table<?>>>of(
                        DeviceRules.TABLES,
                        VfioRules.TABLES,
                        HostIrqRules.TABLES,
                        VmmRules.TABLES,
                        GuestRules.TABLES,
                        SourceRules.TABLES,
                        MemoryRules.TABLES)
                .<Rule.Table<?>>flatMap(List::stream)
                .toList();
    }

    /** The rules of checks that look at no link. */
    public static List<Rule.Checks<?>> checks() {
        return Stream.of(
                        KvmRules.CHECKS,
                        IommuRules.CHECKS,
                        VfioHostRules.CHECKS,
                        List.of(ParameterRules.CHECKS, LogRules.CHECKS, SupportRules.CHECKS))
                .<Rule.Checks<?>>flatMap(List::stream)
                .toList();
    }

    /** Their kinds, a line each, and the members that no file shows. */
    public static List<String> kinds() {
        return Kinds.lines(every()).toList();
    }

    /** All rules, with those that only make a remark. */
    public static List<Rule<?>> every() {
        return Stream.<Rule<?>>concat(
                        tables().stream().flatMap(table -> table.rows().stream()),
                        checks().stream().flatMap(check -> check.rows().stream()))
                .toList();
    }

    /** All rules but notes, a line each: hop or check, name, state, sentence, subjects and files. */
    public static List<String> rules() {
        return Stream.concat(
                        tables().stream().flatMap(table -> lines(table.hop().label(), table.rows())),
                        checks().stream().flatMap(check -> lines(check.check().id(), check.rows())))
                .toList();
    }

    private static Stream<String> lines(String of, List<? extends Rule<?>> rows) {
        return rows.stream()
                .filter(rule -> rule.state() != Rule.Flaw.State.NOTE)
                .map(rule -> of + "  " + rule);
    }

    private static Finding tracing(HostFacts host) {
        Finding left = leftTracing(host);
        return host.silentProbes()
                .map(silent -> {
                    String more = left.status() == Status.PASS ? "" : "; " + left.text();
                    Finding off = left.whose("probes-off", silent.why() + "; explain --live counts no stages" + more);
                    return off.with(Remedy.command(silent.remedy())).as(Status.WARN);
                })
                .orElse(left);
    }

    /** A left instance still records events, and its buffer takes memory. */
    private static Finding leftTracing(HostFacts host) {
        Known<List<String>> left = host.leftTracing();
        if (left instanceof Known.Unknown<List<String>> unknown) {
            return Finding.unknown(Check.TRACING, "not-shown", unknown);
        }
        List<String> directories = left.known().orElse(List.of());
        if (directories.isEmpty()) {
            return Finding.pass(Check.TRACING, "none", "no tracing instances left behind by killed kvmirq runs");
        }
        boolean probes =
                directories.stream().anyMatch(directory -> directory.startsWith("/sys/kernel/tracing/events/"));
        return Finding.warn(
                        Check.TRACING,
                        "left",
                        "killed kvmirq --live runs left tracing instances or probes behind, which take memory and slow"
                                + " the events that they record: " + String.join(", ", directories))
                .with("left", directories)
                .with(Remedy.command(
                        probes
                                ? "kvmirq list --live 1, which removes them in the order that the kernel needs"
                                : "rmdir " + String.join(" ", directories) + ", as the next --live does"));
    }
}
