/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HostFilesTest {
    @TempDir
    private Path temporary;

    @Test
    void nothingOutsideTheDirectoryIsRead() throws Exception {
        Path root = Files.createDirectory(temporary.resolve("root"));
        Path secret = Files.createDirectory(temporary.resolve("secret"));
        Files.writeString(secret.resolve("file"), "secret");
        Files.createSymbolicLink(root.resolve("file"), Path.of("../secret/file"));
        Files.createSymbolicLink(root.resolve("absolute"), secret);
        HostFiles tree = HostFiles.of(root);
        for (String path : List.of("file", "absolute/file", "../secret/file", secret + "/file", "\0")) {
            assertThat(tree.text(path)).as(path).isEmpty();
        }
        assertThat(tree.list("absolute")).isEmpty();
        assertThat(tree.list("..")).isEmpty();
        assertThat(tree.link("../root/file")).isEqualTo(tree.link("file")).contains("../secret/file");
        assertThat(tree.access("file")).isEqualTo(HostFiles.Access.DENIED);
        assertThat(tree.access("nothing")).isEqualTo(HostFiles.Access.ABSENT);
    }

    @Test
    void pipeIsNotRead() throws Exception {
        Machine.assumeProgram("mkfifo");
        Path pipe = temporary.resolve("config");
        assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor())
                .isZero();
        HostFiles tree = HostFiles.of(temporary);
        assertThat(tree.text("config")).isEmpty();
    }

    @Test
    void textEndsAtThePaddingOfAnArchive() throws Exception {
        Files.writeString(temporary.resolve("vendor"), "0x8086\n\0\0\0\0");
        assertThat(HostFiles.of(temporary).text("vendor")).contains("0x8086");
    }
}
