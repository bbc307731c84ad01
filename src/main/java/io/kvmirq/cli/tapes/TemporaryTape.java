/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.backend.library.LibraryCache;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.recording.SlotFile;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The file to which the recorder appends while a program runs. Its command holds a lock on it: the next command removes
 * what a killed one left behind.
 */
final class TemporaryTape implements AutoCloseable {
    private static final String PREFIX = "kvmirq";
    private static final String SUFFIX = ".tape.tmp";

    private final Path file;
    private final FileOutputStream locked;

    private TemporaryTape(Path file, FileOutputStream locked) {
        this.file = file;
        this.locked = locked;
    }

    static TemporaryTape create() {
        Path directory = Path.of(System.getProperty("java.io.tmpdir"));
        try {
            // As /proc shows it of the processes that write.
            directory = directory.toRealPath();
            LibraryCache.removeAbandoned(directory, PREFIX, SUFFIX);
            while (true) {
                Path file = Files.createTempFile(directory, PREFIX, SUFFIX);
                // For a stop whose printing takes too long to reach close().
                deleteOnExit(file.toFile());
                FileOutputStream locked = new FileOutputStream(file.toFile(), true);
                // Another command may have taken the file for an abandoned one before it was locked.
                if (locked.getChannel().tryLock() != null && Files.exists(file)) {
                    SlotFile.prepare(locked);
                    return new TemporaryTape(file, locked);
                }
                locked.close();
            }
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot make a temporary file in " + FileSentence.shown(directory) + ": " + e, e);
        }
    }

    Path file() {
        return file;
    }

    @Override
    public void close() {
        try {
            locked.close();
        } catch (IOException e) {
            // Nothing is written through it.
        }
        if (!file.toFile().delete()) {
            deleteOnExit(file.toFile());
        }
    }

    private static void deleteOnExit(File file) {
        try {
            file.deleteOnExit();
        } catch (IllegalStateException e) {
            // The JVM is stopping: only deleting at once remains.
        }
    }
}
