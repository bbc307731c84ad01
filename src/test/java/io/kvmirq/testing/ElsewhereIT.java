/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static java.nio.file.StandardCopyOption.COPY_ATTRIBUTES;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The refusals of {@code scripts/elsewhere}, which makes a bare Debian: each is one sentence. */
@Tag("long")
class ElsewhereIT {
    private static final int UNKNOWN = 2;
    private static final int COULD_NOT_RUN = 3;

    @TempDir
    private Path temporary;

    /** A clone without a cached root file system, whose tools are installed. */
    @BeforeEach
    void makeClone() throws Exception {
        Machine.assumeProgram("git");
        Path scripts = Files.createDirectories(project().resolve("scripts"));
        Files.copy(Machine.root().resolve("scripts/elsewhere"), scripts.resolve("elsewhere"), COPY_ATTRIBUTES);
        Path bootstrap = Files.writeString(scripts.resolve("bootstrap"), "#!/bin/bash\n");
        Files.setPosixFilePermissions(bootstrap, PosixFilePermissions.fromString("rwxr-xr-x"));
        git("init", "--quiet");
        git("add", ".");
        git("-c", "user.name=name", "-c", "user.email=name@example.org", "commit", "--quiet", "-m", "all");
    }

    private void git(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("git", "-C", project().toString()));
        command.addAll(List.of(arguments));
        Program.output(command);
    }

    private Path project() {
        return temporary.resolve("clone");
    }

    private void assertRefused(int code, String sentence, String... command) throws IOException, InterruptedException {
        Program.Ended ended = Program.run(List.of(command));
        assertThat(ended.code()).as(ended.said()).isEqualTo(code);
        assertThat(ended.said().lines().filter(line -> line.startsWith("elsewhere: ")))
                .last()
                .asString()
                .contains(sentence);
    }

    private String script() {
        return project().resolve("scripts/elsewhere").toString();
    }

    @Test
    void unknownSettingNamesTheKnownOnes() throws Exception {
        assertRefused(
                UNKNOWN, "'14-user-kvm' is not a known setting; known are: 13-user-kvm ", script(), "14-user-kvm");
    }

    @Test
    void plainUserIsToldToBeRoot() throws Exception {
        Machine.assumeSucceeds("unshare", "--user", "true");
        assertRefused(COULD_NOT_RUN, "may not make a chroot: run it as root", "unshare", "--user", script());
    }

    @Test
    void packageMirrorThatIsNotReached() throws Exception {
        Machine.assumeRoot("it makes a root file system");
        Machine.assumeProgram("mmdebstrap");
        Machine.assumeSucceeds("unshare", "--net", "true");
        assertRefused(COULD_NOT_RUN, "Debian 12 cannot be made: E: ", "unshare", "--net", script(), "12-root-nokvm");
        assertThat(project().resolve("target/elsewhere")).isDirectoryNotContaining("glob:**.tar*");
    }

    /** Root of a user namespace may not give files to other users. */
    @Test
    void chrootThatIsNotAllowed() throws Exception {
        Machine.assumeProgram("mmdebstrap");
        Machine.assumeSucceeds("unshare", "--user", "--map-root-user", "true");
        Path tar =
                Files.createDirectories(project().resolve("target/elsewhere")).resolve("debian13.tar");
        Files.createFile(temporary.resolve("file"));
        Program.output(List.of("tar", "-C", temporary.toString(), "--owner=12345", "-cf", tar.toString(), "file"));
        assertRefused(
                COULD_NOT_RUN,
                "this machine cannot make the chroot " + project(),
                "unshare",
                "--user",
                "--map-root-user",
                script(),
                "13-root-nokvm");
    }
}
