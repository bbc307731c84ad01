/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The symbols that {@code libkvmirq.so.1} offers to programs, and its requirements on the machine. */
class ExportsTest {
    private static final Path LIBRARY = Machine.root().resolve("target/native/libkvmirq.so");

    @BeforeEach
    void libraryIsBuilt() {
        assumeTrue(Files.exists(LIBRARY), "needs target/native/libkvmirq.so, built where there is a C compiler");
    }

    private static List<String> lines(String program, String... options) throws IOException, InterruptedException {
        Machine.assumeProgram(program);
        List<String> command = new ArrayList<>(List.of(program));
        command.addAll(List.of(options));
        command.add(LIBRARY.toString());
        return Program.output(command).lines().toList();
    }

    /** The values in brackets of the dynamic section's entries of one tag. */
    private static List<String> dynamic(String tag) throws IOException, InterruptedException {
        return lines("readelf", "-dW").stream()
                .filter(line -> line.contains("(" + tag + ")"))
                .map(line -> line.replaceAll(".*\\[(.*)]", "$1"))
                .toList();
    }

    private static List<String> segment(String type) throws IOException, InterruptedException {
        return lines("readelf", "-lW").stream()
                .map(String::strip)
                .filter(line -> line.startsWith(type + " "))
                .toList();
    }

    @Test
    void exportsAreTheGoldenList() throws IOException, InterruptedException {
        List<String> exported = lines("nm", "-D", "--defined-only").stream()
                .map(line -> line.substring(line.lastIndexOf(' ') + 1))
                .toList();
        assertThat(exported)
                .as("src/test/resources/exports.txt grows only: add new symbols in a new version node")
                .containsExactlyInAnyOrderElementsOf(
                        Files.readAllLines(Machine.root().resolve("src/test/resources/exports.txt")));
    }

    @Test
    void needsOnlyLibc() throws IOException, InterruptedException {
        assertThat(dynamic("NEEDED")).containsExactly("libc.so.6");
        assertThat(dynamic("SONAME")).containsExactly("libkvmirq.so.1");
    }

    @Test
    void tablesAreReadOnlyOnceLoaded() throws IOException, InterruptedException {
        assertThat(lines("readelf", "-dW")).anyMatch(line -> line.contains("BIND_NOW"));
        assertThat(segment("GNU_RELRO")).hasSize(1);
    }

    @Test
    void stackIsNotExecutable() throws IOException, InterruptedException {
        assertThat(segment("GNU_STACK")).singleElement().satisfies(line -> assertThat(line)
                .containsPattern(" RW +0x"));
    }
}
