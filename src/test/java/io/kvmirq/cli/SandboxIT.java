/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The rights that root's observing commands give up, with a script in the place of Java. */
class SandboxIT {
    private static final Path PAGE = Machine.root().resolve("src/docs/security.md");

    @TempDir
    private Path temporary;

    @BeforeEach
    void root() throws IOException, InterruptedException {
        assumeTrue(System.getProperty("user.name").equals("root"), "only root gives up rights");
        Machine.assumeSucceeds("setpriv", "--bounding-set=+all", "true");
    }

    /** Runs a command whose Java is a script, under another program. */
    private Cli.Ended planted(String script, String command, String... under) throws IOException, InterruptedException {
        return planting(script).under(under).execute(command.split(" "));
    }

    private Cli planting(String script) throws IOException {
        Path java = Files.writeString(temporary.resolve("java"), "#!/bin/bash\n" + script + "\n");
        Files.setPosixFilePermissions(java, PosixFilePermissions.fromString("rwxr-xr-x"));
        return Cli.launcher().with("JAVA", java.toString());
    }

    private static List<String[]> rows(String heading) throws IOException {
        return Files.readAllLines(PAGE).stream()
                .dropWhile(line -> !line.equals(heading))
                .takeWhile(line -> line.equals(heading) || !line.startsWith("## "))
                .filter(line -> line.startsWith("| "))
                .skip(1)
                .map(line -> line.substring(2, line.length() - 2).split(" \\| "))
                .toList();
    }

    static Stream<Arguments> commands() throws IOException {
        return rows("## What root gives up").stream()
                .filter(row -> row[1].startsWith("CAP_"))
                .flatMap(row -> Arrays.stream(row[0].split(", ")).map(command -> Arguments.of(command, row[1])));
    }

