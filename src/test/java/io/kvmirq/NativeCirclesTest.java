/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The C files of a program form no circle. A file uses another one of its program if it has an undefined symbol that the
 * other one defines, as for the linker. Inline functions of headers are no arrows.
 */
class NativeCirclesTest {
    private static final Path NATIVE = Machine.root().resolve("native");

    /** A source or an object in a command that links. */
    private static final Pattern INPUT = Pattern.compile("(?<=[ /])([a-z_]+)\\.[co](?= )");

    private static final Pattern OUTPUT = Pattern.compile(" -o /out/([a-z]+(?:\\.so)?)$");

    /** A line of nm -A: an object, the kind of a symbol and its name. Kinds that are small letters are local symbols. */
    private static final Pattern SYMBOL = Pattern.compile("(\\w+)\\.o:[0-9a-f ]* ([A-Z]) (\\w+)");

    @TempDir
    private Path objects;

    @BeforeEach
    void hasTools() {
        Machine.assumeProgram("cc");
        Machine.assumeProgram("make");
        Machine.assumeProgram("nm");
    }

    /** The files of each program, as the Makefile links it. */
    private static Map<String, Set<String>> programs() throws Exception {
        Map<String, Set<String>> programs = new TreeMap<>();
        String commands = Program.output(
                List.of("env", "-u", "MAKEFLAGS", "make", "-n", "-B", "-C", NATIVE.toString(), "OUT=/out", "all"));
        for (String command : commands.replace("\\\n", " ").lines().toList()) {
            List<String> outputs = firstGroups(OUTPUT, command);
            if (!outputs.isEmpty()) {
                programs.put(outputs.get(0), new TreeSet<>(firstGroups(INPUT, command)));
            }
        }
        return programs;
    }

    private static List<String> firstGroups(Pattern pattern, String text) {
        return pattern.matcher(text).results().map(found -> found.group(1)).toList();
    }

    private static List<String> sources(String folder) throws IOException {
        try (Stream<Path> files = Files.list(NATIVE.resolve(folder))) {
            return files.map(file -> file.getFileName().toString())
                    .filter(name -> name.endsWith(".c"))
                    .map(name -> name.substring(0, name.length() - 2))
                    .sorted()
                    .toList();
        }
    }

    private void compile(String folder, Set<String> files) throws Exception {
        String java = System.getProperty("java.home") + "/include";
        List<String> command = new ArrayList<>(
                List.of("env", "-C", objects.toString(), "cc", "-std=c11", "-w", "-I" + java, "-I" + java + "/linux"));
        command.add("-I" + Machine.root().resolve("target/native"));
        command.add("-c");
        files.forEach(
                file -> command.add(NATIVE.resolve(folder).resolve(file + ".c").toString()));
        Program.output(command);
    }

    private Arrows arrows(Set<String> files) throws Exception {
        List<String> command = new ArrayList<>(List.of("nm", "-A"));
        files.forEach(file -> command.add(objects.resolve(file + ".o").toString()));
        List<MatchResult> symbols =
                SYMBOL.matcher(Program.output(command)).results().toList();
        Map<String, String> definedBy = new TreeMap<>();
        for (MatchResult symbol : symbols) {
            if (!symbol.group(2).equals("U")) {
                definedBy.put(symbol.group(3), symbol.group(1));
            }
        }
        Arrows arrows = new Arrows();
        for (MatchResult symbol : symbols) {
            String definer = definedBy.get(symbol.group(3));
            if (definer != null && !definer.equals(symbol.group(1))) {
                arrows.add(symbol.group(1), definer);
            }
        }
        return arrows;
    }

    @Test
    void filesOfTheLibraryFormNoCircle() throws Exception {
        Set<String> files = programs().get("libkvmirq.so");
        compile("bridge", files);
        Arrows arrows = arrows(files);

        assertThat(arrows.largestCircle()).as(arrows::describe).isEmpty();
    }

    @Test
    void everyFileIsOfAProgram() throws Exception {
        Set<String> linked = new TreeSet<>();
        programs().values().forEach(linked::addAll);

        assertThat(linked).containsAll(sources("bridge"));
    }
}
