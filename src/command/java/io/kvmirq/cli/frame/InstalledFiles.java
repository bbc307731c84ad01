/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import picocli.AutoComplete;
import picocli.CommandLine;

/** Writes the files that are installed beside the jar, from the model that prints the help. */
final class InstalledFiles {
    private InstalledFiles() {}

    /** Writes manual pages and completions; {@code summaries} has a line for each command, by name. */
    static void write(Path directory, CommandLine command, Map<String, String> summaries) throws IOException {
        Map<String, String> files = new LinkedHashMap<>();
        ManPages.render(command, summaries).forEach((name, page) -> files.put("share/man/man1/" + name, page));
        // Removes the first line, which names a shell: shells read the completion and do not run it.
        String completion = AutoComplete.bash(command.getCommandName(), command).replaceFirst("^#!.*\n", "");
        files.put("share/bash-completion/completions/kvmirq", completion);
        // Zsh loads the file at the first completion. The last line performs that completion.
        files.put(
                "share/zsh/site-functions/_kvmirq",
                "#compdef kvmirq\n" + completion + "\neval \"${_comps[kvmirq]}\"\n");
        for (Map.Entry<String, String> file : files.entrySet()) {
            Path place = directory.resolve(file.getKey());
            Files.createDirectories(place.getParent());
            Files.writeString(place, file.getValue(), StandardCharsets.UTF_8);
        }
    }
}
