/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Reads lines of limited length into one buffer. For one thread. */
final class LineReader {
    private static final int CHUNK = 1 << 16;

    private final InputStream in;
    private final int longest;
    private final byte[] chunk = new byte[CHUNK];
    private int chunkAt;
    private int chunkEnd;
    private byte[] line = new byte[CHUNK];
    private int length;
    private long number;

    /** @param longest the longest line, in bytes */
    LineReader(InputStream in, int longest) {
        this.in = in;
        this.longest = longest;
    }

    /**
     * Reads the next line; the last one needs no newline. Returns false at the end of the input. {@code before} runs
     * before each read that may block. IllegalArgumentException if the line is too long.
     */
    boolean next(Runnable before) throws IOException {
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

    private boolean fill(Runnable before) throws IOException {
        before.run();
        chunkAt = 0;
        chunkEnd = Math.max(0, in.read(chunk));
        return chunkEnd > 0;
    }

    private void append(int count) {
        if (length + count > longest) {
            throw new IllegalArgumentException("is longer than " + longest + " bytes: expected one structure per line");
        }
        if (length + count > line.length) {
            line = Arrays.copyOf(line, Math.max(length + count, 2 * line.length));
        }
        System.arraycopy(chunk, chunkAt, line, length, count);
        length += count;
    }

    /** Number of the current line, from 1. */
    long number() {
        return number;
    }

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
