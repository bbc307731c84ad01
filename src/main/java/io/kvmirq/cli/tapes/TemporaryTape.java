/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.backend.library.Trust;
import io.kvmirq.cli.frame.FileSentence;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

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
            removeAbandoned(directory);
            while (true) {
                Path file = Files.createTempFile(directory, PREFIX, SUFFIX);
                // For a stop whose printing takes too long to reach close().
                deleteOnExit(file.toFile());
                FileOutputStream locked = new FileOutputStream(file.toFile(), true);
                // Another command may have taken the file for an abandoned one before it was locked.
                if (locked.getChannel().tryLock() != null && Files.exists(file)) {
                    return new TemporaryTape(file, locked);
                }
                locked.close();
            }
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot make a temporary file in " + FileSentence.shown(directory) + ": " + e, e);
        }
    }

    private static void removeAbandoned(Path directory) throws IOException {
        String[] names = Optional.ofNullable(directory.toFile().list()).orElse(new String[0]);
        for (String name : names) {
            if (name.startsWith(PREFIX) && name.endsWith(SUFFIX)) {
                removeIfAbandoned(directory.resolve(name));
            }
        }
    }

    private static void removeIfAbandoned(Path leftover) {
        try {
            // Opening a FIFO for writing waits for a reader.
            if (!Files.isRegularFile(leftover, LinkOption.NOFOLLOW_LINKS)
                    || Trust.userOf(leftover) != Trust.thisUser()) {
                return;
            }
            try (FileChannel channel = FileChannel.open(leftover, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
                    @Nullable FileLock lock = channel.tryLock()) {
                if (lock != null) {
                    Files.deleteIfExists(leftover);
                }
            }
        } catch (IOException e) {
            // It is gone, or stays for another command.
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
