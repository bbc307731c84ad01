/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code scripts/phases}: what is printed of a build that fails. */
class PhasesTest {
    @TempDir
    private Path temporary;

    /** What is said of a Maven that prints these lines and fails. */
    private String said(String... lines) throws Exception {
        Path scripts = Files.createDirectories(temporary.resolve("scripts"));
        Path phases = Files.copy(Machine.root().resolve("scripts/phases"), scripts.resolve("phases"));
        Path failure = Files.copy(Machine.root().resolve("scripts/maven-failure"), scripts.resolve("maven-failure"));
        Path printed = Files.writeString(temporary.resolve("printed"), String.join("\n", lines) + "\n");
        Path maven = Files.writeString(scripts.resolve("maven"), "#!/bin/bash\ncat '" + printed + "'\nexit 1\n");
        for (Path script : List.of(maven, failure)) {
            Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));
        }
        Process process = new ProcessBuilder("bash", phases.toString(), "log", "verify")
                .redirectErrorStream(true)
                .start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).isEqualTo(1);
        return said;
    }

    /** Each failure as Maven 3.8 or 3.9 prints it, and the one sentence that is printed in its place. */
    @ParameterizedTest
    @CsvSource(delimiterString = " => ", quoteCharacter = '`', textBlock = """
            Could not transfer artifact a:b:pom:1 from/to central (https://r.example/m2): r.example: Name or service\
             not known => the build needs a:b:pom:1 from https://r.example/m2 and could not fetch it (r.example: Name\
             or service not known): connect to the network or set a mirror in ~/.m2/settings.xml
            Could not transfer artifact a:b:pom:1 from/to central (https://r.example/m2): transfer failed for\
             https://r.example/m2/a.pom: PKIX path building failed => the build needs a:b:pom:1 from\
             https://r.example/m2 and could not fetch it (PKIX path building failed): connect to the network or set a\
             mirror in ~/.m2/settings.xml
            Could not create local repository at /h/.m2/repository => Maven cannot create its repository\
             /h/.m2/repository: make that directory writable
            Cannot access central (https://r.example/m2) in offline mode and the artifact a:b:jar:1 has not been\
             downloaded from it before. => the build needs a:b:jar:1, and Maven is offline: take -o and <offline> away
            error reading /h/a.jar; zip END header not found => the jar /h/a.jar is damaged (zip END header not\
             found): remove it
            Could not transfer artifact a:b:jar:1 from/to central (https://r.example/m2): /h/a.jar: Read-only file\
             system => the build cannot write a:b:jar:1 (Read-only file system): make Maven's repository\
             (~/.m2/repository unless a setting names another directory) writable
            """)
    void machinesFailureIsOneSentence(String error, String sentence) throws Exception {
        assertThat(said(
                                "[INFO] Scanning for projects...",
                                "[ERROR] Some problems were encountered while processing the POMs:",
                                "[ERROR] Plugin a:b:1 could not be resolved: " + error + " -> [Help 1]",
                                "[ERROR] ",
                                "[ERROR] Re-run Maven using the -X switch to enable full debug logging.")
                        .replaceFirst(" *\\d+ s  .*\n", ""))
                .isEqualTo(sentence + ", then run the command again; Maven's output is in log\n");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "OpensTest.opens:12 open /dev/kvm: Permission denied",
                "OpensTest.writes:13 write /tmp/x: No space left on device",
                "Failed to execute goal exec:exec (compile): Cannot run program \"scripts/compile\": error=13,"
                        + " Permission denied"
            })
    void errorOfATestOrAScriptIsNotTheRepositorys(String error) throws Exception {
        assertThat(said("[ERROR] " + error)).contains("[ERROR] " + error + "\nMaven failed");
    }

    @Test
    void errorsOfTheCompilerComeBeforeThoseOfMaven() throws Exception {
        assertThat(said(
                        "[INFO] --- exec:3.5.0:exec (compile) @ kvmirq ---",
                        "src/main/java/A.java:1: error: ';' expected",
                        "[ERROR] Command execution failed. -> [Help 1]"))
                .contains("A.java:1: error: ';' expected\n[ERROR] Command execution failed.\nMaven failed");
    }
}
