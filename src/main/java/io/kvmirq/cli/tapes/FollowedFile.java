/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** Reads a file while a process writes it. The stream ends after the process has ended. For one thread. */
final class FollowedFile extends InputStream {
    private static final long LOOK_MILLIS = 20;

    private final InputStream file;
    private final Process writer;
    private final Runnable beforeWaiting;

    /** @param beforeWaiting called at the end of the file, before waiting for more */
    FollowedFile(Path file, Process writer, Runnable beforeWaiting) throws IOException {
        this.file = Files.newInputStream(file);
        this.writer = writer;
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
            // Ask before reading: then the last bytes of the process are read after it has ended.
            boolean over = !writer.isAlive();
            int count = file.read(to, at, length);
            if (count >= 0 || over) {
                return count;
            }
            beforeWaiting.run();
            awaitWriter();
        }
    }

    private void awaitWriter() {
        try {
            writer.waitFor(LOOK_MILLIS, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            // The main thread is never interrupted; only the end of the process ends the loop.
        }
    }

    @Override
    public void close() throws IOException {
        file.close();
    }
}
