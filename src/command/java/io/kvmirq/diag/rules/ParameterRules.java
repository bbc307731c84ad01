/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Flaw.Weight;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Rules for kernel and module parameters. {@code parameters.txt} has a row for each, and says what its columns are;
 * those that another rule names are left to it.
 */
public final class ParameterRules {
    private static final String ANY = "*";
    private static final int COLUMNS = 7;
    private static final List<Parameter> PARAMETERS = shipped();
    /** A shorter word may be another parameter. */
    private static final int SHORTEST_WORD = 6;
    /** Parameters that a host with passed-through devices needs, and that do nothing if they are misspelt. */
    private static final List<String> NEAR = List.of(
            "intel_iommu",
            "amd_iommu",
            "isolcpus",
            "nohz_full",
            "rcu_nocbs",
            "irqaffinity",
            "hugepages",
            "hugepagesz",
            "default_hugepagesz",
            "intremap",
            "threadirqs",
            "mitigations",
            "initcall_blacklist",
            "module_blacklist");

    /**
     * A row.
     *
     * @param host the hosts on which it does something
     * @param namedBy the rule that names it, or {@link Rows#NOTHING}
     */
    record Parameter(String name, String value, String host, Weight weight, String namedBy, String does) {
        /** The name of its module; empty for a parameter of the kernel itself. */
        private String module() {
            return name.substring(0, Math.max(name.indexOf('.'), 0)).replace('-', '_');
        }

        private String last() {
            return name.substring(name.indexOf('.') + 1);
        }

        /** Whether a value, which may be a list, has that of this row. The kernel takes 1 and Y, 0 and N for each other. */
        boolean isIn(String given) {
            return value.equals(ANY)
                    || Stream.of(given.split(","))
                            .anyMatch(part -> same(part).equals(same(value)) || part.startsWith(value + "="));
        }

        private static String same(String value) {
            return value.matches("(?i)y|on") ? "1" : value.matches("(?i)n") ? "0" : value;
        }
    }

    private record Machine(Fact.Facts facts) implements Fact.Subject {
        private boolean knows(String host) {
            return switch (host) {
                case "arm64" -> isArm();
                case "x86" -> !isArm();
                case "intel" -> kvm().hasFlag("vmx") || kvm().vendorModules().contains("kvm_intel");
                case "amd" -> kvm().hasFlag("svm") || kvm().vendorModules().contains("kvm_amd");
                default -> true;
            };
        }

        /** The rows whose parameter has their value, with the parameter as an administrator writes it. */
        private Map<Parameter, String> given(List<String> words) {
            Map<Parameter, String> all = new LinkedHashMap<>();
            for (Parameter row : PARAMETERS) {
                if (row.namedBy.equals(Rows.NOTHING) && knows(row.host)) {
                    String module = row.module();
                    Optional<String> now = module.isEmpty() || row.value.equals(ANY)
                            ? Optional.empty()
                            : kvm().parameter(module, row.last()).known();
                    now.map(value ->
                                    value.replaceFirst(".*\\[(\\w+)].*", "$1")) // a choice, as that of pcie_aspm.policy
                            .map(value ->
                                    row.isIn(value) ? Optional.of(row.name + "=" + value) : Optional.<String>empty())
                            .orElseGet(() -> booted(words, row))
                            .ifPresent(word -> all.put(row, word));
                }
            }
            return all;
        }

        /** The last word of the command line with the name decides for a module; that of the kernel may come in parts. */
        private static Optional<String> booted(List<String> words, Parameter row) {
            List<String> named = words.stream()
                    .map(word -> word.replaceFirst("^\"(.*)\"$", "$1").replace("=\"", "="))
                    .filter(word -> spelling(word.split("=", 2)[0]).equals(spelling(row.name)))
                    .collect(Collectors.toCollection(ArrayList::new));
            if (!row.module().isEmpty() && named.size() > 1) {
                named.subList(0, named.size() - 1).clear();
            }
            return named.stream()
                    .filter(word ->
                            word.contains("=") ? row.isIn(word.split("=", 2)[1]) : row.value.equals(Rows.NOTHING))
                    .findFirst();
        }

