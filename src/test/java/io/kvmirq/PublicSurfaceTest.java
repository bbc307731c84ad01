/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaModifier;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.MainClasses;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The types and methods that users of the module see, except those of the kernel's names. */
class PublicSurfaceTest {
    private static final JavaClasses CLASSES = MainClasses.ALL;

    private static List<JavaClass> types() throws IOException {
        Set<String> exported = DocumentedTest.documented();
        return CLASSES.stream()
                .filter(type -> exported.contains(type.getPackageName()) && isPublic(type))
                .toList();
    }

    private static boolean isPublic(JavaClass type) {
        return type.getModifiers().contains(JavaModifier.PUBLIC)
                && type.getEnclosingClass().map(PublicSurfaceTest::isPublic).orElse(true);
    }

    private static boolean isVisible(JavaCodeUnit code) {
        return code.getModifiers().contains(JavaModifier.PUBLIC)
                || code.getModifiers().contains(JavaModifier.PROTECTED);
    }

    @Test
    void modelsAreNotExported() throws IOException {
        assertThat(DocumentedTest.exported()).noneMatch(name -> name.endsWith(".model"));
        assertThat(types())
                .extracting(JavaClass::getSimpleName)
                .doesNotContain("Distributor", "Lpis", "Vpe", "AvicVm", "GaUnit");
    }

    /** At a call, {@code true, false} does not say which is which. */
    @Test
    void noTwoBooleansSideBySide() throws IOException {
        assertThat(types().stream()
                        .flatMap(type -> type.getCodeUnits().stream())
                        .filter(PublicSurfaceTest::isVisible)
                        .filter(code -> code.getRawParameterTypes().stream()
                                .map(JavaClass::getName)
                                .collect(Collectors.joining(" "))
                                .contains("boolean boolean"))
                        .map(JavaCodeUnit::getFullName))
                .isEmpty();
    }

    /** A nested type is called by its outer type too, such as {@code Forwarding.Builder}. */
    @Test
    void noTypeSharesTheNameOfATopLevelType() throws IOException {
        Map<String, List<JavaClass>> byName = types().stream().collect(Collectors.groupingBy(JavaClass::getSimpleName));
        assertThat(byName.values())
                .filteredOn(same -> same.size() > 1 && same.stream().anyMatch(JavaClass::isTopLevelClass))
                .isEmpty();
    }

    @Test
    void everyExportedPackageIsListed() throws IOException {
        String list = Files.readString(Artifacts.sourcesOf("io.kvmirq.kvm").resolve("package-info.java"))
                .replaceAll("[\\s*]+", " ");
        assertThat(DocumentedTest.exported())
                .allMatch(name -> list.contains("{@link " + name + "}") || list.contains("{@code " + name + "}"));
    }

    /** The package's runtime has a module of its own, in which nothing is found that it does not name. */
    @Test
    void moduleOfTheCommandHasTheServicesOfTheLibrary() throws IOException {
        Set<String> ours = new TreeSet<>();
        for (Artifacts artifact : Artifacts.values()) {
            if (artifact != Artifacts.TESTKIT) {
                ours.addAll(services(artifact.sources().resolve("module-info.java")));
            }
        }
        assertThat(ours).isNotEmpty();
        assertThat(services(Machine.root().resolve("src/packaging/module-info.java")))
                .containsExactlyInAnyOrderElementsOf(ours);
    }

    private static List<String> services(Path descriptor) throws IOException {
        return Pattern.compile("(?m)^ *((?:uses|provides) [^;]*);")
                .matcher(Files.readString(descriptor))
                .results()
                .map(found -> found.group(1).replaceAll("\\s+", " "))
                .toList();
    }
}
