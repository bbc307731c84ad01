/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.ValueSource;

/** The symbols that {@code libkvmirq.so.1} offers to programs on each architecture, and its requirements on the machine. */
@ParameterizedClass
@ValueSource(strings = {"x86_64", "aarch64"})
class ExportsTest {
    @Parameter
    String machine = "";

    private Path library() {
        return Artifacts.KVMIRQ.classes().resolve("META-INF/native/linux-" + machine + "/libkvmirq.so");
    }

    @BeforeEach
    void libraryIsBuilt() {
        assumeTrue(Files.exists(library()), "needs libkvmirq.so for " + machine + ", built where its C compiler is");
    }

    private List<String> lines(String program, String... options) throws IOException, InterruptedException {
        Machine.assumeProgram(program);
        List<String> command = new ArrayList<>(List.of(program));
        command.addAll(List.of(options));
        command.add(library().toString());
        return Program.output(command).lines().toList();
    }

    /** The values in brackets of the dynamic section's entries of one tag. */
    private List<String> dynamic(String tag) throws IOException, InterruptedException {
        return lines("readelf", "-dW").stream()
                .filter(line -> line.contains("(" + tag + ")"))
                .map(line -> line.replaceAll(".*\\[(.*)]", "$1"))
                .toList();
    }

    private List<String> segment(String type) throws IOException, InterruptedException {
        return lines("readelf", "-lW").stream()
                .map(String::strip)
                .filter(line -> line.startsWith(type + " "))
                .toList();
    }

    private static final Pattern DECLARED = Pattern.compile("(?m)^KVMIRQ_EXPORT \\w+ (kvmirq_\\w+)\\(");

    @Test
    void exportsAreTheFunctionsOfTheHeader() throws IOException, InterruptedException {
        List<String> expected = DECLARED.matcher(Files.readString(Machine.root().resolve("target/native/functions.h")))
                .results()
                .map(declared -> declared.group(1) + "@@kvmirq_1")
                .collect(Collectors.toCollection(ArrayList::new));
        expected.addAll(List.of("JNI_OnLoad@@kvmirq_1", "kvmirq_1"));
        assertThat(lines("nm", "-D", "--defined-only").stream().map(line -> line.substring(line.lastIndexOf(' ') + 1)))
                .containsExactlyInAnyOrderElementsOf(expected);
    }

    /** So that it loads beside any libc. */
    @Test
    void needsNoLibrary() throws IOException, InterruptedException {
        assertThat(lines("nm", "-D", "--undefined-only")).isEmpty();
        assertThat(dynamic("NEEDED")).isEmpty();
        assertThat(dynamic("SONAME")).containsExactly("libkvmirq.so.1");
    }

    @Test
    void isOfItsArchitecture() throws IOException, InterruptedException {
        assertThat(lines("readelf", "-hW")).anyMatch(line -> line.strip()
                .matches("Machine: +.*" + (machine.equals("aarch64") ? "AArch64" : "X86-64")));
    }

    @Test
    void tablesAreReadOnlyOnceLoaded() throws IOException, InterruptedException {
        assertThat(lines("readelf", "-dW")).anyMatch(line -> line.contains("BIND_NOW"));
        assertThat(segment("GNU_RELRO")).hasSize(1);
    }

    /** The CPU refuses indirect jumps to other places than it marks, where kernel and JVM ask for it: IBT, BTI. */
    @Test
    void jumpTargetsAreMarked() throws IOException, InterruptedException {
        assertThat(lines("readelf", "-n").toString())
                .containsPattern(machine.equals("aarch64") ? "AArch64 feature:[^,]* BTI" : "x86 feature: IBT, SHSTK");
    }

    @Test
    void stackIsNotExecutable() throws IOException, InterruptedException {
        assertThat(segment("GNU_STACK")).singleElement().satisfies(line -> assertThat(line)
                .containsPattern(" RW +0x"));
    }
}