    @ParameterizedTest
    @MethodSource("commands")
    void commandHasTheRightsThatThePageLists(String command, String rights) throws IOException, InterruptedException {
        String status =
                planted("cat /proc/self/status", command.replace("`", "")).out();
        long held = 0;
        for (String right : rights.split(", ")) {
            held |= switch (right) {
                case "CAP_DAC_READ_SEARCH" -> 1L << 2;
                case "CAP_SYS_RAWIO" -> 1L << 17;
                case "CAP_SYS_PTRACE" -> 1L << 19;
                case "CAP_SYS_ADMIN" -> 1L << 21;
                case "CAP_SYSLOG" -> 1L << 34;
                default -> throw new AssertionError(right);
            };
        }
        for (String set : List.of("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")) {
            assertThat(status).containsPattern(set + ":\\s0*" + Long.toHexString(held) + "\n");
        }
        assertThat(status).containsPattern("NoNewPrivs:\\s1\n").doesNotContainPattern("[UG]id:.*\\b0\\b");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "list --no-sandbox",
                "decide --no-sandbox",
                "explain --live 1",
                "explain --live=5",
                "watch --live=tracepoints",
                "list --textfile /nonexistent/f",
                "capture -o f",
                "capture --output=f",
                "doctor --check backends",
                "doctor --check=backends",
                "backends",
                "selftest",
                "forward 0000:00:00.0"
            })
    void commandThatNeedsAllRightsKeepsThem(String command) throws IOException, InterruptedException {
        assertThat(planted("id -u; cat /proc/self/status", command).out())
                .startsWith("0\n")
                .containsPattern("NoNewPrivs:\\s0\n");
    }

    /** In a container, which may not change its user either. */
    @Test
    void rootWithFewRightsKeepsThem() throws IOException, InterruptedException {
        String few = "-all,+sys_ptrace,+dac_read_search";
        assertThat(planted(
                                "id -u; cat /proc/self/status",
                                "list",
                                "setpriv",
                                "--inh-caps=" + few,
                                "--bounding-set=" + few)
                        .out())
                .startsWith("0\n")
                .containsPattern("CapEff:\\s0*80004\n");
    }

    @Test
    void rightThatRootLacksIsNotAskedFor() throws IOException, InterruptedException {
        String few = "-sys_rawio,-syslog";
        assertThat(planted("cat /proc/self/status", "list", "setpriv", "--inh-caps=" + few, "--bounding-set=" + few)
                        .out())
                .containsPattern("CapEff:\\s0*80004\n")
                .containsPattern("Uid:\\s[1-9]");
    }

    @Test
    void rightsThatCannotBeGivenUpEndTheCommand() throws IOException, InterruptedException {
        Path programs = Files.createDirectory(temporary.resolve("bin"));
        for (String program : List.of("bash", "env", "grep", "readlink")) {
            Files.createSymbolicLink(programs.resolve(program), Path.of("/usr/bin", program));
        }
        Cli cli = planting("echo ran").with("PATH", programs.toString());
        assertThat(cli.execute("list")).isEqualTo(refused("command not found"));
        Path setpriv = Files.writeString(
                programs.resolve("setpriv"),
                "#!/bin/bash\necho 'setpriv: setresuid failed: Operation not permitted' >&2; exit 1\n");
        Files.setPosixFilePermissions(setpriv, PosixFilePermissions.fromString("rwxr-xr-x"));
        assertThat(cli.execute("list")).isEqualTo(refused("Operation not permitted"));
        assertThat(cli.execute("list", "--no-sandbox").out()).isEqualTo("ran\n");
        Files.delete(setpriv);
        Files.createSymbolicLink(setpriv, Path.of("/usr/bin/setpriv"));
        assertThat(cli.execute("list").out()).isEqualTo("ran\n");
    }

    private static Cli.Ended refused(String why) {
        return new Cli.Ended(
                3,
                "",
                "kvmirq: root's rights cannot be given up (setpriv: " + why + "): install util-linux, or type"
                        + " --no-sandbox\n");
    }

    /** Attempts of a parser that foreign files have taken over. Without the sandbox each succeeds. */
    enum Attempt {
        WRITE_FILE("write a file of root", ": >> $0.planted"),
        REPLACE_COMMAND("replace the command", "mv -T $0 $0.old && mv -T $0.old $0"),
        SYSCTL("change a sysctl", "cat /proc/sys/kernel/printk > /proc/sys/kernel/printk"),
        SYSFS("write to sysfs", ": > /sys/devices/system/cpu/cpu0/uevent"),
        MOUNT("mount a file system", "unshare --mount true"),
        ROOT("become root", "setpriv --reuid=0 true"),
        SIGNAL("signal a process of root", "kill -0 1"),
        PRIORITY("take processor time from others", "renice -n -20 $$"),
        KVM("open /dev/kvm", ": <> /dev/kvm"),
        HOSTNAME("rename the host", "hostname \"$(hostname)\""),
        OWNER("give a file away", "chown daemon $0.given"),
        MODULE("change what modprobe runs", ": >> /proc/sys/kernel/modprobe"),
        TEMPORARY("write a file in /tmp", ": > /tmp/kvmirq-$$ && rm /tmp/kvmirq-$$"),
        SHELL("start a program", "bash -c true"),
        SOCKET("open a socket", ": <> /dev/udp/127.0.0.1/9"),
        READ("read any file", ": < /etc/shadow"),
        MEMORY("read the memory of a process", ": < /proc/1/mem"),
        CHANGE("change the memory of a process", ": <> /proc/1/mem");

        final String what;
        private final String script;

        Attempt(String what, String script) {
            this.what = what;
            this.script = script;
        }
    }

    @ParameterizedTest
    @EnumSource(Attempt.class)
    void attemptEndsAsThePageLists(Attempt attempt) throws IOException, InterruptedException {
        Files.createFile(temporary.resolve("java.given"));
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
        assumeTrue(planted(attempt.script, "list --no-sandbox").exitCode() == 0, "root may not do it here either");
        assertThat(rows("## What root gives up"))
                .filteredOn(row -> row[0].equals(attempt.what))
                .singleElement()
                .satisfies(row -> assertThat(planted(attempt.script, "list").exitCode() == 0)
                        .as("whether a command can %s", attempt.what)
                        .isEqualTo(row[1].equals("not refused")));
    }

    /** It reads the descriptors of this process, whose user is root, which another user may not. */
    @Test
    void guestOfRootIsListed() throws IOException, InterruptedException {
        try (Kernel kernel = Kernels.REAL.open();
                Vm vm = Vm.create(kernel)) {
            assertThat(vm.fd()).isNotNull();
            String row = "(?m)^java +" + ProcessHandle.current().pid() + " ";
            assertThat(Cli.launcher().execute("list", "--no-kernel-memory").out())
                    .containsPattern(row);
        }
    }
}
