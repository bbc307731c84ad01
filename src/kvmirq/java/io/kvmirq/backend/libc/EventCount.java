/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** Writes and reads an eventfd's count, with 8 bytes and a {@code struct iovec} for preadv2(2). */
record EventCount(Libc libc, PerThread<Scratch> scratches, Scratch increment) {
    private static final int VECTOR = Long.BYTES;
    private static final int EINVAL = -Errno.EINVAL.number();

    EventCount(Libc libc, PerThread<Scratch> scratches) {
        this(libc, scratches, new Scratch(libc));
        increment.putLong(0, 1);
    }

    int signal(int fd, long count) {
        if (count == 1) {
            return whole(libc.write(fd, increment.address(), Long.BYTES)); // works even without free memory
        }
        Scratch scratch = scratches.getOwn(); // an eventfd without O_NONBLOCK may wait
        scratch.putLong(0, count);
        try {
            return whole(libc.write(fd, scratch.address(), Long.BYTES));
        } finally {
            scratches.done(scratch);
        }
    }

    /** @param foreign the eventfd may lack O_NONBLOCK */
    int drain(int fd, ByteBuffer count, boolean foreign) {
        ByteBuffer to = Buffers.writable(count, Long.BYTES);
        Scratch scratch = scratches.get();
        try {
            long address = scratch.address();
            scratch.putLong(VECTOR + Uapi.Iovec.IOV_BASE, address);
            scratch.putLong(VECTOR + Uapi.Iovec.IOV_LEN, Long.BYTES);
            int result = whole(
                    foreign
                            ? libc.preadv2(fd, address + VECTOR, 1, -1, Uapi.RWF_NOWAIT)
                            : libc.read(fd, address, Long.BYTES));
            if (result == 0) {
                Buffers.put(to, scratch.getLong(0));
            }
            return result;
        } finally {
            scratches.done(scratch);
        }
    }

    /** An eventfd transfers 8 bytes or fails. A shorter transfer means that the file is not an eventfd. */
    private static int whole(long result) {
        if (result < 0) {
            return (int) result;
        }
        return result == Long.BYTES ? 0 : EINVAL;
    }
}
