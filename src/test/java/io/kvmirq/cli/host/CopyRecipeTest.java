/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The script that copies a host's files without Java. */
class CopyRecipeTest {
    @TempDir
    private Path temporary;

    private static String answer(Path root, String... command) {
        List<String> words = new ArrayList<>(List.of(command));
        words.addAll(List.of("--root", root.toString()));
        Cli.Ended ended = Cli.run(words.toArray(String[]::new));
        return ended.exitCode() + "\n" + ended.out();
    }

    @ParameterizedTest
    @CsvSource({
        "intel-posted,         0000:00:01.0",
        "amd-pit,              0000:00:02.0",
        "amd-legacy,           0000:00:02.0",
        "gicv4,                0000:00:01.0",
        "vhost-kernel-threads, 0000:00:02.0",
        "vhost-tasks,          0000:00:02.0",
        "intx-shared,          0000:00:02.0",
        "intx-exclusive,       0000:00:02.0",
        "group-not-viable,     0000:00:02.0"
    })
    void copyIsAnsweredAsItsHost(String name, String device) throws IOException, InterruptedException {
        RecordedHost host = GuestHosts.of(name)
                .put("proc/self/limits", "Max open files   65536   65536   files\n")
                .put("proc/100/limits", "Max open files   256   65536   files\n")
                .put("proc/1/comm", "init\n")
                .put("proc/1/stat", "1 (init) S 0 1 1 0 -1 0" + " 0".repeat(44) + "\n")
                .link("proc/1/fd/0", "/dev/null")
                .put("sys/devices/pci0000:00/0000:00:1c.0/0000:01:00.0/vendor", "0x8086\n")
                .link("sys/bus/pci/devices/0000:01:00.0", "../../../devices/pci0000:00/0000:00:1c.0/0000:01:00.0");
        Path root = Files.createDirectories(temporary.resolve("host-files"));
        host.writeTo(root);
        Path out = Files.createDirectories(temporary.resolve("out"));
        ProcessBuilder builder = new ProcessBuilder(
                        "bash", "-euc", Machine.root().resolve("src/packaging/copy-host") + "\ntar -xzf host.tgz")
                .directory(out.toFile())
                .redirectErrorStream(true)
                .redirectOutput(temporary.resolve("log").toFile());
        builder.environment().put("ROOT", root.toString());
        Process bash = builder.start();
        bash.getOutputStream().close();
        bash.waitFor();
        assertThat(bash.exitValue())
                .as(Files.readString(temporary.resolve("log")))
                .isZero();
        Files.deleteIfExists(out.resolve("kmsg")); // the log of this machine
        for (String[] command :
                List.of(new String[] {"doctor"}, new String[] {"list"}, new String[] {"list", "--all"}, new String[] {
                    "explain", device
                })) {
            assertThat(answer(out, command)).isEqualTo(answer(root, command)).hasSizeGreaterThan(20);
        }
        boolean runs = Files.exists(root.resolve("proc/100/fd"));
        assertThat(answer(out, "doctor")).contains(runs ? "256 open files" : "no VM is running");
        assertThat(out.resolve("proc/1")).doesNotExist();
        // The link shows which bridges are above a device.
        assertThat(out.resolve("sys/bus/pci/devices/0000:01:00.0")).isSymbolicLink();
        assertThat(out.resolve("sys/bus/pci/devices/0000:01:00.0/vendor")).hasContent("0x8086");
    }
}
