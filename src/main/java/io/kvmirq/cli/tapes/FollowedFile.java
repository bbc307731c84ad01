/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.BooleanSupplier;

/** Reads a file while processes write it. The stream ends when they have ended. For one thread. */
final class FollowedFile extends InputStream {
    private final InputStream file;
    private final BooleanSupplier written;
    private final Runnable beforeWaiting;
    private boolean whole;

    /**
     * @param written waits a moment for more, and says whether no process writes any more
     * @param beforeWaiting called at the end of the file, before waiting for more
     */
    FollowedFile(Path file, BooleanSupplier written, Runnable beforeWaiting) throws IOException {
        this.file = Files.newInputStream(file);
        this.written = written;
        this.beforeWaiting = beforeWaiting;
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] to, int at, int length) throws IOException {
        while (true) {
            int count = file.read(to, at, length);
            if (count >= 0 || whole) {
                return count;
            }
            beforeWaiting.run();
            // The last bytes are read after the processes have ended.
            whole = written.getAsBoolean();
        }
    }

    @Override
    public void close() throws IOException {
        file.close();
    }
}
