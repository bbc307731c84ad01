/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.explorer.Verdicts;
import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.platform.console.ConsoleLauncher;

/**
 * {@code main}: changes the production code, one place at a time, and runs the tests or the search that have to notice it.
 * Each change is a block of a file of src/test/mutation, whose first lines describe the form. Each runs in a process of its own,
 * whose class path starts with the changed class.
 */
final class Mutants {
    private static final Path LISTS = Machine.root().resolve("src/test/mutation");
    private static final Path OUTPUT = Machine.root().resolve("target/mutation");
    private static final Path TESTS = Machine.root().resolve("src/test/java");
    /** Options of make check. */
    private static final Path JVM = Machine.root().resolve("src/test/jvm");

    private static final String[] ARTIFACTS = {"kvmirq", "vmm", "fake", "testkit", "command", "test"};
    /** Seconds of a processor, after which a changed program counts as endless. */
    private static final int SECONDS = 240;

    private static final double GOAL = 0.95;
    private static final int WORDS = 160;
    private static final Pattern FAILURE = Pattern.compile("(?m)^FAILED (.*(?:\n    .*)*)|^LOST (.*)");

    /** The exit code of JUnit's ConsoleLauncher where no class has such a name. */
    private static final int NO_TEST = 2;

    private static final Pattern TOKEN = Pattern.compile("\\w+|\\S");

    private Mutants() {}

    /**
     * @param area the name of its list
     * @param file below io/kvmirq
     * @param by tests as {@code make try} takes them, or the class of a search below {@code io.kvmirq.arch}
     * @param expected {@code found}, {@code endless} if the changed code spins, or {@code harmless} and why
     * @param what the fault, and the input that shows it
     */
    record Mutant(String area, String file, String by, String expected, String what, String old, String changed) {
        Verdict expects() {
            return expected.startsWith("harmless")
                    ? Verdict.UNNOTICED
                    : expected.equals("endless") ? Verdict.ENDLESS : Verdict.NOTICED;
        }

        boolean isSearched() {
            return by.endsWith("Races");
        }

        private Path path() {
            return Arrays.stream(ARTIFACTS)
                    .map(artifact -> Machine.root().resolve("src/" + artifact + "/java/io/kvmirq/" + file + ".java"))
                    .filter(Files::exists)
                    .findFirst()
                    .orElseThrow(() -> new IllegalArgumentException("no artifact has io/kvmirq/" + file + ".java"));
        }

        /** The changed class. White space and comments between the words of the old code do not count. */
        String source() throws IOException {
            String source = Files.readString(path());
            String code = TOKEN.matcher(old)
                    .results()
                    .map(word -> Pattern.quote(word.group()))
                    .collect(Collectors.joining("(?:\\s|//.*)*"));
            Matcher found = Pattern.compile(code).matcher(source);
            if (!found.find()) {
                throw new IllegalStateException(file + " does not contain: " + old);
            }
            String mutant = source.substring(0, found.start()) + changed + source.substring(found.end());
            if (found.find()) {
                throw new IllegalStateException(file + " contains more than once: " + old);
            }
            return mutant;
        }
    }

    enum Verdict {
        NOTICED,
        UNNOTICED,
        /** The changed program still ran after {@link #SECONDS}, or crashed: nothing is proved. */
        ENDLESS
    }

    private record Outcome(Verdict verdict, String words) {}

    static List<Mutant> all() throws IOException {
        List<Mutant> all = new ArrayList<>();
        try (Stream<Path> lists = Files.list(LISTS)) {
            for (Path list : lists.sorted().toList()) {
                String area = list.getFileName().toString().replace(".txt", "");
                String tests = "";
                for (String block : Files.readString(list).split("\n\n")) {
                    if (block.startsWith("tests ")) {
                        tests = block.strip().substring(6);
                    } else if (!block.startsWith("#")) {
                        all.add(mutant(area, tests, block.strip().split("\n")));
                    }
                }
            }
        }
        return all;
    }

    private static Mutant mutant(String area, String tests, String[] lines) {
        Matcher head =
                Pattern.compile("(\\S+)(.*?)(?: (endless|harmless: .*))?").matcher(lines[0]);
        if (!head.matches()) {
            throw new IllegalArgumentException(lines[0]);
        }
        return new Mutant(
                area,
                head.group(1),
                head.group(2).isBlank() ? tests : head.group(2).strip(),
                head.group(3) == null ? "found" : head.group(3),
                lines(lines, "# "),
                lines(lines, "- "),
                lines(lines, "+ "));
    }

    private static String lines(String[] block, String mark) {
        return Arrays.stream(block)
                .filter(line -> line.startsWith(mark))
                .map(line -> line.substring(2))
                .collect(Collectors.joining(" "));
    }

