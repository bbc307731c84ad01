/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The questions of administrators in src/docs/command.md, each with a command and what it prints on a host. */
class QuestionsTest {
    /** The hosts, in the order of the questions. */
    private static final List<String> HOSTS = List.of(
            "inhibited",
            "pinned",
            "blocked",
            "lost",
            "inhibited",
            "inhibited",
            "inhibited",
            "inhibited",
            "bug",
            "inhibited");

    @TempDir
    private Path temporary;

    private static RecordedHost host(String name) throws IOException {
        return switch (name) {
            case "pinned" ->
                PlantedFaultsTest.apply(
                        GuestHosts.of("intel-posted"),
                        "posted",
                        "{vmm}task/102/status = State:\\tR (running)\\nCpus_allowed_list:\\t3; "
                                + "{vmm}task/102/schedstat = 4000000000 6000000000 9; "
                                + "proc/66/stat = 66 (backup) R 1 1 1 0 -1 4194304 1 0 0 0 900 1 0 0 20 0 1 0 9 9 9 9 9 9 9 9"
                                + " 9 9 9 9 9 9 9 9 17 3 0 0");
            case "blocked" -> GuestHosts.of("group-not-viable");
            case "lost" -> PlantedFaultsTest.apply(GuestHosts.of("amd-avic"), "remapped", "{dev}config - 0x4 0x4");
            case "bug" ->
                GuestHosts.of("intel-posted")
                        .put(
                                "proc/version",
                                "Linux version 6.1.0-33-amd64 (build@host) #1 SMP Debian 6.1.133-1 (2025-04-10)\n");
            default -> GuestHosts.of("amd-pit");
        };
    }

    /** The first answer is the first line of the output; others are lines below it, in which … stands for any text. */
    @Test
    void eachQuestionHasItsAnswer() throws IOException {
        Files.move(GuestHosts.of("amd-avic").archive(temporary), temporary.resolve("OLD"));
        List<String> rows = Page.of("src/docs/command.md").text().stream()
                .filter(line -> line.matches("\\| [A-Z].*\\? \\| `kvmirq .*"))
                .toList();
        assertThat(rows).hasSameSizeAs(HOSTS);
        for (int i = 0; i < rows.size(); i++) {
            Path from = host(HOSTS.get(i)).archive(temporary);
            String[] cells = rows.get(i).split(" \\| ", 3);
            String command = cells[1].replaceAll("`kvmirq (.*)`", "$1");
            List<String> words = new ArrayList<>(Arrays.asList(command.replace(" --from NEW", "")
                    .replace("OLD", temporary.resolve("OLD").toString())
                    .split(" ")));
            words.addAll(List.of("--from", from.toString()));
            List<String> printed =
                    Cli.run(words.toArray(String[]::new)).out().lines().toList();
            List<String> answers = Arrays.stream(
                            cells[2].replaceAll("`(.*)` \\|", "$1").split("`<br>`"))
                    .toList();
            Block.assertShown(answers.get(0), printed.get(0));
            for (String answer : answers) {
                assertThat(printed).as(command).anySatisfy(line -> Block.assertShown(answer, line));
            }
        }
    }
}
