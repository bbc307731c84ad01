/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.MainClasses;
import java.io.IOException;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleDescriptor.Exports;
import java.lang.module.ModuleDescriptor.Requires;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The modules of the artifacts: what each requires and lets the others see. */
class ModulesTest {
    /** Packages without a promise to users, and the modules of ours that use them. A row is added only for what leaves an exported package. */
    private static final Map<String, String> QUALIFIED = Map.ofEntries(
            Map.entry("io.kvmirq.arch.apic.model", "command fake"),
            Map.entry("io.kvmirq.arch.gic.model", "command"),
            Map.entry("io.kvmirq.backend.choice", "command fake testkit"),
            Map.entry("io.kvmirq.backend.libc", "fake"),
            Map.entry("io.kvmirq.backend.library", "command"),
            Map.entry("io.kvmirq.events", "vmm"),
            Map.entry("io.kvmirq.explain", "command fake testkit"),
            Map.entry("io.kvmirq.guest", "command testkit"),
            Map.entry("io.kvmirq.text", "command fake testkit vmm"),
            Map.entry("io.kvmirq.undo", "command vmm"));

    /** Our modules that each module requires. */
    private static final Map<String, Set<String>> REQUIRED = Map.of(
            "io.kvmirq", Set.of(),
            "io.kvmirq.vmm", Set.of("io.kvmirq"),
            "io.kvmirq.fake", Set.of("io.kvmirq"),
            "io.kvmirq.testkit", Set.of("io.kvmirq.fake"),
            "io.kvmirq.command", Set.of("io.kvmirq.fake"));

    @Test
    void qualifiedExportsAreTheListedOnes() throws IOException {
        Map<String, String> found = new HashMap<>();
        for (Artifacts artifact : Artifacts.values()) {
            for (Exports export : artifact.descriptor().exports()) {
                if (export.isQualified()) {
                    found.put(
                            export.source(),
                            new TreeSet<>(export.targets())
                                    .stream()
                                            .map(target -> target.replace("io.kvmirq.", ""))
                                            .collect(Collectors.joining(" ")));
                }
            }
        }
        assertThat(found).containsExactlyInAnyOrderEntriesOf(QUALIFIED);
    }

    @Test
    void modulesRequireTheListedOnes() throws IOException {
        for (Artifacts artifact : Artifacts.values()) {
            assertThat(artifact.descriptor().requires().stream()
                            .map(Requires::name)
                            .filter(name -> name.startsWith("io.kvmirq")))
                    .as(artifact.module())
                    .containsExactlyInAnyOrderElementsOf(REQUIRED.get(artifact.module()));
        }
        assertThat(Artifacts.KVMIRQ.descriptor().requires().stream()
                        .filter(module -> !module.modifiers().contains(Requires.Modifier.STATIC))
                        .map(Requires::name))
                .as("at run time the library needs java.base alone")
                .containsExactly("java.base");
    }

    /** What is compiled in part is compiled without descriptors: this finds at once what they forbid. */
    @Test
    void classesUseWhatTheirModuleMaySee() throws IOException {
        Map<String, Artifacts> owners = new HashMap<>();
        Map<Artifacts, ModuleDescriptor> descriptors = new HashMap<>();
        for (Artifacts artifact : Artifacts.values()) {
            descriptors.put(artifact, artifact.descriptor());
            try (Stream<Path> files = Files.walk(artifact.classes())) {
                files.filter(file -> file.toString().endsWith(".class"))
                        .map(file -> artifact.classes().relativize(file.resolveSibling("")))
                        .forEach(directory -> owners.put(directory.toString().replace('/', '.'), artifact));
            }
        }
        Set<String> forbidden = new TreeSet<>();
        int crossings = 0;
        for (JavaClass type : MainClasses.ALL) {
            Artifacts from = Objects.requireNonNull(owners.get(type.getPackageName()), type.getName());
            for (Dependency dependency : type.getDirectDependenciesFromSelf()) {
                Artifacts to = owners.get(
                        dependency.getTargetClass().getBaseComponentType().getPackageName());
                if (to != null && to != from) {
                    crossings++;
                    String name =
                            dependency.getTargetClass().getBaseComponentType().getPackageName();
                    if (!reads(from, to) || !exports(descriptors.get(to), name, from.module())) {
                        forbidden.add(from.module() + " may not use " + name + ": " + dependency.getDescription());
                    }
                }
            }
        }
        assertThat(crossings).isGreaterThan(1000);
        assertThat(forbidden).isEmpty();
    }

    private static boolean reads(Artifacts from, Artifacts to) {
        Set<String> read = new HashSet<>();
        List<String> next = List.of(from.module());
        while (!next.isEmpty()) {
            next = next.stream()
                    .flatMap(name -> REQUIRED.get(name).stream())
                    .filter(read::add)
                    .toList();
        }
        return read.contains(to.module());
    }

    private static boolean exports(ModuleDescriptor module, String name, String to) {
        return module.exports().stream()
                .anyMatch(export -> export.source().equals(name)
                        && (!export.isQualified() || export.targets().contains(to)));
    }
}
