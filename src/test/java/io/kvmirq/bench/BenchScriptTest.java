/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.Program.Ended;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Bad input of {@code make bench}. It is refused before anything is built. */
class BenchScriptTest {
    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    private static Ended check(String... settingsAndNames) throws Exception {
        List<String> command = new ArrayList<>(List.of("env", "-u", "BASE", "-u", "BEFORE"));
        List<String> names = new ArrayList<>();
        for (String word : settingsAndNames) {
            (word.contains("=") ? command : names).add(word);
        }
        command.addAll(List.of(Machine.root().resolve("scripts/bench").toString(), "--check"));
        command.addAll(names);
        return Program.run(command);
    }

    @Test
    void unknownNameIsRefusedWithTheKnownOnes() throws Exception {
        Ended ended = check("calls", "nonsense");
        assertThat(ended.code()).isEqualTo(2);
        assertThat(ended.said())
                .matches("bench: there is no benchmark nonsense: there are attach calls .*watch\n")
                .contains(" dispatch ");
    }

    @Test
    void knownNamesAreAccepted() throws Exception {
        assertThat(check("calls", "dispatch")).isEqualTo(new Ended(0, ""));
        assertThat(check()).isEqualTo(new Ended(0, ""));
    }

    @Test
    void commitThatDoesNotExistIsRefused() throws Exception {
        Ended ended = check("BASE=nowhere");
        assertThat(ended.code()).isEqualTo(2);
        assertThat(ended.said()).isEqualTo("bench: BASE=nowhere is no commit here\n");
    }

    @Test
    void formerReportThatIsNoneIsRefused() throws Exception {
        Path file = Files.writeString(directory.resolve("report.json"), "{}");
        Ended ended = check("BEFORE=" + file);
        assertThat(ended.code()).isEqualTo(2);
        assertThat(ended.said()).isEqualTo("bench: BEFORE=" + file + " is no report.json of make bench\n");
        Path none = directory.resolve("none");
        assertThat(check("BEFORE=" + none))
                .isEqualTo(new Ended(2, "bench: BEFORE=" + none + ": there is no such file\n"));
    }
}
