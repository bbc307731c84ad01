/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Lines of JSON by hand, in a buffer that grows to the longest line: for a field nothing is allocated. Whole lines are
 * written on, never parts of one. For one thread at a time.
 */
abstract class JsonLines implements Closeable {
    private static final byte[] DIGITS = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'
    };
    private static final int ROOM = 1 << 16;
    /** Of a positive long. */
    private static final int MOST_DIGITS = 19;

    private final OutputStream out;
    private byte[] room = new byte[ROOM];
    private int at;
    /** Where the last whole line ends. */
    private int whole;
    /** Whether the next field is the first of its object. */
    private boolean first;

    private @Nullable IOException failure;

    JsonLines(OutputStream out) {
        this.out = out;
    }

    void key(String key) {
        raw(first ? "\"" : ",\"");
        first = false;
        raw(key);
        raw("\":");
    }

    void numberKey(int key) {
        put(first ? '"' : ',');
        if (!first) {
            put('"');
        }
        first = false;
        decimal(key);
        raw("\":");
    }

    void number(String key, long value) {
        key(key);
        decimal(value);
    }

    void flag(String key) {
        key(key);
        raw("true");
    }

    void text(String key, String value) {
        key(key);
        quoted(value);
    }

    void quoted(String value) {
        put('"');
        if (isPlain(value)) {
            raw(value);
        } else {
            for (int i = 0; i < value.length(); i++) {
                char c = value.charAt(i);
                if (isPlain(c)) {
                    put(c);
                } else {
                    escaped(c);
                }
            }
        }
        put('"');
    }

    private static boolean isPlain(String value) {
        for (int i = 0; i < value.length(); i++) {
            if (!isPlain(value.charAt(i))) {
                return false;
            }
        }
        return true;
    }

    private static boolean isPlain(char c) {
        return c >= ' ' && c <= '~' && c != '"' && c != '\\';
    }

    private void escaped(char c) {
        raw("\\u");
        for (int shift = 12; shift >= 0; shift -= 4) {
            put((char) DIGITS[c >>> shift & 15]);
        }
    }

    /** The first {@code length} bytes, in hex. */
    void bytes(String key, ByteBuffer bytes, int length) {
        key(key);
        put('"');
        need(2 * length);
        for (int i = 0; i < length; i++) {
            byte one = bytes.get(i);
            room[at++] = DIGITS[one >>> 4 & 15];
            room[at++] = DIGITS[one & 15];
        }
        put('"');
    }

    void beginObject(String key) {
        key(key);
        put('{');
        first = true;
    }

    void beginElement(boolean firstOfArray) {
        raw(firstOfArray ? "{" : ",{");
        first = true;
    }

    void endObject() {
        put('}');
        first = false;
    }

    // Characters

    void unsigned(long value) {
        if (value < 0) {
            decimal(Long.divideUnsigned(value, 10));
            put((char) ('0' + Long.remainderUnsigned(value, 10)));
        } else {
            decimal(value);
        }
    }

    void decimal(long value) {
        if (value < 0) {
            put('-');
            // The most negative number has no positive one: its last digit comes first.
            if (value < -9) {
                decimal(-(value / 10));
            }
            put((char) ('0' - value % 10));
            return;
        }
        int digits = 1;
        for (long above = 10; digits < MOST_DIGITS && value >= above; above *= 10) {
            digits++;
        }
        need(digits);
        at += digits;
        int to = at;
        long rest = value;
        for (; rest > Integer.MAX_VALUE; rest /= 10) {
            room[--to] = (byte) ('0' + rest % 10);
        }
        // Half as slow as with a long.
        for (int small = (int) rest; to > at - digits; small /= 10) {
            room[--to] = (byte) ('0' + small % 10);
        }
    }

    // What was written of this line, to be written again

    /** Where the next byte of the line goes. */
    int mark() {
        return at - whole;
    }

    /** The bytes since a mark of this line. */
    byte[] since(int mark) {
        return Arrays.copyOfRange(room, whole + mark, at);
    }

    void again(byte[] written) {
        need(written.length);
        System.arraycopy(written, 0, room, at, written.length);
        at += written.length;
        first = false;
    }

    /** @param ascii text of this program */
    @SuppressWarnings("deprecation") // getBytes() of one byte a character, which allocates nothing
    void raw(String ascii) {
        need(ascii.length());
        ascii.getBytes(0, ascii.length(), room, at);
        at += ascii.length();
    }

    private void need(int bytes) {
        if (at + bytes > room.length) {
            makeRoom(bytes);
        }
    }

    void put(char ascii) {
        need(1);
        room[at++] = (byte) ascii;
    }

    void lineEnd() {
        put('\n');
        whole = at;
    }

    private void makeRoom(int bytes) {
        drain();
        if (at + bytes > room.length) {
            room = Arrays.copyOf(room, Math.max(at + bytes, 2 * room.length));
        }
    }

    private void drain() {
        try {
            if (failure == null) {
                out.write(room, 0, whole);
            }
        } catch (IOException e) {
            // The program goes on; its tape does not.
            failure = e;
        }
        at -= whole;
        System.arraycopy(room, whole, room, 0, at);
        whole = 0;
    }

    /**
     * Makes the lines that were written so far reach its place.
     *
     * @throws IOException if any of it could not be written, also earlier
     */
    public void flush() throws IOException {
        drain();
        if (failure != null) {
            throw failure;
        }
        out.flush();
    }

    @Override
    public void close() throws IOException {
        try {
            flush();
        } finally {
            out.close();
        }
    }
}
