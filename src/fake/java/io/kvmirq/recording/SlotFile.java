/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.NotPromised;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.BooleanSupplier;
import java.util.function.LongConsumer;

/**
 * A stream of the lines that {@code libkvmirqtape.so} writes into shared memory; the writer is {@code
 * native/observe/tape_map.c}. The file has a head and then slots. A slot is a word and a line, padded to 8 bytes. The
 * word is 0 until the writer begins, then the length of the line, with the highest bit set until the line is complete.
 * The stream waits for an incomplete slot while processes write, then skips it. If lines are missing, because a limit
 * was reached or the file was cut, the stream ends in the middle of a line. For one thread.
 */
@NotPromised
public final class SlotFile extends InputStream {
    private static final byte[] MAGIC = "KVMIRQ\1\n".getBytes(StandardCharsets.US_ASCII);
    private static final int HEAD = 64;
    private static final int FULL_AT = 24;
    private static final int WORD = Long.BYTES;
    private static final int ROOM = 1 << 16;
    /** The bytes that are read before the owner of the file is notified. */
    private static final int RELEASED = 1 << 18;
    /** An upper bound of the length of a line. */
    private static final int LONGEST = 1 << 24;
    /** Half a line, which ends a stream that lacks lines. */
    private static final byte[] CUT = {'{'};
    /** Checks of a slot before its writer counts as dead: exec(3) can end a program's other threads at any point. */
    private static final int PATIENCE = 100;

    private final FileChannel file;
    private final LongConsumer read;
    private final BooleanSupplier written;
    private final Runnable beforeWaiting;
    private final ByteBuffer head = bytes(HEAD);
    private ByteBuffer part = bytes(ROOM);

    private long partAt;
    private long at = HEAD;
    /** The offset of which the owner of the file was last notified. */
    private long told = HEAD;
    /** The rest of the current line. */
    private ByteBuffer line = bytes(0);

    private boolean ended;
    private boolean complete;
    /** Whether a line was skipped whose writer may have completed it later. */
    private boolean missing;

    private int looks;
    /** Bytes since the last slot with a word. */
    private long zeros;

    /**
     * {@code read} gets the offset of the next slot: the owner may release the memory before it. {@code written} waits
     * a moment, then returns whether all writers have ended. {@code beforeWaiting} runs before it.
     */
    public SlotFile(Path path, LongConsumer read, BooleanSupplier written, Runnable beforeWaiting) throws IOException {
        this.file = FileChannel.open(path, StandardOpenOption.READ);
        this.read = read;
        this.written = written;
        this.beforeWaiting = beforeWaiting;
        part.limit(0);
    }

    private static ByteBuffer bytes(int size) {
        return ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
    }

    /** Writes the head for the library into an empty file. */
    public static void prepare(OutputStream empty) throws IOException {
        byte[] head = new byte[HEAD];
        ByteBuffer.wrap(head).order(ByteOrder.nativeOrder()).put(MAGIC).putLong(HEAD);
        empty.write(head);
    }

    /** Whether no process wrote a line. */
    public static boolean isEmpty(Path file) {
        return file.toFile().length() <= HEAD;
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] to, int offset, int length) throws IOException {
        while (!line.hasRemaining()) {
            if (complete) {
                return -1;
            }
            if (!nextLine()) {
                waitForMore();
            }
        }
        int count = Math.min(length, line.remaining());
        line.get(to, offset, count);
        return count;
    }

    /** Waits for more lines. After the writers have ended, the stream reads once more before its end. */
    private void waitForMore() throws IOException {
        if (ended) {
            complete = true;
            line = isCut() ? ByteBuffer.wrap(CUT) : line;
            return;
        }
        beforeWaiting.run();
        ended = written.getAsBoolean();
        part.limit(0);
    }

    /** @return whether a slot was read or skipped */
    private boolean nextLine() throws IOException {
        if (!has(WORD)) {
            looks = 0;
            return false;
        }
        long word = part.getLong((int) (at - partAt));
        long length = word & Long.MAX_VALUE;
        if (length > LONGEST) {
            ended = true;
            return false;
        }
        boolean whole = word > 0;
        // A slot without a word has no known size, so later slots can be read only after the writers have ended.
        if (!whole && !ended && (word == 0 || looks < PATIENCE)) {
            looks++;
            return false;
        }
        missing |= !whole && !ended;
        zeros = word == 0 ? zeros + WORD : 0;
        if (zeros > LONGEST) {
            // The head is not trusted: a program may write any end into it, and make the file as long.
            missing = true;
            return false;
        }
        long size = WORD + (length + WORD - 1) / WORD * WORD;
        if (whole && !has((int) size)) {
            return false;
        }
        if (whole) {
            line = part.duplicate();
            line.position((int) (at - partAt) + WORD).limit((int) (at - partAt) + WORD + (int) length);
        }
        at += size;
        looks = 0;
        if (at - told >= RELEASED) {
            told = at;
            read.accept(at);
        }
        return true;
    }

    /** Loads {@code size} bytes from {@code at} on into {@code part}; false if the file has fewer. */
    private boolean has(int size) throws IOException {
        if (at + size <= partAt + part.limit()) {
            return true;
        }
        // Allocate a new part, because the previous line may still be in the old one.
        part = bytes(Math.max(ROOM, size));
        partAt = at;
        long most = Math.max(0, Math.min(part.capacity(), end() - at));
        part.limit((int) most);
        fill(part, at);
        part.flip();
        return size <= part.limit();
    }

    /** The end of the slots that writers have taken and that the file contains. */
    private long end() throws IOException {
        readHead();
        return Math.min(head.getLong(MAGIC.length), file.size());
    }

    private boolean isCut() throws IOException {
        readHead();
        return missing || at < head.getLong(MAGIC.length) || head.getLong(FULL_AT) != 0 || file.size() < HEAD;
    }

    private void readHead() throws IOException {
        head.clear();
        fill(head, 0);
        while (head.hasRemaining()) {
            head.put((byte) 0);
        }
    }

    /** Reads from an offset until the buffer is full or the file ends. */
    private void fill(ByteBuffer to, long from) throws IOException {
        int count;
        do {
            count = file.read(to, from + to.position());
        } while (count > 0);
    }

    @Override
    public void close() throws IOException {
        file.close();
    }
}
