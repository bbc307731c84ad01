/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code scripts/phases}: what is printed of a build that fails. */
class PhasesTest {
    private static final String UNKNOWN_HOST = "Could not transfer artifact org.example:plugin:pom:1.0 from/to central"
            + " (https://repo.maven.apache.org/maven2): repo.maven.apache.org: Unknown host repo.maven.apache.org";

    private static final String PKIX =
            "Could not transfer artifact org.example:plugin:pom:1.0 from/to central: PKIX path"
                    + " building failed: unable to find valid certification path to requested target";

    @TempDir
    private Path temporary;

    /** What is said of a Maven that prints these lines and fails. */
    private String said(String... lines) throws Exception {
        Path scripts = Files.createDirectories(temporary.resolve("scripts"));
        Path phases = Files.copy(Machine.root().resolve("scripts/phases"), scripts.resolve("phases"));
        Path printed = Files.writeString(temporary.resolve("printed"), String.join("\n", lines) + "\n");
        Path maven = Files.writeString(scripts.resolve("maven"), "#!/bin/bash\ncat '" + printed + "'\nexit 1\n");
        Files.setPosixFilePermissions(maven, PosixFilePermissions.fromString("rwxr-xr-x"));
        Process process = new ProcessBuilder("bash", phases.toString(), "log", "verify")
                .redirectErrorStream(true)
                .start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).isEqualTo(1);
        return said;
    }

    @Test
    void causeAtTheEndOfMavensLineIsPrintedOnce() throws Exception {
        for (String cause : new String[] {UNKNOWN_HOST, PKIX}) {
            String line =
                    "[ERROR] Plugin org.example:plugin:1.0 or one of its dependencies could not be resolved: " + cause;
            assertThat(said(
                            "[INFO] Scanning for projects...",
                            line + " -> [Help 1]",
                            "[ERROR] ",
                            "[ERROR] Re-run Maven using the -X switch to enable full debug logging.",
                            "[ERROR] For more information about the errors, please read the following articles:",
                            "[ERROR] [Help 1] http://cwiki.apache.org/confluence/display/MAVEN/PluginResolution"))
                    .containsOnlyOnce(cause)
                    .contains(line + "\nMaven failed")
                    .doesNotContain("[Help", "Re-run");
            Files.delete(temporary.resolve("scripts/phases"));
        }
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
