/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code make publish-local} runs Maven only if something changed: of a tree with one source, by a Maven that counts. */
class PublishTest {
    private static final String MAVEN = """
            echo run >> maven
            echo jar > repository/kvmirq-1.jar
            echo "[INFO] Installing $PWD/target/kvmirq-1.jar to $PWD/repository/kvmirq-1.jar" > target/publish.log
            """;

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path tree;

    private void script(String name, String text) throws IOException {
        Path script = Files.writeString(tree.resolve("scripts").resolve(name), "#!/bin/bash\n" + text);
        Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    @BeforeEach
    void writeTree() throws IOException {
        for (String directory :
                new String[] {"scripts", "src/one", "src/examples/tiny-vmm", "native", ".mvn", "repository"}) {
            Files.createDirectories(tree.resolve(directory));
        }
        for (String file : new String[] {"pom.xml", "LICENSE", "NOTICE", "src/one/One.java"}) {
            Files.writeString(tree.resolve(file), "");
        }
        script("publish", Files.readString(Machine.root().resolve("scripts/publish")));
        script("artifacts", "artifacts=(one)\npoms=(pom.xml)\n");
        script("phases", MAVEN);
        script("bootstrap", "");
        script("compile", "");
        script("native", "");
        script("jdks", "cat jdk 2> /dev/null\ntrue\n");
    }

    /** The number of runs of Maven until now. */
    private long published() throws Exception {
        Process process = new ProcessBuilder(tree.resolve("scripts/publish").toString())
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(said).isZero();
        assertThat(said).endsWith("to " + tree.toRealPath() + "/repository/kvmirq-1.jar\n");
        return Files.readAllLines(tree.resolve("maven")).size();
    }

    @Test
    void mavenRunsForAChangeOnly() throws Exception {
        assertThat(published()).isEqualTo(1);
        assertThat(published()).as("nothing changed").isEqualTo(1);
        Files.writeString(tree.resolve("src/one/One.java"), "class One {}");
        assertThat(published()).as("a source changed").isEqualTo(2);
        Files.delete(tree.resolve("src/one/One.java"));
        assertThat(published()).as("a source is gone").isEqualTo(3);
        Files.writeString(tree.resolve("repository/kvmirq-1.jar"), "of another clone");
        assertThat(published()).as("the installed jar is another").isEqualTo(4);
        Files.writeString(tree.resolve("jdk"), "newer");
        assertThat(published()).as("another JDK").isEqualTo(5);
        assertThat(published()).as("nothing changed").isEqualTo(5);
    }

    /** The file of the last time is gone until Maven has ended. */
    @Test
    void failureIsNotTakenForAnInstallation() throws Exception {
        assertThat(published()).isEqualTo(1);
        Files.writeString(tree.resolve("src/one/One.java"), "class One {}");
        script("phases", "exit 1");
        Process failed = new ProcessBuilder(tree.resolve("scripts/publish").toString()).start();
        assertThat(failed.waitFor()).isEqualTo(1);
        script("phases", MAVEN);
        assertThat(published()).isEqualTo(2);
    }
}
