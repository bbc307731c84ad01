/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.cli.frame.Command;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code make crash}, with few kills. */
class CrashIT {
    private static final int KILLS = 3;

    @TempDir
    private Path temporary;

    /** Commands that write files or start a program. */
    @ParameterizedTest
    @ValueSource(ints = {3, 4, 5, 7, 10})
    void killedCommandLeavesNothing(int row) throws Exception {
        List<String> arguments = CrashSearch.ROWS.get(row);
        if (arguments.contains("--")) {
            Program.output(List.of(
                    "make",
                    "-s",
                    "-C",
                    Machine.root().resolve("native").toString(),
                    "OUT=../target/native",
                    "../target/native/bare"));
        }
        try (CrashSearch search = CrashSearch.ofCommand(row)) {
            assertThat(search.kill(KILLS, arguments)).isEmpty();
        }
    }

    @Test
    void eachCommandIsKilled() {
        assertThat(CrashSearch.ROWS.stream().map(row -> row.get(0)).distinct())
                .containsExactlyInAnyOrderElementsOf(
                        Main.commands().stream().map(Command::name).toList());
    }

    /** Such a row searches nothing. */
    @Test
    void mistypedCommandLineIsNotSearched() throws Exception {
        try (CrashSearch search = CrashSearch.ofCommand(0)) {
            for (List<String> row : List.of(List.of("decode", "pid", "0"), List.of("explain", "--live", "1"))) {
                assertThatThrownBy(() -> search.kill(0, row))
                        .hasMessage(row + " is no command line: it ends with exit code 2");
            }
        }
    }

    @Test
    void fileOfAKilledCommandIsSeen() throws Exception {
        Path script =
                Files.writeString(temporary.resolve("leaves"), "echo > \"$TMPDIR/kvmirq-$$.tmp\"; read -r < <(:)");
        try (CrashSearch search = new CrashSearch(List.of("bash", script.toString()), 0)) {
            assertThat(search.kill(KILLS, List.of())).isNotEmpty().allMatch(file -> file.startsWith("tmp/"));
        }
    }

    @Test
    void processOfAKilledCommandIsSeen() throws Exception {
        Path script = Files.writeString(temporary.resolve("leaves"), "tail -f /dev/null & exit 0");
        try (CrashSearch search = new CrashSearch(List.of("bash", script.toString()), 0)) {
            assertThat(search.kill(0, List.of())).isNotEmpty();
        }
    }
}
