/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code native/Makefile}: the flags that it gives to a compiler, and that its libraries tell nothing of the place. */
class NativeBuildTest {
    private static final boolean X86 = System.getProperty("os.arch").equals("amd64");

    @TempDir
    private Path temporary;

    @BeforeEach
    void hasTools() {
        Machine.assumeProgram("make");
        Machine.assumeProgram("cc");
    }

    /** The commands that would compile a file, and link the library. */
    private List<String> commands(String... settings) throws Exception {
        List<String> command = new ArrayList<>(List.of("env", "-u", "MAKEFLAGS", "-u", "CFLAGS", "-u", "CPPFLAGS"));
        command.addAll(List.of(
                "make", "-n", "-B", "-C", Machine.root().resolve("native").toString()));
        command.add("OUT=" + temporary.resolve("out"));
        command.addAll(List.of(settings));
        return Program.output(command)
                .replace("\\\n", " ")
                .lines()
                .filter(line -> line.contains(" -c bridge/abi.c ") || line.contains("-soname"))
                .toList();
    }

    private String compilerThatRefuses(String... flags) throws Exception {
        String refusals = String.join("|", flags);
        Path compiler = Files.writeString(
                temporary.resolve("cc"),
                "#!/bin/bash\nfor flag; do case $flag in " + refusals + ") exit 1 ;; esac; done\nexec cc \"$@\"\n");
        Files.setPosixFilePermissions(compiler, PosixFilePermissions.fromString("rwxr-xr-x"));
        return "CC=" + compiler;
    }

    @Test
    void everyFileIsHardenedAsFarAsTheCompilerCan() throws Exception {
        assertThat(commands())
                .hasSize(2)
                .allMatch(line -> line.contains(" -fstack-clash-protection "))
                .allMatch(line -> line.contains(X86 ? " -fcf-protection " : " -mbranch-protection=standard "))
                .noneMatch(line -> line.contains(X86 ? "-mbranch-protection" : "-fcf-protection"));
    }

    @Test
    void flagsThatTheCompilerDoesNotKnowAreLeftOut() throws Exception {
        assertThat(commands(compilerThatRefuses("-fstack-clash-protection")))
                .hasSize(2)
                .noneMatch(line -> line.contains("-fstack-clash-protection"));
    }

    /** Where a check of the stack protector fails there would be no function to call: the library is without libc. */
    @Test
    void packagersStackProtectorLeavesTheLibraryWithoutLibc() throws Exception {
        Path library = built(temporary, "CFLAGS=-O2 -fstack-protector-all").resolve("libkvmirq.so");
        assertThat(Program.output(List.of("nm", "-D", "--undefined-only", library.toString())))
                .isEmpty();
    }

    @Test
    void packagersFlagsAreTaken() throws Exception {
        List<String> commands =
                commands("CPPFLAGS=-D_FORTIFY_SOURCE=2 -Wdate-time", "LDFLAGS=-Wl,-z,pack-relative-relocs");
        assertThat(commands)
                .filteredOn(line -> line.contains(".c "))
                .hasSize(1)
                .allMatch(line -> line.contains(" -D_FORTIFY_SOURCE=2 -Wdate-time "));
        assertThat(commands)
                .filteredOn(line -> line.contains("-soname"))
                .hasSize(1)
                .allMatch(line -> line.contains(" -Wl,-z,pack-relative-relocs "));
        // When two flags contradict each other, a compiler obeys the last.
        assertThat(commands("CFLAGS=-O2 -fcf-protection=none"))
                .filteredOn(line -> line.contains("-fPIC"))
                .hasSize(2)
                .allMatch(line -> line.indexOf("-fcf-protection ") < line.indexOf("-fcf-protection=none"));
    }

    @Tag("long")
    @Test
    void libraryIsTheSameFromTwoDirectories() throws Exception {
        Path first = built(temporary.resolve("one"));
        Path another = built(temporary.resolve("another place/below"));
        assertThat(first.resolve("libkvmirq.so")).hasSameBinaryContentAs(another.resolve("libkvmirq.so"));
    }

    private static Path built(Path at, String... settings) throws Exception {
        Files.createDirectories(at);
        Program.output(List.of("cp", "-r", Machine.root().resolve("native").toString(), at.toString()));
        List<String> make =
                new ArrayList<>(List.of("make", "-s", "-C", at.resolve("native").toString(), "OUT=../out"));
        make.addAll(List.of(settings));
        Program.output(make);
        return at.resolve("out");
    }
}
