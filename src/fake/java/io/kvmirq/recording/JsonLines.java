/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Writes JSON lines without a library, into a buffer that grows to the longest line. A field allocates nothing. The
 * stream gets whole lines only. For one thread at a time.
 */
abstract class JsonLines implements Closeable {
    private static final String DIGITS = "0123456789abcdef";
    private static final int ROOM = 1 << 16;
    /** The most characters of a long, with its sign. */
    private static final int MOST_DIGITS = 20;

    private static final VarHandle SHORTS =
            MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    /** The two digits of each number below 100, the first in the low byte. */
    private static final short[] PAIRS = new short[100];
    /** The first number with one digit more than its index. */
    private static final long[] POWERS = new long[19];

    static {
        for (int i = 0; i < PAIRS.length; i++) {
            PAIRS[i] = (short) ('0' + i / 10 | '0' + i % 10 << 8);
        }
        POWERS[0] = 1;
        for (int i = 1; i < POWERS.length; i++) {
            POWERS[i] = 10 * POWERS[i - 1];
        }
    }

    private final OutputStream out;
    private byte[] room = new byte[ROOM];
    private int at;
    /** The end of the last complete line in the buffer. */
    private int whole;
    /** Whether the next field is the first of its object. */
    private boolean first;

    private @Nullable IOException failure;

    JsonLines(OutputStream out) {
        this.out = out;
    }

    /** The form in which the methods of this class expect a key. */
    static String keyOf(String name) {
        return ",\"" + name + "\":";
    }

    /** @param key the text of {@link #keyOf}, here and below */
    void key(String key) {
        raw(key, first ? 1 : 0);
        first = false;
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
            put(DIGITS.charAt(c >>> shift & 15));
        }
    }

    /** Writes the first {@code length} bytes in hex. */
    void bytes(String key, ByteBuffer bytes, int length) {
        key(key);
        put('"');
        need(2 * length);
        boolean swapped = bytes.order() != ByteOrder.LITTLE_ENDIAN;
        int i = 0;
        for (; i + Integer.BYTES <= length; i += Integer.BYTES) {
            int four = bytes.getInt(i);
            LONGS.set(room, at, hex(swapped ? Integer.reverseBytes(four) : four));
            at += Long.BYTES;
        }
        for (; i < length; i++) {
            SHORTS.set(room, at, (short) hex(bytes.get(i)));
            at += Short.BYTES;
        }
        put('"');
    }

    /** The eight hexadecimal digits of an int, one in each byte of the result, those of the low byte first. */
    private static long hex(int bytes) {
        long spread = Integer.toUnsignedLong(bytes);
        spread = (spread | spread << 16) & 0x0000_ffff_0000_ffffL;
        spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ffL;
        long digits = spread >>> 4 & 0x000f_000f_000f_000fL | (spread & 0x000f_000f_000f_000fL) << 8;
        // A digit above 9 carries into bit 4 if 6 is added.
        long letters = (digits + 0x0606_0606_0606_0606L) >>> 4 & 0x0101_0101_0101_0101L;
        return digits + 0x3030_3030_3030_3030L + letters * ('a' - '0' - 10);
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
        need(MOST_DIGITS);
        if (value >= 0) {
            positive(value);
            return;
        }
        room[at++] = '-';
        // Writes the last digit separately, because the smallest long has no positive counterpart.
        if (value < -9) {
            positive(-(value / 10));
        }
        room[at++] = (byte) ('0' - value % 10);
    }

    private void positive(long value) {
        if (value < 10) {
            room[at++] = (byte) ('0' + value);
            return;
        }
        int start = at;
        at += digits(value);
        int to = at;
        long rest = value;
        while (rest > Integer.MAX_VALUE) {
            long tens = rest / 100;
            to -= 2;
            SHORTS.set(room, to, PAIRS[(int) (rest - 100 * tens)]);
            rest = tens;
        }
        // An int division takes half the time of a long division.
        int small = (int) rest;
        while (to - start >= 2) {
            int tens = small / 100;
            to -= 2;
            SHORTS.set(room, to, PAIRS[small - 100 * tens]);
            small = tens;
        }
        if (to > start) {
            room[start] = (byte) ('0' + small);
        }
    }

    /** @param value at least 1 */
    private static int digits(long value) {
        // log10(2) is about 1233 / 4096.
        int below = (Long.SIZE - Long.numberOfLeadingZeros(value)) * 1233 >>> 12;
        return value < POWERS[below] ? below : below + 1;
    }

    // The part of this line that was written, to be written again

    /** The offset of the next byte in the line. */
    int mark() {
        return at - whole;
    }

    /** The bytes of this line since a {@link #mark}. */
    byte[] since(int mark) {
        return Arrays.copyOfRange(room, whole + mark, at);
    }

    void again(byte[] written) {
        need(written.length);
        System.arraycopy(written, 0, room, at, written.length);
        at += written.length;
        first = false;
    }

    /** @param ascii trusted ASCII text without characters to escape */
    void raw(String ascii) {
        raw(ascii, 0);
    }

    @SuppressWarnings("deprecation") // the getBytes() that copies one byte for each character, and allocates nothing
    private void raw(String ascii, int from) {
        int length = ascii.length() - from;
        need(length);
        ascii.getBytes(from, ascii.length(), room, at);
        at += length;
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
            // The recorded program continues; only its tape ends.
            failure = e;
        }
        at -= whole;
        System.arraycopy(room, whole, room, 0, at);
        whole = 0;
    }

    /** Writes the lines so far. IOException if a line of this or an earlier flush could not be written. */
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
