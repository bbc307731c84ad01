/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StaticProgramTest {
    @TempDir
    private Path temporary;

    private Path program(String link, String name) throws Exception {
        Path source = Files.writeString(temporary.resolve("empty.c"), "int main(void) { return 0; }\n");
        Path program = temporary.resolve(name);
        Machine.compile(link, "-o", program.toString(), source.toString());
        return program;
    }

    @Test
    void programWithoutALoaderIsStatic() throws Exception {
        assertThat(StaticProgram.is(program("-static", "fixed"))).isTrue();
        assertThat(StaticProgram.is(program("-static-pie", "moved"))).isTrue();
        assertThat(StaticProgram.is(program("-pie", "dynamic"))).isFalse();
    }

    /** The recorder is loaded into a program that the loader is told to run. */
    @Test
    void loaderIsNotStatic() throws Exception {
        assertThat(StaticProgram.is(program("-static", "ld-linux-x86-64.so.2"))).isFalse();
    }

    @Test
    void otherFilesAreNotStatic() throws Exception {
        assertThat(StaticProgram.is(Path.of("/"))).isFalse();
        assertThat(StaticProgram.is(temporary)).isFalse();
        assertThat(StaticProgram.is(temporary.resolve("absent"))).isFalse();
        assertThat(StaticProgram.is(Files.writeString(temporary.resolve("script"), "#!/bin/sh\n")))
                .isFalse();
        byte[] whole = Files.readAllBytes(program("-static", "whole"));
        for (int length : new int[] {0, 3, 4, 63, 64, 65, 100}) {
            assertThat(StaticProgram.is(cut(whole, length)))
                    .as(length + " bytes")
                    .isFalse();
        }
        whole[0x27] = -1; // a place of the segments that no file has
        assertThat(StaticProgram.is(cut(whole, whole.length))).isFalse();
    }

    private Path cut(byte[] program, int length) throws IOException {
        return Files.write(temporary.resolve("cut"), Arrays.copyOf(program, length));
    }
}
