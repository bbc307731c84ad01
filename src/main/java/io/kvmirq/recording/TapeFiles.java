/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/** Files that hold tapes. */
public final class TapeFiles {
    private TapeFiles() {}

    /**
     * A file emptied, or made for its owner alone: a tape may hold the memory of guests. One that was there keeps its owner,
     * its permissions and its links.
     */
    public static OutputStream replace(Path tape) throws IOException {
        return Channels.newOutputStream(Files.newByteChannel(
                tape,
                Set.of(StandardOpenOption.WRITE, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))));
    }
}
