/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code scripts/commits}, in repositories with planted commits. */
class CommitsTest {
    private static final String WHY = "It was wrong.";

    @TempDir
    private Path temporary;

    @BeforeEach
    void repository() throws Exception {
        Machine.assumeProgram("git");
        Path script = Machine.root().resolve("scripts/commits");
        Path scripts = Files.createDirectory(temporary.resolve("scripts"));
        Files.copy(script, scripts.resolve("commits"), StandardCopyOption.COPY_ATTRIBUTES);
    }

    private void git(String... words) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                "git", "-C", temporary.toString(), "-c", "user.name=a", "-c", "user.email=a@example.com", "-c"));
        command.add("commit.gpgsign=false");
        command.addAll(List.of(words));
        Program.output(command);
    }

    private void commit(String... paragraphs) throws IOException, InterruptedException {
        List<String> words = new ArrayList<>(List.of("commit", "-q", "--allow-empty"));
        for (String paragraph : paragraphs) {
            words.addAll(List.of("-m", paragraph));
        }
        git(words.toArray(String[]::new));
    }

    private Program.Ended check(String... base) throws IOException, InterruptedException {
        List<String> command =
                new ArrayList<>(List.of(temporary.resolve("scripts/commits").toString()));
        command.addAll(List.of(base));
        return Program.run(command);
    }

    @Test
    void eachRuleIsHeldFromTheFirstCommitThatIsChecked() throws Exception {
        Program.Ended none = new Program.Ended(0, "commits: 0 checked, 0 wrong\n");
        assertThat(check()).isEqualTo(none);
        git("init", "-q");
        commit("An early one; of two things");
        assertThat(check()).isEqualTo(none);
        commit("Cut the library into five artifacts", WHY);
        commit("x".repeat(72), WHY);
        assertThat(check()).isEqualTo(new Program.Ended(0, "commits: 1 checked, 0 wrong\n"));
        commit("x".repeat(73), WHY);
        commit("Mend one; mend another", WHY);
        commit("Mend it.", WHY);
        commit("Mend it");
        commit("Mend it", "Signed-off-by: a <a@example.com>");
        Program.Ended ended = check();
        assertThat(ended.code()).isEqualTo(1);
        assertThat(check("of-no-commit").code()).isEqualTo(128);
        assertThat(ended.said().lines())
                .hasSize(6)
                .anyMatch(line -> line.contains("(Mend one; mend another): expected a subject of one change"))
                .endsWith("commits: 6 checked, 5 wrong");
    }
}
