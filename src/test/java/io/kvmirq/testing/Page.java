/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A page for people, in Markdown.
 *
 * @param file where it is
 * @param blocks its blocks of code, in order
 * @param text its lines without the blocks
 */
public record Page(Path file, List<Block> blocks, List<String> text) {
    private static final String FENCE = "```";

    /**
     * A block of code. Its kind is the text behind the opening fence: a language, then {@code kvm} if it needs real KVM,
     * then the name of the example that it shows a part of.
     *
     * @param where the page and the line of the opening fence
     */
    public record Block(String where, String kind, String text) {
        /** A block of kind {@code console} shows a command and all that it prints. */
        public String command() {
            assertThat(text).as(where).startsWith("$ ");
            return text.lines().findFirst().orElseThrow().substring(2);
        }

        public String output() {
            return text.substring(text.indexOf('\n') + 1);
        }

        /** The name of the program in src/examples that this block shows a part of; empty if it shows none. */
        public String example() {
            return kind.startsWith("java ") ? kind.replaceFirst("^java( kvm)? ?", "") : "";
        }

        /** Whether {@code printed} is the shown text, in which … stands for any part of a line. */
        public static void assertShown(String shown, String printed) {
            if (shown.contains("…")) {
                assertThat(printed).matches(pattern(shown));
            } else {
                assertThat(printed).isEqualTo(shown);
            }
        }

        /** Whether each line is printed, except for numbers. */
        public static void assertShownExceptNumbers(String shown, String printed) {
            List<String> lines = printed.lines().map(Block::withoutNumbers).toList();
            assertThat(shown.lines()).isNotEmpty().allSatisfy(line -> assertThat(lines)
                    .anyMatch(pattern(withoutNumbers(line)).asMatchPredicate()));
        }

        private static Pattern pattern(String shown) {
            return Pattern.compile(
                    Stream.of(shown.split("…", -1)).map(Pattern::quote).collect(Collectors.joining(".*")));
        }

        private static String withoutNumbers(String line) {
            return line.replaceAll("[0-9a-f]*[0-9][0-9a-f.]*", "#").replaceAll(" +", " ");
        }

        @Override
        public String toString() {
            return where;
        }
    }

    /** README, CONTRIBUTING and every page of {@code src/docs}. */
    public static List<Page> all() throws IOException {
        List<Path> files = new ArrayList<>(
                List.of(Machine.root().resolve("README.md"), Machine.root().resolve("CONTRIBUTING.md")));
        try (Stream<Path> pages = Files.list(Machine.root().resolve("src/docs"))) {
            pages.filter(page -> page.toString().endsWith(".md")).sorted().forEach(files::add);
        }
        List<Page> pages = new ArrayList<>();
        for (Path file : files) {
            pages.add(read(file));
        }
        return pages;
    }

    /** The blocks of all pages. */
    public static List<Block> allBlocks() throws IOException {
        return all().stream().flatMap(page -> page.blocks().stream()).toList();
    }

    public static Stream<Block> blocks(String kind) throws IOException {
        return allBlocks().stream().filter(block -> block.kind().equals(kind));
    }

    /** The page in a file of the checkout. */
    public static Page of(String file) throws IOException {
        return read(Machine.root().resolve(file));
    }

    /** The first block of a kind. */
    public Block first(String kind) {
        return blocks.stream()
                .filter(block -> block.kind().equals(kind))
                .findFirst()
                .orElseThrow(() -> new AssertionError(this + " has no block of the kind " + kind));
    }

    private static Page read(Path file) throws IOException {
        List<String> lines = Files.readAllLines(file);
        List<Block> blocks = new ArrayList<>();
        List<String> text = new ArrayList<>();
        for (int i = 0; i < lines.size(); i++) {
            String where = file.getFileName() + ":" + (i + 1);
            if (lines.get(i).startsWith(FENCE)) {
                String kind = lines.get(i).substring(FENCE.length());
                int end = i + 1 + lines.subList(i + 1, lines.size()).indexOf(FENCE);
                assertThat(end).as(where + " has no end").isGreaterThan(i);
                blocks.add(new Block(where, kind, String.join("\n", lines.subList(i + 1, end)) + "\n"));
                i = end;
            } else {
                assertThat(lines.get(i))
                        .as(where + ": a block has fences, so that its kind can be named")
                        .doesNotStartWith("    ")
                        .doesNotContain(FENCE);
                text.add(lines.get(i));
            }
        }
        return new Page(file, blocks, text);
    }

    /** The names by which links find the headings. */
    public List<String> anchors() {
        return text.stream()
                .filter(line -> line.startsWith("#"))
                .map(line -> line.replaceFirst("^#+ ", "")
                        .toLowerCase(Locale.ROOT)
                        .replaceAll("[^\\p{L}\\p{N} _-]", "")
                        .replace(' ', '-'))
                .toList();
    }

    @Override
    public String toString() {
        return Machine.root().relativize(file).toString();
    }
}
