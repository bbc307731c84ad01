/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The files of src/docs/rollout.md: their commands run with the rights that they ask for. */
class RolloutIT {
    private static final Path FILES = Machine.root().resolve("src/packaging/share/doc/kvmirq");

    @TempDir
    private Path temporary;

    private static String found(String file, String pattern) throws IOException {
        Matcher found = Pattern.compile(pattern).matcher(Files.readString(FILES.resolve(file)));
        assertThat(found.find()).as(pattern).isTrue();
        return found.group(1);
    }

    /** A pod shares the host's processes only with hostPID; without, its metrics say that guests are missing. */
    @Test
    void podWithoutHostPidReportsThatGuestsAreMissing() throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("unshare", "--pid", "--fork", "--mount-proc"));
        Machine.assumeSucceeds(
                Stream.concat(command.stream(), Stream.of("true")).toArray(String[]::new));
        command.addAll(List.of(
                System.getProperty("java.home") + "/bin/java",
                "-jar",
                Machine.jar().toString()));
        command.addAll(List.of(found("daemonset.yaml", "command: \\[kvmirq, (.*)]")
                .replace("/textfile/", temporary + "/")
                .replace("--interval=60", "--interval=0.1, --count=1")
                .split(", ")));
        assertThat(found("daemonset.yaml", "hostPID: (\\w+)")).isEqualTo("true");
        Program.output(command);
        assertThat(Files.readAllLines(temporary.resolve("kvmirq.prom"))).contains("kvmirq_in_pid_namespace 1");
    }

    /** {@code sudo -n} fails unless sudoers has the command with exactly these arguments. */
    @Test
    void sudoAllowsTheCommandsOfNrpe() throws IOException {
        String allowed = found("sudoers-nagios", "NOPASSWD: (.*)");
        List<String> commands = Pattern.compile("sudo -n (.*)")
                .matcher(Files.readString(FILES.resolve("nrpe.cfg")))
                .results()
                .map(MatchResult::group)
                .map(line -> line.substring("sudo -n ".length()))
                .toList();
        assertThat(commands).hasSize(2).containsExactly(allowed.split(", "));
        for (String command : commands) {
            String arguments = command.substring("/usr/bin/kvmirq ".length());
            assertThat(Cli.run((arguments + " --fake vtd-posting").split(" ")).out())
                    .startsWith("KVMIRQ ");
        }
    }
}
