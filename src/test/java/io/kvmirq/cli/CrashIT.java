/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.cli.frame.Commands;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code make crash}, with few kills. */
@Tag("long")
class CrashIT {
    private static final int KILLS = 3;

    @TempDir
    private Path temporary;

    /** Commands that write files, make objects of a kernel or set tracepoints. */
    @ParameterizedTest
    @ValueSource(strings = {"selftest", "capture", "list", "forward"})
    void killedCommandLeavesNothing(String name) throws Exception {
        try (CrashSearch search = CrashSearch.ofCommand(name.length())) {
            for (List<String> row : CrashSearch.ROWS) {
                if (row.get(0).equals(name)) {
                    assertThat(search.kill(KILLS, row)).isEmpty();
                }
            }
        }
    }

    @Test
    void eachCommandIsKilled() {
        assertThat(CrashSearch.ROWS.stream().map(row -> row.get(0)).distinct())
                .containsExactlyInAnyOrderElementsOf(
                        Main.commands().stream().map(Commands.Named::name).toList());
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
        Path script = Files.writeString(
                temporary.resolve("leaves"),
                "echo > \"$TMPDIR/kvmirq-$$.tmp\"; for ((i = 0; i < 20000; i++)); do :; done");
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
