/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The command as a service runs it: a user without a passwd entry, a home or an environment. */
class ServiceUserIT {
    private static final int USER = 54321;
    private static final int KVM_GROUP = 54322;
    private static final String NO_HOME = "HOME=/nonexistent";

    @TempDir
    private Path temporary;

    private Path tmp = Path.of("");
    private Path jar = Path.of("");

    /** Copies what the user needs to where the user may go; a node of KVM that its group may open. */
    @BeforeEach
    void placesTheUserMayReach() throws IOException, InterruptedException {
        Machine.assumeRoot("to become another user");
        Machine.assumeSucceeds("setpriv", "--reuid", "" + USER, "--regid", "" + USER, "--clear-groups", "true");
        mode(temporary, "rwxr-xr-x");
        jar = Files.copy(Machine.jar(), temporary.resolve("kvmirq-cli.jar"));
        tmp = Files.createDirectory(temporary.resolve("tmp"));
        Files.setAttribute(tmp, "unix:mode", 01777);
    }

    private static void mode(Path path, String permissions) throws IOException {
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(permissions));
    }

    private List<String> asService(List<String> variables, String... arguments) {
        List<String> command = new ArrayList<>(List.of(
                "setpriv", "--reuid", "" + USER, "--regid", "" + USER, "--groups", "" + KVM_GROUP, "env", "-i"));
        command.addAll(variables);
        command.add(Path.of(System.getProperty("java.home"), "bin/java").toString());
        command.add("-Djava.io.tmpdir=" + tmp);
        command.addAll(List.of(arguments));
        return command;
    }

    /** Options of setpriv that leave these capabilities alone. */
    private static List<String> only(String capabilities) {
        return Stream.of("--inh-caps", "--ambient-caps", "--bounding-set")
                .map(option -> option + "=-all," + capabilities)
                .toList();
    }

    /** How many processes hide their files from the service with these capabilities. */
    private int hidden(String capabilities) throws IOException, InterruptedException {
        Path file = tmp.resolve("metrics");
        List<String> command = asService(
                List.of(NO_HOME), "-jar", jar.toString(), "list", "--no-kernel-memory", "--textfile", file.toString());
        command.add(1, "--no-new-privs");
        command.addAll(1, only(capabilities));
        assertThat(Program.run(command).said()).isEmpty();
        return Files.readAllLines(file).stream()
                .filter(line -> line.startsWith("kvmirq_unreadable_processes "))
                .mapToInt(line -> Integer.parseInt(line.split(" ")[1]))
                .findFirst()
                .orElseThrow();
    }

    /** With the capabilities of kvmirq-textfile.service. access(2) ignores them, so only open(2) shows what is readable. */
    @Test
    void capabilitiesShowTheFilesOfOtherUsers() throws IOException, InterruptedException {
        String both = "+sys_ptrace,+dac_read_search";
        List<String> command = new ArrayList<>(List.of("setpriv", "--reuid", "" + USER, "true"));
        command.addAll(3, only(both));
        Machine.assumeSucceeds(command.toArray(String[]::new));
        int listed = hidden("+dac_read_search");
        assumeTrue(listed > 0, "/proc is mounted with hidepid, or has no process of another user");
        assertThat(hidden(both)).isLessThan(listed);
    }

    /** The scripts run in a clone of root. */
    @Test
    void cloneOfAnotherUserIsRefusedInOneSentence() throws IOException, InterruptedException {
        Path clone = Files.createDirectories(temporary.resolve("clone/scripts"));
        for (String script : List.of("bootstrap", "jdks", "locale")) {
            Files.copy(
                    Machine.root().resolve("scripts").resolve(script),
                    clone.resolve(script),
                    StandardCopyOption.COPY_ATTRIBUTES);
        }
        Program.Ended ended = Program.run(
                List.of("setpriv", "--reuid", "" + USER, "--regid", "" + USER, "--clear-groups", clone + "/bootstrap"));
        assertThat(ended.code()).isEqualTo(1);
        assertThat(ended.said())
                .isEqualTo("user " + USER + " cannot write to "
                        + temporary.resolve("clone").toRealPath() + ": make a clone of your own\n");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", NO_HOME, "HOME="})
    void everyBindingFindsAPlaceOfThisUserAlone(String home) throws IOException, InterruptedException {
        List<String> variables = home.isEmpty() ? List.of() : List.of(home);
        Program.Ended ended = Program.run(asService(variables, "-jar", jar.toString(), "backends"));
        assertThat(ended.said())
                .contains("jni  usable", tmp + "/kvmirq-" + USER + "/libkvmirq-", "jna  usable", "jnr  usable");
        Path cache = tmp.resolve("kvmirq-" + USER);
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(cache)))
                .isEqualTo("rwx------");
        assertThat((int) Files.getAttribute(cache, "unix:uid")).isEqualTo(USER);
    }

    @Test
    void namedDirectoryIsEnough() throws IOException, InterruptedException {
        Files.setAttribute(tmp, "unix:mode", 0755);
        Path cache = Files.createDirectory(temporary.resolve("cache"));
        Files.setAttribute(cache, "unix:uid", USER);
        Program.Ended byProperty =
                Program.run(asService(List.of(NO_HOME), "-Dkvmirq.cache=" + cache, "-jar", jar.toString(), "backends"));
        Program.Ended byVariable =
                Program.run(asService(List.of(NO_HOME, "XDG_CACHE_HOME=" + cache), "-jar", jar.toString(), "backends"));
        for (Program.Ended ended : List.of(byProperty, byVariable)) {
            assertThat(ended.said()).contains("jni  usable", "jna  usable", "jnr  usable");
        }
    }

    @Test
    void withoutAnyPlaceTheSentenceNamesTheProperty() throws IOException, InterruptedException {
        Files.setAttribute(tmp, "unix:mode", 0755);
        Program.Ended ended = Program.run(asService(List.of(NO_HOME), "-jar", jar.toString(), "backends"));
        String sentence = "cannot create cache directory " + tmp + "/kvmirq-" + USER;
        assertThat(ended.said()).contains("jni  unusable", "jna  unusable  " + sentence, "jnr  unusable  " + sentence);
        assertThat(ended.said()).contains("set $XDG_CACHE_HOME or -Dkvmirq.cache to a place where one can be created");
    }

    @Test
    void directoryThatAnotherUserMadeFirstIsRefused() throws IOException, InterruptedException {
        Path foreign = Files.createDirectory(tmp.resolve("kvmirq-" + USER));
        Files.setAttribute(foreign, "unix:uid", USER + 1);
        Program.Ended ended = Program.run(asService(List.of(NO_HOME), "-jar", jar.toString(), "backends"));
        assertThat(ended.said())
                .contains("jni  unusable", "jna  unusable", "jnr  unusable")
                .contains(foreign + " belongs to user " + (USER + 1) + ", who could replace it");
    }

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @ValueSource(strings = {"jni", "ffm", "jna", "jnr"})
    void interruptsReachAGuest(String backend) throws IOException, InterruptedException {
        assumeTrue(!backend.equals("ffm") || Runtime.version().feature() >= 22, "ffm needs Java 22");
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path node = temporary.resolve("kvm");
        String open = "mknod " + node + " c 10 232 && chgrp " + KVM_GROUP + " " + node + " && chmod 660 " + node
                + " && mount --bind " + node + " /dev/kvm && exec \"$@\"";
        List<String> command = new ArrayList<>(List.of("unshare", "--mount", "sh", "-c", open, "sh"));
        command.addAll(asService(
                List.of(NO_HOME),
                "-jar",
                jar.toString(),
                "selftest",
                "--backend",
                backend,
                "--scenario",
                "edge",
                "--count",
                "10"));
        Program.Ended ended = Program.run(command);
        assertThat(ended.said()).contains("through " + backend, "sent 10, answered 10, lost 0");
        assertThat(ended.code()).isZero();
    }
}
