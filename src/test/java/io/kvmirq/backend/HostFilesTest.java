/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.kvmirq.testing.Machine;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
        HostFiles tree = HostFiles.at(root);
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
        HostFiles tree = HostFiles.at(temporary);
        assertThat(tree.text("config")).isEmpty();
    }

    @Test
    void textEndsAtThePaddingOfAnArchive() throws Exception {
        Files.writeString(temporary.resolve("vendor"), "0x8086\n\0\0\0\0");
        assertThat(HostFiles.at(temporary).text("vendor")).contains("0x8086");
    }

    /** As open() answers EACCES for a file below a directory that may not be searched, and ENOENT for an absent one. */
    @Test
    void fileBelowARefusedDirectoryIsNotAbsent() throws Exception {
        HostFiles copied = HostFiles.of(Map.of("sys/fs/file", new byte[0]), Map.of(), Set.of("proc/irq"));
        assertThat(copied.reading("proc/irq/27/spurious")).isEqualTo(HostFiles.Reading.DENIED);
        assertThat(copied.reading("proc/irqs/27")).isEqualTo(HostFiles.Reading.ABSENT);
        assertThat(copied.reading("sys/fs/other")).isEqualTo(HostFiles.Reading.ABSENT);

        Path closed = Files.createDirectories(temporary.resolve("proc/irq"));
        Files.writeString(Files.createDirectory(closed.resolve("27")).resolve("spurious"), "count 1");
        Files.setPosixFilePermissions(closed, Set.of());
        assumeFalse(Files.isExecutable(closed), "root searches each directory: RefusedFilesIT runs as nobody");
        HostFiles tree = HostFiles.at(temporary);
        for (String path : List.of("proc/irq", "proc/irq/27", "proc/irq/27/spurious", "proc/irq/1/2/3")) {
            assertThat(tree.reading(path)).as(path).isEqualTo(HostFiles.Reading.DENIED);
        }
        assertThat(tree.access("proc/self")).isEqualTo(HostFiles.Access.ABSENT);
        Files.setPosixFilePermissions(closed, PosixFilePermissions.fromString("rwx------"));
    }
}