        /** Words that are no parameters, and that one letter makes one. The kernel hands them to init without a word. */
        private static String misspelt(List<String> words) {
            return words.stream()
                    .filter(word -> !word.startsWith("-"))
                    .map(word -> word.split("=", 2)[0])
                    .filter(name -> name.length() >= SHORTEST_WORD
                            && NEAR.stream().noneMatch(real -> spelling(real).equals(spelling(name))))
                    .flatMap(name -> NEAR.stream()
                            .filter(real -> isOneLetterFrom(spelling(name), spelling(real)))
                            .map(real -> name + ", for " + real))
                    .distinct()
                    .collect(Collectors.joining("; "));
        }

        /** Whether one letter is missing, too many, another, or two are exchanged. */
        private static boolean isOneLetterFrom(String given, String real) {
            int same = 0;
            while (same < Math.min(given.length(), real.length()) && given.charAt(same) == real.charAt(same)) {
                same++;
            }
            String left = given.substring(same);
            String right = real.substring(same);
            return !left.equals(right)
                    && (left.length() == right.length() + 1 && left.substring(1).equals(right)
                            || right.length() == left.length() + 1
                                    && right.substring(1).equals(left)
                            || left.length() == right.length()
                                    && (left.substring(1).equals(right.substring(1))
                                            || left.length() > 1
                                                    && left.charAt(0) == right.charAt(1)
                                                    && left.charAt(1) == right.charAt(0)
                                                    && left.substring(2).equals(right.substring(2))));
        }

        /** To the kernel, hyphen and underscore are one character in a name. */
        private static String spelling(String name) {
            return name.replace('-', '_');
        }

        Map<Parameter, String> of(Weight weight) {
            Map<Parameter, String> all = new LinkedHashMap<>(GIVEN.in(this));
            all.keySet().removeIf(row -> row.weight != weight);
            return all;
        }

        String does(Weight weight) {
            return of(weight).entrySet().stream()
                    .map(given -> given.getValue() + " " + given.getKey().does)
                    .collect(Collectors.joining("; "));
        }

        List<Remedy> remove() {
            return of(Weight.LOSSY).values().stream()
                    .distinct()
                    .map(word -> Remedy.of(
                            Change.KERNEL_PARAMETER,
                            "remove " + word + " from the kernel's command line and /etc/modprobe.d",
                            "it may have been set for a device or firmware that fails without it"))
                    .toList();
        }
    }

    // spotless:off: tables
    private static final Fact<Machine, Map<Parameter, String>> GIVEN = new Fact<>("proc/cmdline",
        machine -> machine.kvm().commandLine().map(machine::given));

    private static final Fact<Machine, String> MISSPELT = new Fact<>("proc/cmdline",
        machine -> machine.kvm().commandLine().map(Machine::misspelt));

    public static final Rule.Checks<Machine> CHECKS = new Rule.Checks<>(
        rule("parameters.harmful", GIVEN, machine -> !machine.of(Weight.LOSSY).isEmpty()).with(machine -> machine.does(Weight.LOSSY))
            .remedies(Machine::remove),
        rule("parameters.misspelt", MISSPELT, machine -> !MISSPELT.in(machine).isEmpty()).with(MISSPELT::in),
        rule("parameters.noted", GIVEN, machine -> !machine.of(Weight.REMARK).isEmpty()).with(machine -> machine.does(Weight.REMARK)).otherwise(),
        rule("parameters.none", GIVEN, machine -> true).otherwise());
    // spotless:on

    private ParameterRules() {}

    private static List<Parameter> shipped() {
        List<Parameter> all = new ArrayList<>();
        Rows.each("parameters.txt", Rows.shipped("parameters.txt"), columns -> {
            Rows.check(columns, COLUMNS, Map.of());
            all.add(new Parameter(
                    columns.get(0),
                    columns.get(1),
                    columns.get(2),
                    Rows.value(Weight.values(), columns.get(4), Weight::label),
                    columns.get(5),
                    columns.get(6)));
        });
        return List.copyOf(all);
    }

    /** The names of all parameters that a rule names. */
    public static Set<String> names() {
        return PARAMETERS.stream().map(Parameter::name).collect(Collectors.toUnmodifiableSet());
    }

    /** Parameter names without a value. */
    public static Set<String> flags() {
        return PARAMETERS.stream()
                .filter(parameter -> parameter.value.equals(Rows.NOTHING))
                .map(Parameter::name)
                .collect(Collectors.toUnmodifiableSet());
    }

    /** The finding of a host's parameters. */
    public static Finding parameters(HostFacts host) {
        return CHECKS.finding(new Machine(new Fact.Facts(host)));
    }
}
