/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.jar.JarFile;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The jars that users get. */
class ArtifactsIT {
    @TempDir
    private Path temporary;

    private static List<String> entries(Path jar) throws IOException {
        try (JarFile file = new JarFile(jar.toFile())) {
            return file.stream().map(ZipEntry::getName).toList();
        }
    }

    @Test
    void eachJarHasItsOwnClasses() throws IOException {
        Set<String> seen = new HashSet<>();
        for (Artifacts artifact : Artifacts.values()) {
            List<String> types = entries(artifact.jar()).stream()
                    .filter(name -> name.endsWith(".class") && !name.endsWith("module-info.class"))
                    .toList();
            assertThat(types).isNotEmpty().allMatch(seen::add);
        }
        assertThat(entries(Artifacts.KVMIRQ.jar()))
                .contains("io/kvmirq/kvm/Vm.class")
                .noneMatch(name -> name.matches("io/kvmirq/(fake|junit|cli|diag|selftest)/.*"));
    }

    /** Maven compiles once, for the tests and for the jars. */
    @Test
    void jarsHaveTheBytesThatAreTested() throws IOException {
        Path whole = Machine.jar();
        for (Artifacts artifact : Artifacts.values()) {
            Path classes = artifact.classes();
            try (JarFile jar = new JarFile(artifact.jar().toFile());
                    JarFile command = new JarFile(whole.toFile());
                    Stream<Path> files = Files.walk(classes)) {
                List<String> tested = files.filter(Files::isRegularFile)
                        .map(file -> classes.relativize(file).toString())
                        .toList();
                assertThat(entries(artifact.jar()).stream().filter(name -> name.matches(".*\\.(class|so)")))
                        .containsExactlyInAnyOrderElementsOf(tested.stream()
                                .filter(name -> name.matches(".*\\.(class|so)"))
                                .toList());
                // The jar tool adds the version and the packages to the descriptor, and the compiler of Maven writes a
                // file.
                tested = tested.stream()
                        .filter(name -> !name.matches("module-info.class|META-INF/jpms.args"))
                        .toList();
                for (String name : tested) {
                    assertThat(jar.getInputStream(jar.getEntry(name)))
                            .as(name)
                            .hasBinaryContent(Files.readAllBytes(classes.resolve(name)));
                    ZipEntry entry = command.getEntry(name);
                    if (entry != null && name.matches("io/.*|META-INF/(native|versions)/.*")) {
                        assertThat(command.getInputStream(entry))
                                .as(name + " of the command")
                                .hasBinaryContent(Files.readAllBytes(classes.resolve(name)));
                    }
                }
            }
        }
    }

    @Test
    void jarOfTheCommandHasAllButTheKitOfTests() throws IOException {
        List<String> command = entries(Machine.jar());
        for (Artifacts artifact : Artifacts.values()) {
            if (artifact != Artifacts.TESTKIT) {
                assertThat(command)
                        .containsAll(entries(artifact.jar()).stream()
                                .filter(name -> !name.endsWith("/")
                                        && !name.equals("module-info.class")
                                        && !name.startsWith("META-INF/maven/"))
                                .toList());
            }
        }
        assertThat(command).noneMatch(name -> name.startsWith("io/kvmirq/junit/"));
    }

    /** A VMM ships it, with the libraries of both architectures. The number rises only for what a VMM needs. */
    @Test
    void jarOfTheLibraryStaysSmall() throws IOException {
        assertThat(Files.size(Artifacts.KVMIRQ.jar())).isLessThan(1_295_000);
    }

    @ParameterizedTest
    @ValueSource(strings = {"linux-x86_64", "linux-aarch64"})
    void bothJarsHaveTheLibrariesOfEachArchitecture(String machine) throws Exception {
        String missing =
                Program.output(List.of(Machine.root().resolve("scripts/native").toString(), "--missing"));
        assumeTrue(!missing.contains(machine), missing);
        String directory = "META-INF/native/" + machine + "/";
        for (Path jar : List.of(Artifacts.KVMIRQ.jar(), Machine.jar())) {
            assertThat(entries(jar)).contains(directory + "libkvmirq.so");
        }
    }

    @Test
    void manifestNamesTheArchitecturesOfTheLibraries() throws IOException {
        for (Path jar : List.of(Artifacts.KVMIRQ.jar(), Machine.jar())) {
            assertThat(manifest(jar, "Kvmirq-Native").split(" ", -1))
                    .containsExactlyInAnyOrderElementsOf(entries(jar).stream()
                            .filter(name -> name.matches("META-INF/native/.*/libkvmirq\\.so"))
                            .map(name -> name.split("/", -1)[2])
                            .toList());
        }
    }

    @Test
    void manifestNamesTheCompilers() throws IOException {
        for (Path jar : List.of(Artifacts.KVMIRQ.jar(), Machine.jar())) {
            assertThat(manifest(jar, "Kvmirq-Compiler-Java")).matches("javac [1-9][0-9.]+.*");
            for (String machine : manifest(jar, "Kvmirq-Native").split(" ", -1)) {
                assertThat(manifest(jar, "Kvmirq-Compiler-" + machine)).containsPattern("[0-9]+\\.[0-9]+");
            }
        }
    }

    private static String manifest(Path jar, String name) throws IOException {
        try (JarFile file = new JarFile(jar.toFile())) {
            return file.getManifest().getMainAttributes().getValue(name);
        }
    }

