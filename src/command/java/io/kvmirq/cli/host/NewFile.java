/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.library.LibraryCache;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import java.util.Set;

/** A file that a command writes: it is complete when it has its name. */
public final class NewFile {
    /** Writes the file. */
    public interface Content {
        void write(OutputStream out) throws IOException;
    }

    private static final String PREFIX = ".kvmirq";
    private static final String SUFFIX = ".new.tmp";
    private static final Set<PosixFilePermission> READABLE_BY_ALL = PosixFilePermissions.fromString("rw-r--r--");

    private NewFile() {}

    /**
     * @return whether the file cannot be made, after an error message. Called before a command prints its other output
     */
    static boolean isRefused(Path file, Terminal terminal) {
        if (Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
            complain(file, terminal);
            return true;
        }
        Path directory = file.toAbsolutePath().getParent();
        if (directory != null && !Files.isWritable(directory)) {
            String name = file.toString();
            terminal.complain(FileSentence.cannotWrite(
                    file, Files.exists(directory) ? new AccessDeniedException(name) : new NoSuchFileException(name)));
            return true;
        }
        return false;
    }

    private static void complain(Path file, Terminal terminal) {
        terminal.complain("cannot write " + FileSentence.shown(file) + ": it exists already; choose another file");
    }

    /**
     * Writes a new file, readable only by its owner: a temporary file beside it, which is then linked to its name. A
     * killed command leaves the temporary file, which the next command that writes there removes.
     *
     * @return false, after an error message, if it exists or cannot be written
     */
    static boolean write(Path file, Terminal terminal, Content content) {
        return write(file, terminal, content, false);
    }

    /**
     * As {@link #write}, in place of an older file, which stays whole until the new one is on the disk. All users may
     * read it.
     *
     * @return false, after an error message, if it cannot be written, or the name is that of another than a regular file
     */
    public static boolean replace(Path file, Terminal terminal, Content content) {
        if (Files.exists(file, LinkOption.NOFOLLOW_LINKS) && !Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
            terminal.complain(FileSentence.cannotWrite(file, new IOException("it is not a regular file")));
            return false;
        }
        return write(file, terminal, content, true);
    }

    private static boolean write(Path file, Terminal terminal, Content content, boolean replaces) {
        Path directory = Optional.ofNullable(file.toAbsolutePath().getParent()).orElse(file);
        try {
            LibraryCache.removeAbandoned(directory, PREFIX, SUFFIX);
            boolean done = false;
            while (!done) {
                Path temporary = Files.createTempFile(directory, PREFIX, SUFFIX);
                try {
                    done = write(temporary, content, file, replaces);
                } finally {
                    Files.deleteIfExists(temporary);
                }
            }
            return true;
        } catch (FileAlreadyExistsException e) {
            complain(file, terminal);
        } catch (IOException e) {
            terminal.complain(FileSentence.cannotWrite(file, e));
        }
        return false;
    }

    /**
     * The lock shows that the writer has not ended: it is held until the file has its name.
     *
     * @return false if another command took the temporary file for an abandoned one before it was locked
     */
    private static boolean write(Path temporary, Content content, Path file, boolean replaces) throws IOException {
        try (FileOutputStream made = new FileOutputStream(temporary.toFile());
                OutputStream out = new BufferedOutputStream(made)) {
            made.getChannel().lock();
            if (!Files.exists(temporary, LinkOption.NOFOLLOW_LINKS)) {
                return false;
            }
            content.write(out);
            out.flush();
            if (replaces) {
                Files.setPosixFilePermissions(temporary, READABLE_BY_ALL);
                made.getChannel().force(true);
                Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
            } else {
                link(temporary, file);
            }
            return true;
        }
    }

    /** A link overwrites no file, unlike a rename. */
    private static void link(Path temporary, Path file) throws IOException {
        try {
            Files.createLink(file, temporary);
        } catch (FileAlreadyExistsException e) {
            throw e;
        } catch (UnsupportedOperationException | FileSystemException e) {
            Files.move(temporary, file); // a file system without links
        }
    }
}
