/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code scripts/commits}, in a repository with planted commits. */
class CommitsTest {
    private static final String REPOSITORY = """
            mkdir scripts && cp "$1/scripts/commits" scripts
            commit() {
                git -c user.name=a -c user.email=a@example.com -c commit.gpgsign=false commit -q --allow-empty -F -
            }
            why=$'\n\nIt was wrong.' long=$(printf 'x%.0s' {1..72})
            scripts/commits && git init -q
            commit <<< "An early one; of two things" && scripts/commits
            commit <<< "Cut the library into five artifacts$why"
            commit <<< "$long$why" && scripts/commits && ! scripts/commits nowhere > /dev/null 2>&1
            for wrong in "y$long$why" "Mend one; mend another$why" "Mend it.$why" "Mend it" $'Mend it\n\nSigned-off-by: a <a@b>'; do
                commit <<< "$wrong"
            done
            commit <<< "commits: require an area$why"
            for right in "watch: fix CPU counter going backwards on wrap" "pci: speed up forwardAll of 64 vectors"; do
                commit <<< "$right$why"
            done
            for wrong in "Fix it" "Watch: fix it" "watch: Fix it" "watch: fix one and another" "watch: fix five alerts"; do
                commit <<< "$wrong$why"
            done
            scripts/commits
            """;

    @Test
    void eachRuleIsHeldFromTheFirstCommitThatIsChecked(@TempDir Path temporary) throws Exception {
        Machine.assumeProgram("git");
        Program.Ended ended = Program.run(List.of(
                "bash",
                "-c",
                "cd \"$0\" && " + REPOSITORY,
                temporary.toString(),
                Machine.root().toString()));
        assertThat(ended.code()).as(ended.said()).isEqualTo(1);
        assertThat(ended.said().lines())
                .startsWith("commits: 0 checked, 0 wrong", "commits: 0 checked, 0 wrong", "commits: 1 checked, 0 wrong")
                .hasSize(14)
                .anyMatch(line -> line.contains("(Mend one; mend another): expected a subject of one change"))
                .anyMatch(line -> line.contains("(watch: fix five alerts): expected \"area: verb thing\""))
                .endsWith("commits: 14 checked, 10 wrong");
    }
}