    @Test
    void packagesThatExamplesImportAreExported() throws IOException {
        Set<String> exported = DocumentedTest.exported();
        StringBuilder examples = new StringBuilder();
        try (Stream<Path> files = Files.list(Machine.root().resolve("src/examples"))) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                examples.append(Files.readString(file));
            }
        }
        assertThat(Pattern.compile("\\bio\\.kvmirq(\\.[a-z]\\w*)*\\b")
                        .matcher(examples)
                        .results()
                        .map(MatchResult::group))
                .hasSizeGreaterThan(100)
                .isSubsetOf(exported);
    }

    @Test
    void everyJarHasLicenseAndNotice() throws IOException {
        List<Path> jars = new ArrayList<>(List.of(Machine.jar()));
        for (Artifacts artifact : Artifacts.values()) {
            // With those of make publish-local, if it ran.
            try (Stream<Path> files = Files.list(artifact.jar().resolveSibling(""))) {
                files.filter(file -> file.getFileName().toString().endsWith(".jar"))
                        .forEach(jars::add);
            }
        }
        for (Path jar : jars) {
            try (JarFile file = new JarFile(jar.toFile())) {
                for (String name : List.of("LICENSE", "NOTICE")) {
                    ZipEntry entry = file.getEntry("META-INF/" + name);
                    assertThat(entry).as(name + " of " + jar).isNotNull();
                    assertThat(file.getInputStream(entry))
                            .as(name + " of " + jar)
                            .hasSameContentAs(
                                    Files.newInputStream(Machine.root().resolve(name)));
                }
            }
        }
    }

    /** The pages of {@code make publish-local}, if it ran, in directories ARTIFACT/VERSION. */
    @Test
    void linksOfJavadocLeadToPagesOfOtherArtifacts() throws IOException {
        Set<Path> pages = new HashSet<>();
        Set<Path> linked = new HashSet<>();
        for (Artifacts artifact : Artifacts.values()) {
            String name = artifact.jar().getFileName().toString().replace(".jar", "-javadoc.jar");
            Path jar = artifact.jar().resolveSibling(name);
            assumeTrue(Files.exists(jar), "make publish-local did not run");
            Path root = Path.of("/" + artifact.jar().getParent().getFileName(), "VERSION");
            try (JarFile file = new JarFile(jar.toFile())) {
                for (ZipEntry entry : Collections.list(file.entries())) {
                    Path page = root.resolve(entry.getName());
                    pages.add(page);
                    if (entry.getName().endsWith(".html")) {
                        String text = new String(file.getInputStream(entry).readAllBytes(), StandardCharsets.UTF_8);
                        Pattern.compile("href=\"((?:\\.\\./)+kvmirq[\\w-]*/)[^/\"]+/([^\"#]+)")
                                .matcher(text)
                                .results()
                                .map(link -> link.group(1) + "VERSION/" + link.group(2))
                                .forEach(link ->
                                        linked.add(page.resolveSibling(link).normalize()));
                    }
                }
            }
        }
        assertThat(linked)
                .contains(Path.of("/kvmirq/VERSION/io.kvmirq/io/kvmirq/kvm/Vm.html"))
                .isSubsetOf(pages);
    }

    @Test
    void noticeNamesEachLibraryInTheCommandsJar() throws IOException {
        String notice = Files.readString(Machine.root().resolve("NOTICE"));
        // The jars of a class path are in directories named by their artifact and its version.
        List<String> bundled = Stream.of(Files.readString(Machine.root().resolve("target/build/main.classpath"))
                        .strip()
                        .split(":", -1))
                .filter(jar -> !jar.matches(".*/(org/junit|org/opentest4j|org/apiguardian)/.*"))
                .map(jar -> Path.of(jar).getParent().getParent().getFileName().toString())
                .distinct()
                .toList();
        assertThat(bundled).contains("picocli").allSatisfy(name -> assertThat(notice)
                .containsPattern(" " + Pattern.quote(name) + "[ ,\n]"));
    }

    @Tag("search")
    @Test
    void jarsAreTheSameFromTwoDirectoriesAndWithAnotherUmask() throws Exception {
        Path copy = Files.createDirectories(temporary.resolve("another place/below"));
        for (String part : List.of("pom.xml", ".mvn", "LICENSE", "NOTICE", "Makefile", "scripts", "src", "native")) {
            withUmask077("cp", "-r", Machine.root().resolve(part).toString(), copy.toString());
        }
        // The jars need nothing that this fetches.
        Path fetched = copy.resolve("target/build/consumer-fetched");
        Files.createDirectories(fetched.getParent());
        Files.copy(Machine.root().resolve("src/examples/consumer/pom.xml"), fetched);
        withUmask077(copy.resolve("scripts/build").toString());
        List<Path> jars = new ArrayList<>(List.of(Machine.jar()));
        for (Artifacts artifact : Artifacts.values()) {
            jars.add(artifact.jar());
        }
        for (Path jar : jars) {
            assertThat(copy.resolve(Machine.root().relativize(jar))).hasSameBinaryContentAs(jar);
        }
    }

    private static void withUmask077(String... command) throws Exception {
        List<String> all = new ArrayList<>(List.of("bash", "-c", "umask 077; exec \"$@\"", "bash"));
        all.addAll(List.of(command));
        Program.output(all);
    }
}
