/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/** A file for its owner alone that a command writes, and that was not there before. */
final class NewFile {
    /** Writes the content. */
    interface Content {
        void write(OutputStream out) throws IOException;
    }

    private NewFile() {}

    /** @return whether it cannot be made, after a complaint: before a command prints what it would write */
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

    /** @return false, after a complaint, if it exists or cannot be written. It is not left behind half written */
    static boolean write(Path file, Terminal terminal, Content content) {
        try (SeekableByteChannel made = Files.newByteChannel(
                file,
                Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))) {
            return write(file, made, terminal, content);
        } catch (FileAlreadyExistsException e) {
            complain(file, terminal);
        } catch (IOException e) {
            terminal.complain(FileSentence.cannotWrite(file, e));
        }
        return false;
    }

    private static boolean write(Path file, SeekableByteChannel made, Terminal terminal, Content content)
            throws IOException {
        try (OutputStream out = new BufferedOutputStream(Channels.newOutputStream(made))) {
            content.write(out);
            return true;
        } catch (IOException e) {
            terminal.complain(FileSentence.cannotWrite(file, e));
            Files.deleteIfExists(file);
            return false;
        }
    }
}
