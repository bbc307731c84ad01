/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.Optional;

/**
 * A copy of a kernel structure with x86 vCPU or VM state. Not thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="state"}
 */
public abstract class X86State {
    final ByteBuffer structure;

    X86State(int size) {
        structure = Buffers.allocate(size);
    }

    /** A copy of all bytes of the kernel's structure. */
    public byte[] bytes() {
        return bytes(0, structure.capacity());
    }

    final byte[] bytes(int offset, int length) {
        byte[] bytes = new byte[length];
        structure.get(offset, bytes);
        return bytes;
    }

    /** @throws IllegalArgumentException if the number of bytes is not the structure's size */
    static <S extends X86State> S load(S made, byte[] bytes) {
        Objects.requireNonNull(bytes, "bytes is null");
        if (bytes.length != made.structure.capacity()) {
            throw new IllegalArgumentException(
                    bytes.length + " bytes for " + made.getClass().getSimpleName() + ": expected "
                            + made.structure.capacity() + ", as bytes() returns");
        }
        made.structure.put(0, bytes);
        return made;
    }

    /** The field that contains the byte at {@code offset}, with its value. */
    String describe(int offset) {
        return "byte " + offset + " 0x" + Integer.toHexString(structure.get(offset) & 0xff);
    }

    /** Describes the first field that differs from another copy's, such as {@code RIP=0x1000, not RIP=0x0}. */
    public Optional<String> difference(X86State other) {
        Objects.requireNonNull(other, "other is null");
        int at = structure.mismatch(other.structure);
        if (at < 0) {
            return Optional.empty();
        }
        if (at >= Math.min(structure.capacity(), other.structure.capacity())) {
            return Optional.of(structure.capacity() + " bytes, not " + other.structure.capacity());
        }
        return Optional.of(describe(at) + ", not " + other.describe(at));
    }
}
