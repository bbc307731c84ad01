/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Comments name their subject first: "The causes of a refusal", and not a question. */
class ProseTest {
    private static final Pattern QUESTION =
            Pattern.compile("^\\s*(/\\*\\*|/\\*|\\*|//)\\s*(What|Which|Whose|Who|How often|That which)\\b.*");

    private static Stream<String> questions(Path file) {
        try {
            List<String> lines = Files.readAllLines(file);
            return IntStream.range(0, lines.size())
                    .filter(i -> QUESTION.matcher(lines.get(i)).matches())
                    .mapToObj(i -> file.getFileName() + ":" + (i + 1) + lines.get(i));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"src/kvmirq", "src/vmm", "src/fake", "src/testkit", "src/command", "src/examples", "native"})
    void noCommentBeginsWithAQuestion(String folder) throws IOException {
        try (Stream<Path> files = Files.walk(Machine.root().resolve(folder))) {
            List<Path> sources = files.filter(file -> file.toString().matches(".*\\.(java|[chS])"))
                    .toList();
            assertThat(sources).isNotEmpty();
            assertThat(sources.stream().flatMap(ProseTest::questions)).isEmpty();
        }
    }
}
