/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * How much of the prose has forms that read as foreign. {@code prose.txt} has for each page and each package's Javadoc how
 * many sentences in a thousand say "of the host" for "host's", and how many "is no" for "is not a". A number only goes down.
 */
class ProseShareTest {
    private static final Pattern OF =
            Pattern.compile("\\bof (the|a|its|this|that) (host|guest|device|VM|kernel|vCPU)\\b");
    private static final Pattern NO = Pattern.compile("\\b(is|are) no\\b");
    private static final Pattern COMMENT = Pattern.compile("/\\*\\*(.*?)\\*/", Pattern.DOTALL);
    private static final int SHORTEST = 4;

    private static List<String> sentences(String text) {
        return Stream.of(text.replaceAll("(?s)```.*?```", "").split("\\n\\s*\\n|\\n\\s*[-*] |\\||\\n#.*"))
                .flatMap(part -> Stream.of(part.strip().replaceAll("\\s+", " ").split("(?<=[.:?!]) ")))
                .filter(sentence -> sentence.split(" ", -1).length >= SHORTEST)
                .toList();
    }

    /** The sentences of pages and of the packages' Javadoc. */
    private static Map<String, List<String>> prose() throws IOException {
        Map<String, List<String>> prose = new TreeMap<>();
        Path root = Machine.root();
        try (Stream<Path> files = Files.walk(root.resolve("src"))) {
            List<Path> pages = new ArrayList<>(List.of(root.resolve("README.md"), root.resolve("CONTRIBUTING.md")));
            for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
                String name = root.relativize(file).toString();
                if (name.matches("src/docs/.*\\.md")) {
                    pages.add(file);
                } else if (name.matches("src/(kvmirq|vmm|fake|testkit|command)/java/.*\\.java")) {
                    List<String> of = prose.computeIfAbsent(
                            root.relativize(file.getParent()).toString(), none -> new ArrayList<>());
                    COMMENT.matcher(Files.readString(file))
                            .results()
                            .forEach(comment ->
                                    of.addAll(sentences(comment.group(1).replaceAll("(?m)^\\s*\\* ?", ""))));
                }
            }
            for (Path page : pages) {
                prose.put(root.relativize(page).toString(), sentences(Files.readString(page)));
            }
        }
        return prose;
    }

    private static long share(List<String> sentences, Pattern form) {
        return sentences.stream().filter(form.asPredicate()).count() * 1000 / Math.max(1, sentences.size());
    }

    @Test
    void sharesOnlyFall() throws IOException {
        Map<String, String> recorded = new TreeMap<>();
        Files.readAllLines(Machine.root().resolve("src/test/resources/prose.txt"))
                .forEach(line -> recorded.put(line.split(" ", 2)[0], line));
        Map<String, List<String>> prose = prose();
        assertThat(prose).hasSizeGreaterThan(50);
        prose.forEach((place, sentences) -> {
            String[] most = recorded.getOrDefault(place, place + " 20 0").split(" ", -1);
            assertThat(share(sentences, OF))
                    .as("of the host … in %s", place)
                    .isLessThanOrEqualTo(Long.parseLong(most[1]));
            assertThat(share(sentences, NO)).as("is no … in %s", place).isLessThanOrEqualTo(Long.parseLong(most[2]));
        });
    }
}
