/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.module.ModuleDescriptor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** The published artifacts: where their sources, classes and jars are. */
public enum Artifacts {
    KVMIRQ("kvmirq", "io.kvmirq"),
    VMM("kvmirq-vmm", "io.kvmirq.vmm"),
    FAKE("kvmirq-fake", "io.kvmirq.fake"),
    TESTKIT("kvmirq-testkit", "io.kvmirq.testkit"),
    COMMAND("kvmirq-command", "io.kvmirq.command");

    private final String artifact;
    private final String module;

    Artifacts(String artifact, String module) {
        this.artifact = artifact;
        this.module = module;
    }

    public String artifact() {
        return artifact;
    }

    public String module() {
        return module;
    }

    /** The folder of its Java sources. */
    public Path sources() {
        return Machine.root().resolve("src/" + artifact.replaceFirst("^kvmirq-", "") + "/java");
    }

    /** The directory of its classes: of make, or of Maven where {@code mvn test} runs. */
    public Path classes() {
        String path = System.getProperty("java.class.path");
        return Arrays.stream(path.split(":", -1))
                .filter(entry -> entry.endsWith("/" + module))
                .map(Path::of)
                .findFirst()
                .orElseGet(() -> Machine.root().resolve("target/classes/" + module));
    }

    /** The compiled module descriptor. */
    public ModuleDescriptor descriptor() throws IOException {
        try (var file = Files.newInputStream(classes().resolve("module-info.class"))) {
            return ModuleDescriptor.read(file);
        }
    }

    /** The published jar; skips the test where it is not built. */
    public Path jar() throws IOException {
        Path directory = Machine.root().resolve("target/maven/" + artifact);
        List<Path> found = List.of();
        if (Files.isDirectory(directory)) {
            try (Stream<Path> files = Files.list(directory)) {
                found = files.filter(file -> file.getFileName().toString().matches(artifact + "-[0-9].*[0-9T]\\.jar"))
                        .toList();
            }
        }
        assumeTrue(found.size() == 1, "needs one jar in " + directory + ", and finds " + found + ": run make build");
        return found.get(0);
    }

    /** All Java sources below a path of all artifacts, such as {@code io/kvmirq/kvm}. */
    public static List<Path> allSources(String below) throws IOException {
        List<Path> all = new ArrayList<>();
        for (Artifacts artifacts : values()) {
            Path directory = artifacts.sources().resolve(below);
            if (Files.isDirectory(directory)) {
                try (Stream<Path> files = Files.walk(directory)) {
                    files.filter(file -> file.toString().endsWith(".java")).forEach(all::add);
                }
            }
        }
        return all;
    }

    /** The folder of a package in the sources. */
    public static Path sourcesOf(String name) {
        return existing(name, Arrays.stream(values()).map(Artifacts::sources));
    }

    /** The directory of a package's classes. */
    public static Path classesOf(String name) {
        return existing(name, Arrays.stream(values()).map(Artifacts::classes));
    }

    private static Path existing(String name, Stream<Path> roots) {
        return roots.map(root -> root.resolve(name.replace('.', '/')))
                .filter(Artifacts::hasFiles)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no artifact has package " + name));
    }

    /** A directory may be that of a deeper package alone. */
    private static boolean hasFiles(Path directory) {
        if (!Files.isDirectory(directory)) {
            return false;
        }
        try (Stream<Path> files = Files.list(directory)) {
            return files.anyMatch(Files::isRegularFile);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
