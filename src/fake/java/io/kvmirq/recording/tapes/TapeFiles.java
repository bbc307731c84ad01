/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.backend.library.Trust;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Objects;

/** Creates the files of tapes. */
public final class TapeFiles {
    private TapeFiles() {}

    /**
     * A new file that only its owner can read, because a tape may hold guest memory. An earlier regular file of this
     * user is removed; nothing else is, and a symbolic link is not followed. An interrupted thread can still write.
     *
     * @throws IOException if the path is a link, a FIFO, a device, a file of another user or the like
     */
    public static OutputStream replace(Path tape) throws IOException {
        Objects.requireNonNull(tape, "tape is null");
        if (Files.exists(tape, LinkOption.NOFOLLOW_LINKS)) {
            requireMine(tape);
            Files.delete(tape);
        }
        // Fails if another user creates a file there in between.
        Files.createFile(tape, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        return Files.newOutputStream(tape, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
    }

    private static void requireMine(Path tape) throws IOException {
        if (!Files.isRegularFile(tape, LinkOption.NOFOLLOW_LINKS)) {
            throw new FileSystemException(tape.toString(), null, "it is not a regular file");
        }
        int owner = Trust.userOf(tape);
        int user = Trust.thisUser();
        if (owner != user) {
            throw new FileSystemException(
                    tape.toString(), null, "it belongs to user " + owner + ", expected user " + user);
        }
    }
}
