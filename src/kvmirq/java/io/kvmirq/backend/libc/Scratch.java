/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** Memory for the arguments of one call at a time. The caller keeps it reachable during the call. */
final class Scratch extends PerThread.Owned {
    /** The size of the largest fixed structure, {@code struct kvm_irqchip}. */
    private static final int SIZE = Uapi.KvmIrqchip.SIZE;

    private final ByteBuffer bytes = Buffers.allocate(SIZE);
    private final long address;

    Scratch(Libc libc) {
        this.address = libc.addressOf(bytes);
    }

    long address() {
        return address;
    }

    /** @param length a multiple of 8 */
    void zero(int length) {
        for (int at = 0; at < length; at += Long.BYTES) {
            bytes.putLong(at, 0);
        }
    }

    void putInt(int at, int value) {
        bytes.putInt(at, value);
    }

    void putLong(int at, long value) {
        bytes.putLong(at, value);
    }

    int getInt(int at) {
        return bytes.getInt(at);
    }

    int getShort(int at) {
        return bytes.getShort(at) & 0xffff;
    }

    long getLong(int at) {
        return bytes.getLong(at);
    }

    void copyTo(ByteBuffer to, int at, int length) {
        to.put(0, bytes, at, length);
    }

    void copyFrom(ByteBuffer from, int at, int length) {
        bytes.put(at, from, 0, length);
    }
}
