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
import java.util.Optional;

/** A new file that a command writes, readable only by its owner. */
final class NewFile {
    interface Content {
        void write(OutputStream out) throws IOException;
    }

    private static final String PREFIX = ".kvmirq";
    private static final String SUFFIX = ".new.tmp";

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
        terminal.complain("cannot write " + FileSentence.shown(file) + ": it exists already; name another file");
    }

    /**
     * Writes a temporary file beside it and then links that to its name, so the file is complete when it exists. A
     * killed command leaves the temporary file, which the next command that writes there removes.
     *
     * @return false, after an error message, if it exists or cannot be written
     */
    static boolean write(Path file, Terminal terminal, Content content) {
        Path directory = Optional.ofNullable(file.toAbsolutePath().getParent()).orElse(file);
        try {
            LibraryCache.removeAbandoned(directory, PREFIX, SUFFIX);
            boolean done = false;
            while (!done) {
                Path temporary = Files.createTempFile(directory, PREFIX, SUFFIX);
                try {
                    done = write(temporary, content, file);
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
    private static boolean write(Path temporary, Content content, Path file) throws IOException {
        try (FileOutputStream made = new FileOutputStream(temporary.toFile());
                OutputStream out = new BufferedOutputStream(made)) {
            made.getChannel().lock();
            if (!Files.exists(temporary, LinkOption.NOFOLLOW_LINKS)) {
                return false;
            }
            content.write(out);
            out.flush();
            link(temporary, file);
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