    /** @param arguments parts of the areas, files or faults whose changes are tried; none for all */
    public static void main(String[] arguments) throws IOException, ReflectiveOperationException {
        if (arguments.length == 2 && arguments[0].equals("--search")) {
            Class<?> races = Class.forName("io.kvmirq.arch." + arguments[1]);
            String loss = ((Verdicts) races.getField("VERDICTS").get(null)).loss();
            System.out.println(loss.isEmpty() ? "nothing is lost" : "LOST " + loss.replaceAll("\\s+", " "));
            return;
        }
        List<Mutant> mutants = all().stream()
                .filter(mutant -> arguments.length == 0
                        || Arrays.stream(arguments)
                                .anyMatch((mutant.area() + ": " + mutant.file() + ": " + mutant.what())::contains))
                .toList();
        Map<Verdict, Integer> counts = new EnumMap<>(Verdict.class);
        List<String> wrong = mutants.parallelStream()
                .map(mutant -> judge(mutant, counts))
                .filter(text -> !text.isEmpty())
                .toList();
        wrong.forEach(System.out::println);
        System.out.printf(
                "%d changes: %d noticed, %d unnoticed, %d did not end within %d s; %d not as expected%n",
                mutants.size(),
                counts.getOrDefault(Verdict.NOTICED, 0),
                counts.getOrDefault(Verdict.UNNOTICED, 0),
                counts.getOrDefault(Verdict.ENDLESS, 0),
                SECONDS,
                wrong.size());
        System.exit(mutants.size() - wrong.size() < GOAL * mutants.size() ? 1 : 0);
    }

    /** @return what is not as expected; empty otherwise */
    private static String judge(Mutant mutant, Map<Verdict, Integer> counts) {
        Outcome outcome = outcome(mutant);
        synchronized (counts) {
            counts.merge(outcome.verdict, 1, Integer::sum);
            String name =
                    outcome.verdict.name().toLowerCase(Locale.ROOT) + " " + mutant.area() + " " + mutant.file() + ": ";
            System.out.println(name + (mutant.what().isEmpty() ? mutant.changed() : mutant.what()));
            System.out.println("    " + outcome.words);
            return outcome.verdict == mutant.expects() ? "" : "NOT AS EXPECTED: " + name + mutant.changed();
        }
    }

    private static Outcome outcome(Mutant mutant) {
        try {
            Path changed = compiled(mutant);
            List<String> command = new ArrayList<>(List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "@" + JVM.resolve("common"),
                    "@" + JVM.resolve("brief"),
                    "@" + JVM.resolve("fewer"),
                    "@" + JVM.resolve("check"),
                    "-Dkvmirq.basedir=" + Machine.root(),
                    "-Xss64m",
                    "-cp",
                    changed + File.pathSeparator + System.getProperty("java.class.path")));
            command.addAll(
                    mutant.isSearched()
                            ? List.of(Mutants.class.getName(), "--search", mutant.by())
                            : launched(mutant.by()));
            Path output = changed.resolve("output");
            Process process = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(output.toFile())
                    .start();
            while (!process.waitFor(1, TimeUnit.SECONDS)) {
                Outcome early = outcome(mutant, 0, Files.readString(output, StandardCharsets.UTF_8));
                if (early.verdict == Verdict.NOTICED) { // the first failure is enough
                    process.destroyForcibly().waitFor();
                    return early;
                }
                // Seconds of the processor: a machine that is busy with other work changes no verdict.
                if (TreeTime.nanos(process.toHandle()) > TimeUnit.SECONDS.toNanos(SECONDS)) {
                    process.destroyForcibly().waitFor();
                    return new Outcome(Verdict.ENDLESS, mutant.expected());
                }
            }
            return outcome(mutant, process.exitValue(), Files.readString(output, StandardCharsets.UTF_8));
        } catch (IOException | InterruptedException e) {
            throw new IllegalStateException(mutant.toString(), e);
        }
    }

    private static List<String> launched(String tests) throws IOException {
        List<String> arguments = new ArrayList<>(List.of(ConsoleLauncher.class.getName(), "execute", "--details=none"));
        try (Stream<Path> files = Files.walk(TESTS)) {
            files.map(file -> TESTS.relativize(file).toString())
                    .filter(file -> file.matches(".*/(" + tests.replace(' ', '|') + ")\\.java"))
                    .forEach(file -> arguments.add(
                            "--select-class=" + file.replace(".java", "").replace('/', '.')));
        }
        return arguments;
    }

    private static Outcome outcome(Mutant mutant, int code, String output) {
        Matcher failure = FAILURE.matcher(output);
        boolean failed = failure.find();
        if (code == 0 && !failed) {
            return new Outcome(Verdict.UNNOTICED, mutant.expected() + ", by " + mutant.by());
        }
        if (!failed && code == NO_TEST) {
            throw new IllegalStateException(mutant + ": " + output);
        } else if (!failed) {
            return new Outcome(Verdict.ENDLESS, "exit code " + code);
        }
        String words = failure.group().replaceAll("\\s+", " ");
        return new Outcome(Verdict.NOTICED, words.substring(0, Math.min(WORDS, words.length())));
    }

    private static Path compiled(Mutant mutant) throws IOException {
        Path directory = Files.createTempDirectory(Files.createDirectories(OUTPUT), "");
        Path file = directory.resolve("io/kvmirq/" + mutant.file() + ".java");
        Files.createDirectories(file.getParent());
        Files.writeString(file, mutant.source());
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter errors = new StringWriter();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
            List<String> options = List.of(
                    "-proc:none", "-nowarn", "-cp", System.getProperty("java.class.path"), "-d", directory.toString());
            if (!compiler.getTask(errors, files, null, options, null, files.getJavaFileObjects(file))
                    .call()) {
                throw new IllegalStateException(mutant + " does not compile: " + errors);
            }
        }
        return directory;
    }
}
