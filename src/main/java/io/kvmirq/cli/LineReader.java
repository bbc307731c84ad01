/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Lines of bytes in a buffer that is used again, with an end to their length. For one thread. */
final class LineReader {
    /** To be done before the input may have to be waited for. */
    @FunctionalInterface
    interface BeforeWaiting {
        void run() throws IOException;
    }

    private static final int CHUNK = 1 << 16;

    private final InputStream in;
    private final int longest;
    private final byte[] chunk = new byte[CHUNK];
    private int chunkAt;
    private int chunkEnd;
    private byte[] line = new byte[CHUNK];
    private int length;
    private long number;

    /** @param longest bytes that a line may have */
    LineReader(InputStream in, int longest) {
        this.in = in;
        this.longest = longest;
    }

    /**
     * Reads the next line, which need not end.
     *
     * @return false if there is none
     * @throws IllegalArgumentException if it is too long
     */
    boolean next(BeforeWaiting before) throws IOException {
        length = 0;
        number++;
        while (true) {
            if (chunkAt == chunkEnd && !fill(before)) {
                return length > 0;
            }
            int end = chunkAt;
            while (end < chunkEnd && chunk[end] != '\n') {
                end++;
            }
            append(end - chunkAt);
            boolean ended = end < chunkEnd;
            chunkAt = ended ? end + 1 : end;
            if (ended) {
                return true;
            }
        }
    }

    private boolean fill(BeforeWaiting before) throws IOException {
        before.run();
        chunkAt = 0;
        chunkEnd = Math.max(0, in.read(chunk));
        return chunkEnd > 0;
    }

    private void append(int count) {
        if (length + count > longest) {
            throw new IllegalArgumentException("is longer than " + longest + " bytes: expected one structure a line");
        }
        if (length + count > line.length) {
            line = Arrays.copyOf(line, Math.max(length + count, 2 * line.length));
        }
        System.arraycopy(chunk, chunkAt, line, length, count);
        length += count;
    }

    /** Of the line read last, from 1. */
    long number() {
        return number;
    }

    /** The line, as UTF-8. */
    String text() {
        return new String(line, 0, length, StandardCharsets.UTF_8);
    }

    boolean isBlank() {
        for (int i = 0; i < length; i++) {
            if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') {
                return false;
            }
        }
        return true;
    }
}
