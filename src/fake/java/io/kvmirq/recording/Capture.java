/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** The bytes of a call in progress. Each thread has one object, which it reuses. */
final class Capture {
    /** The most bytes of a read or write that are captured. */
    static final int MOST_DATA = 4096;

    private static final int MOST_TEXT = 64;

    final int tid = (int) Thread.currentThread().getId();
    final ByteBuffer data = Buffers.allocate(Uapi.KvmArchForwardedIrq.SIZE);
    ByteBuffer in = Buffers.allocate(MOST_DATA);
    ByteBuffer out = Buffers.allocate(MOST_DATA);
    String call = "";
    String on = "";

    @Nullable
    String path;

    /** The kind of an ioctl's file before the call, and the request for this kind. */
    FileKind kind = FileKind.NONE;

    @Nullable
    Request known;

    boolean cut;
    /** The number of valid bytes in each buffer; -1 if the call has none. */
    int inLength;

    int outLength;
    int dataLength;

    private final ProcessMemory memory;

    Capture(ProcessMemory memory) {
        this.memory = memory;
    }

    void clear(String name) {
        call = name;
        on = "";
        path = null;
        kind = FileKind.NONE;
        known = null;
        cut = false;
        inLength = -1;
        outLength = -1;
        dataLength = -1;
    }

    static long number(@Nullable Object argument) {
        return argument instanceof Number number ? number.longValue() : 0;
    }

    boolean copy(@Nullable Object from, int length, ByteBuffer to) {
        if (from instanceof ByteBuffer buffer) {
            if (buffer.limit() < length) {
                return false;
            }
            to.put(0, buffer, 0, length);
            return true;
        }
        return memory.copy(number(from), length, to);
    }

    /** Copies the bytes that the kernel will read. */
    void load(@Nullable Object from, long length) {
        int wanted = (int) Math.max(0, Math.min(length, MOST_DATA));
        load(from, length, wanted);
    }

    /** @param wanted the number of bytes to copy, at most {@code length} */
    void load(@Nullable Object from, long length, int wanted) {
        if (in.capacity() < wanted) {
            in = Buffers.allocate(wanted);
            out = Buffers.allocate(wanted);
        }
        cut = wanted < length;
        if (wanted > 0 && copy(from, wanted, in)) {
            inLength = wanted;
        }
    }

    /** Copies a string that the kernel will read, with its NUL. */
    void loadText(@Nullable Object from) {
        for (int i = 0; i < MOST_TEXT; i++) {
            boolean readable =
                    from instanceof ByteBuffer buffer ? i < buffer.limit() : memory.copy(number(from) + i, 1, out);
            if (!readable) {
                return;
            }
            in.put(i, from instanceof ByteBuffer buffer ? buffer.get(i) : out.get(0));
            inLength = i + 1;
            if (in.get(i) == 0) {
                return;
            }
        }
    }

    /** Copies the bytes that the kernel wrote. */
    void store(@Nullable Object from, long length) {
        int wanted = (int) Math.min(length, MOST_DATA);
        if (wanted > 0 && copy(from, wanted, out)) {
            outLength = wanted;
            cut = wanted < length;
        }
    }

    /** Copies the structure after the call, if the kernel changed it. */
    void storeChanged(@Nullable Object from) {
        if (inLength > 0 && copy(from, inLength, out)) {
            in.limit(inLength);
            out.limit(inLength);
            outLength = in.mismatch(out) < 0 ? -1 : inLength;
            in.clear();
            out.clear();
        }
    }
}
