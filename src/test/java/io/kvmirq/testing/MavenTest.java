/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Program.Ended;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code scripts/maven}: what is printed of a build that fails. */
class MavenTest {
    /** Lines of Maven 3.8 or 3.9, / between them, and what is printed in their place. */
    @ParameterizedTest
    @CsvSource(delimiterString = " => ", quoteCharacter = '`', textBlock = """
            [ERROR] Plugin a:b:1 could not be resolved: Could not transfer artifact a:b:pom:1 from/to central\
             (https://r.example/m2): r.example: Name or service not known -> [Help 1] / [ERROR] Re-run Maven using the\
             -X switch => the build needs a:b:pom:1 from https://r.example/m2 and could not fetch it (r.example: Name\
             or service not known): connect to the network or set a mirror in ~/.m2/settings.xml, SO
            [ERROR] Could not create local repository at /h/.m2/repository => Maven cannot create its repository\
             /h/.m2/repository: make that directory writable, SO
            [ERROR] Cannot access central (https://r.example/m2) in offline mode and the artifact a:b:jar:1 has not\
             been downloaded from it before. => the build needs a:b:jar:1, and Maven is offline: take -o and <offline>\
             away, SO
            [ERROR] error reading /h/a.jar; zip END header not found => the jar /h/a.jar is damaged (zip END header\
             not found): remove it, SO
            [ERROR] OpensTest.opens:12 open /dev/kvm: Permission denied => [ERROR] OpensTest.opens:12 open /dev/kvm:\
             Permission denied / Maven failed; its output is in log
            [INFO] --- exec / java/A.java:1: error: ';' expected / [ERROR] Command execution failed. -> [Help 1] =>\
             java/A.java:1: error: ';' expected / [ERROR] Command execution failed. / Maven failed; its output is in log
            """)
    void failureOfTheMachineIsOneSentenceAndAnotherOneMavens(String lines, String said, @TempDir Path tree)
            throws Exception {
        for (String name : List.of("jdks", "locale", "maven")) {
            Path script = Machine.root().resolve("scripts/" + name);
            Files.copy(script, Files.createDirectories(tree.resolve("scripts")).resolve(name));
        }
        Path printed = Files.writeString(tree.resolve("printed"), lines.replace(" / ", "\n") + "\n");
        Path mvn = Files.writeString(tree.resolve("mvn"), "#!/bin/bash\ncat '" + printed + "'\nexit 1\n");
        Files.setPosixFilePermissions(mvn, PosixFilePermissions.fromString("rwxr-xr-x"));
        Ended ended = Program.run(List.of(
                "env",
                "PATH=" + tree + ":" + System.getenv("PATH"),
                tree.resolve("scripts/maven").toString(),
                "log",
                "verify"));
        assertThat(ended.code()).isEqualTo(1);
        assertThat(ended.said().replaceFirst("^ *\\d+ s  .*\n", ""))
                .isEqualTo(said.replace(" / ", "\n")
                                .replace("TREE", tree.toString())
                                .replace("SO", "then run the command again; Maven's output is in log")
                        + "\n");
    }
}
