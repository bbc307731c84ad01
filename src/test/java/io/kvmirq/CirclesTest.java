/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static java.util.stream.Collectors.joining;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import io.kvmirq.testing.MainClasses;
import java.util.Comparator;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/**
 * Circles of classes: the largest set of top-level classes of one package that all reach each other. Nested types count
 * as their top-level class. Bytecode shows the arrows, so a constant that the compiler copies is none.
 */
class CirclesTest {
    /** The largest circle of each package that has one. A number only goes down, and a line goes when it is 1. */
    private static final Map<String, Integer> LARGEST = new TreeMap<>(Map.ofEntries(
            Map.entry("arch", 3),
            Map.entry("arch.amd.model", 6),
            Map.entry("arch.gic.model", 2),
            Map.entry("arch.intx", 3),
            Map.entry("arch.intx.model", 2),
            Map.entry("arch.vcpu", 2),
            Map.entry("arch.vtd", 4),
            Map.entry("arch.vtd.posting", 2),
            Map.entry("backend", 3),
            Map.entry("diag", 2),
            Map.entry("diag.rules", 2),
            Map.entry("diag.screens", 2),
            Map.entry("fake", 3),
            Map.entry("fake.arm64", 8),
            Map.entry("fake.file", 3),
            Map.entry("fake.kvm", 2),
            Map.entry("fake.posting", 6),
            Map.entry("fake.vfio", 7),
            Map.entry("fake.x86", 8),
            Map.entry("forward", 7),
            Map.entry("host", 2),
            Map.entry("host.facts", 4),
            Map.entry("junit", 4),
            Map.entry("kernel", 5),
            Map.entry("kvm", 2),
            Map.entry("mirror", 3),
            Map.entry("pci", 2),
            Map.entry("selftest", 3),
            Map.entry("snapshot", 3),
            Map.entry("uapi", 7),
            Map.entry("vfio", 10)));

    private static Map<String, Arrows> packages() {
        Map<String, Arrows> packages = new TreeMap<>();
        for (JavaClass type : MainClasses.ALL) {
            for (Dependency dependency : type.getDirectDependenciesFromSelf()) {
                JavaClass other = dependency.getTargetClass().getBaseComponentType();
                String inPackage = type.getPackageName();
                if (other.getPackageName().equals(inPackage) && !topLevel(type).equals(topLevel(other))) {
                    packages.computeIfAbsent(inPackage.replaceFirst("^io\\.kvmirq\\.?", ""), key -> new Arrows())
                            .add(topLevel(type), topLevel(other));
                }
            }
        }
        return packages;
    }

    private static String topLevel(JavaClass type) {
        String name = type.getName().substring(type.getPackageName().length() + 1);
        return name.contains("$") ? name.substring(0, name.indexOf('$')) : name;
    }

    @Test
    void circlesOnlyShrink() {
        Map<String, Arrows> packages = packages();
        Map<String, Integer> largest = new TreeMap<>();
        packages.forEach(
                (name, arrows) -> largest.put(name, arrows.largestCircle().size()));
        largest.values().removeIf(size -> size == 0);

        assertThat(largest)
                .as(() -> largest.keySet().stream()
                        .filter(name -> !largest.get(name).equals(LARGEST.get(name)))
                        .sorted(Comparator.comparing(largest::get).reversed())
                        .map(name -> name + ": " + packages.get(name).describe())
                        .collect(joining("\n", "", "\nA smaller circle lowers its number in the table")))
                .isEqualTo(LARGEST);
    }
}
