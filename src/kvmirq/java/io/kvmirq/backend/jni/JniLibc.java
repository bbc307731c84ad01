/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.jni;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.library.DirectLibc;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Makes system calls through {@code native/bridge/sys.c}. */
final class JniLibc extends DirectLibc {
    @Override
    protected native long call(long number, long a, long b, long c, long d, long e, long f);

    @Override
    public ByteBuffer view(long address, long length) {
        return newBuffer(address, Buffers.viewLength(length)).order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return addressOfChecked(Buffers.readable(buffer, 0));
    }

    // These methods are bound by name when the library is loaded. Callers have checked the buffers.

    private static native ByteBuffer newBuffer(long address, long len);

    private static native long addressOfChecked(ByteBuffer buffer);
}
