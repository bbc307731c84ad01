/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The recorder writes while the command holds its lock. */
class TemporaryTapeTest {
    private static List<String> locks(Object inode) throws IOException {
        return Files.readAllLines(Path.of("/proc/locks")).stream()
                .filter(line -> line.contains("WRITE") && line.contains(":" + inode + " "))
                .toList();
    }

    /** A lock of POSIX would end. */
    @Test
    void lockOutlivesAnotherDescriptorOfThisProcess() throws IOException {
        Object inode;
        try (TemporaryTape tape = TemporaryTape.create()) {
            inode = Files.getAttribute(tape.file(), "unix:ino");
            Files.readAllBytes(tape.file());
            assertThat(locks(inode)).hasSize(1);
        }
        assertThat(locks(inode)).isEmpty();
    }
}
