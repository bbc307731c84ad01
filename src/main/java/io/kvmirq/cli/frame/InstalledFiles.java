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

/** Writes the files that {@code make install} installs beside the jar, from the model that prints the help. */
final class InstalledFiles {
    private InstalledFiles() {}

    /**
     * Writes manual pages, and completions for bash and zsh.
     *
     * @param summaries one line for each command, by its name
     */
    static void write(Path directory, CommandLine command, Map<String, String> summaries) throws IOException {
        Map<String, String> files = new LinkedHashMap<>(ManPages.of(command, summaries));
        String completion = AutoComplete.bash(command.getCommandName(), command);
        files.put("kvmirq.bash", completion);
        // Zsh loads the file at the first completion. The last line makes that completion.
        files.put("_kvmirq", "#compdef kvmirq\n" + completion + "\neval \"${_comps[kvmirq]}\"\n");
        Files.createDirectories(directory);
        for (Map.Entry<String, String> file : files.entrySet()) {
            Files.writeString(directory.resolve(file.getKey()), file.getValue(), StandardCharsets.UTF_8);
        }
    }
}
