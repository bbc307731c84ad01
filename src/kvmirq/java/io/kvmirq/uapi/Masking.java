/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Role;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Names the descriptors in the bytes of a call, and sets them and all addresses to 0, so that equal calls have equal
 * bytes. Both recorders of tapes use it. A buffer of length -1 is absent. Allocates nothing. For one thread at a time.
 */
public final class Masking {
    /** The {@code place} of a name for the bytes of {@code data}. */
    public static final int IN_DATA = -1;

    /** The {@code place} of a name for the argument {@code value}. */
    public static final int IN_VALUE = -2;

    /** The files and the memory of the process that makes the call. */
    public interface Holder {
        /** The name of an open file; null for a file that no recorded call made or named. */
        @Nullable
        String file(int fd);

        String made(int fd, FileKind kind);

        /**
         * The name of the mapping that becomes guest memory at an address, and the offset in it; empty if none is
         * known.
         */
        String guestMemory(long address);

        /** Receives the name of the descriptor or address at an offset of {@code in}, or at {@link #IN_DATA}. */
        void named(int place, String name);
    }

    private final int[] places = new int[Arguments.MOST_FDS];
    private final Holder process;
    private ByteBuffer in = ByteBuffer.allocate(0);
    private int inLength;
    private ByteBuffer out = in;
    private int outLength;

    public Masking(Holder process) {
        this.process = process;
    }

    /** Sets the structure before the call and after it. */
    public void over(ByteBuffer before, int beforeLength, ByteBuffer after, int afterLength) {
        in = before;
        inLength = beforeLength;
        out = after;
        outLength = afterLength;
    }

    public void poll() {
        for (int at = 0; at + Uapi.Pollfd.SIZE <= inLength; at += Uapi.Pollfd.SIZE) {
            nameDescriptor(at);
        }
    }

    /**
     * The argument of an ioctl.
     *
     * @param known the result of {@link UapiTable#find} for the request on this kind of file
     * @param on the kind of file on which the call was made
     * @param data the bytes that an address in the structure points to
     * @return the name of the file that the call made; empty for none
     */
    public String ioctl(
            @Nullable Request known, Long request, FileKind on, ByteBuffer data, int dataLength, long result) {
        int count = Arguments.places(known, Role.FD, in, inLength, places);
        for (int i = 0; i < count; i++) {
            nameDescriptor(places[i]);
        }
        nameGuestMemory(known);
        count = Arguments.addresses(known, request, on, in, inLength, places);
        for (int i = 0; i < count; i++) {
            zero(places[i]);
            zero(places[i] + Integer.BYTES);
        }
        @Nullable
        String file =
                dataLength >= Integer.BYTES && Arguments.isDescriptor(known) ? process.file(data.getInt(0)) : null;
        if (file != null) {
            process.named(IN_DATA, file);
            data.putInt(0, 0);
        }
        return made(known, result);
    }

    private String made(@Nullable Request known, long result) {
        // Bytes that the kernel did not change are on the tape once.
        ByteBuffer after = outLength < 0 ? in : out;
        @Nullable Field field = Arguments.made(known, after, outLength < 0 ? inLength : outLength, result);
        if (field != null) {
            String name = process.made(after.getInt(field.offset()), Arguments.kind(field, after));
            after.putInt(field.offset(), 0);
            return name;
        }
        FileKind kind = Arguments.makes(known);
        return result < 0 || kind == FileKind.NONE ? "" : process.made((int) result, kind);
    }

    private void nameDescriptor(int at) {
        @Nullable String name = process.file(in.getInt(at));
        if (name != null) {
            process.named(at, name);
            zero(at);
        }
    }

    private void nameGuestMemory(@Nullable Request known) {
        @Nullable Field address = Arguments.guestMemory(known);
        if (address != null && inLength >= address.offset() + Long.BYTES) {
            String place = process.guestMemory(in.getLong(address.offset()));
            if (!place.isEmpty()) {
                process.named(address.offset(), place);
            }
        }
    }

    private void zero(int at) {
        in.putInt(at, 0);
        if (outLength >= at + Integer.BYTES) {
            out.putInt(at, 0);
        }
    }
}
