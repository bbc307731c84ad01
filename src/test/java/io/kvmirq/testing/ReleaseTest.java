/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code scripts/release}, in a repository with planted artifacts and packages. */
class ReleaseTest {
    private static final String REPOSITORY = """
            mkdir scripts && cp "$1"/scripts/{release,locale} scripts
            commit() {
                git add -A && git -c user.name=a -c user.email=a@example.com -c commit.gpgsign=false commit -qm "$1"
            }
            git init -q && echo target > .gitignore
            printf '  <version>%s</version>\n' 1.2.3-SNAPSHOT > pom.xml && echo "## 1.2.2" > CHANGELOG.md && commit one
            ! scripts/release --check
            printf '  <version>%s</version>\n' 1.2.3 > pom.xml && commit two
            ! scripts/release --check
            echo "## 1.2.3" >> CHANGELOG.md
            ! scripts/release --check
            commit three && scripts/release --check

            mkdir -p target/package target/maven/kvmirq-command
            for file in package/kvmirq-1.2.3-linux-{x86_64,aarch64}.tar.gz package/kvmirq_1.2.3_{amd64,arm64}.deb \\
                maven/kvmirq-command/kvmirq-command-1.2.3-cyclonedx.json; do
                echo "$file" > "target/$file"
            done
            publish() {
                for artifact; do
                    echo "$artifact" > target/maven/$artifact-1.2.3.pom
                    echo "[INFO] Installing $PWD/target/maven/$artifact-1.2.3.pom to" \\
                        "/root/.m2/repository/io/kvmirq/$artifact/1.2.3/$artifact-1.2.3.pom"
                done > target/publish.log
            }
            publish kvmirq{,-vmm,-fake,-testkit,-command,-bom}
            ! scripts/release && ls target
            publish kvmirq{,-vmm,-fake,-testkit,-command,-bom,-parent}
            scripts/release && cd target/release
            sha256sum --quiet -c SHA256SUMS && cat maven/io/kvmirq/kvmirq/1.2.3/kvmirq-1.2.3.pom.sha1
            echo >> kvmirq_1.2.3_amd64.deb && ! sha256sum --quiet -c SHA256SUMS
            """;

    @Test
    void onlyCommittedVersionWithAllItsArtifactsIsReleased(@TempDir Path temporary) throws Exception {
        Machine.assumeProgram("git");
        Program.Ended ended = Program.run(List.of(
                "bash",
                "-c",
                "set -e; cd \"$0\"; " + REPOSITORY,
                temporary.toString(),
                Machine.root().toString()));
        assertThat(ended.code()).as(ended.said()).isZero();
        assertThat(ended.said().lines())
                .startsWith(
                        "release: version 1.2.3-SNAPSHOT of pom.xml is a snapshot: set the version of the release",
                        "release: CHANGELOG.md has no section '## 1.2.3': write what users can do with it",
                        "release: changed files are not in a commit: commit or stash them ( M CHANGELOG.md)",
                        "release: kvmirq-parent was not published: see target/publish.log",
                        "maven",
                        "package",
                        "publish.log",
                        "target/release holds version 1.2.3: 27 files, their checksums in SHA256SUMS")
                .contains("kvmirq_1.2.3_amd64.deb: FAILED");
    }
}
