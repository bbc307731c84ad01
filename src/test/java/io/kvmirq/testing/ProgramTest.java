/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class ProgramTest {
    /** Programs of Debian's essential packages, and of those that scripts/bootstrap installs. */
    private static final Set<String> EVERYWHERE = Set.of(
            "bash cc chmod cp env make mkfifo nm prlimit setpriv sh tail true tar truncate unshare".split(" ", -1));

    private static final Pattern STARTED =
            Pattern.compile("(?:new ProcessBuilder\\(|Program\\.(?:run|output)\\(\\s*List\\.of\\(|\\.under\\(|\"--\",)"
                    + "\\s*\"([a-z][\\w.+-]+)\"");

    /** Does not read what shells are told: they have a kill of their own. */
    @Test
    void testsStartProgramsOfAMinimalDebianOrSkip() throws IOException {
        Set<String> unexpected = new TreeSet<>();
        List<Path> sources;
        try (Stream<Path> files = Files.walk(Machine.root().resolve("src/test/java"))) {
            sources = files.filter(file -> file.toString().endsWith(".java")).toList();
        }
        for (Path source : sources) {
            String text = Files.readString(source);
            STARTED.matcher(text)
                    .results()
                    .map(start -> start.group(1))
                    .filter(name -> !EVERYWHERE.contains(name) && !text.contains("assumeProgram(\"" + name + "\")"))
                    .forEach(name -> unexpected.add(source.getFileName() + " starts " + name));
        }
        assertThat(unexpected).isEmpty();
    }
}
