/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.text.Foreign;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Optional;

/** Error sentences: the reason why a file cannot be read or written, and the next step. */
public final class FileSentence {
    public static final String DEBUGFS = "/sys/kernel/debug";

    /** The texts of the C library for ENOSPC and EDQUOT. */
    private static final String NO_SPACE = "No space left on device";

    private static final String QUOTA = "Disk quota exceeded";

    private FileSentence() {}

    /** The name of a file on one line. It may come from another user. */
    public static String shown(Path file) {
        return Foreign.shown(file.toString());
    }

    public static String cannotWrite(Path file, IOException e) {
        return "cannot write " + shown(file) + ": " + whyNotWritten(file, e);
    }

    private static String whyNotWritten(Path file, IOException e) {
        Path directory = Optional.ofNullable(file.toAbsolutePath().getParent()).orElse(file);
        String reason = reason(e);
        if (Files.isDirectory(file)) {
            return "it is a directory; name a file in it, such as " + shown(file.resolve("kvmirq.txt"));
        }
        if (reason.contains(NO_SPACE) || reason.contains(QUOTA)) {
            return "the disk is full; free space there, or choose a file on another disk";
        }
        if (e instanceof NoSuchFileException && Files.notExists(directory, LinkOption.NOFOLLOW_LINKS)) {
            return "the directory " + shown(directory)
                    + " does not exist; create it with mkdir -p, or choose another file";
        }
        if (e instanceof AccessDeniedException) {
            return "permission denied; choose a file in a directory that you can write to";
        }
        if (e instanceof NoSuchFileException) {
            return "the directory " + shown(directory) + " accepts no new files; choose a file in another one";
        }
        return reason + "; choose another file";
    }

    public static String cannotRead(Path file, IOException e) {
        return "cannot read " + shown(file) + ": " + whyNotRead(file, e);
    }

    private static String whyNotRead(Path file, IOException e) {
        if (Files.isDirectory(file)) {
            return "it is a directory; name a file in it";
        }
        boolean missing = e instanceof NoSuchFileException;
        if (!missing && !(e instanceof AccessDeniedException)) {
            return reason(e);
        }
        return (missing ? "no such file" : "permission denied")
                + (file.toAbsolutePath().startsWith(DEBUGFS)
                        ? "; debugfs must be mounted, only root may read it, and kvm/TID-FD is there while the VM runs"
                        : "");
    }

    private static String reason(IOException e) {
        return Optional.ofNullable(e instanceof FileSystemException told ? told.getReason() : e.getMessage())
                .orElseGet(e::toString);
    }
}
