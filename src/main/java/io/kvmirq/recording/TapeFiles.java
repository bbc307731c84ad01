/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;

/** Files that hold tapes. */
public final class TapeFiles {
    private TapeFiles() {}

    /**
     * Turns a tape of {@code libkvmirqtape.so} into one of the current version, in its place, whole or not at all. What is
     * no regular file, such as a pipe, is left alone.
     *
     * @throws TapeException for what is not a tape, which is left as it is
     */
    public static void nameNumbers(Path tape) throws IOException {
        if (!Files.isRegularFile(tape)) {
            return;
        }
        Path real = tape.toRealPath();
        Path named = Files.createTempFile(
                real.getParent(),
                "." + real.getFileName(),
                ".part",
                PosixFilePermissions.asFileAttribute(Files.getPosixFilePermissions(real)));
        try {
            copy(real, named);
            Files.move(named, real, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(named);
        }
    }

    private static void copy(Path from, Path to) throws IOException {
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(Files.newInputStream(from)));
                TapeWriter writer = new TapeWriter(Files.newOutputStream(to))) {
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                writer.write(line.get());
            }
        }
    }
}
