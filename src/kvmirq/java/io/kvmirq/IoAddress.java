/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;
import java.util.OptionalLong;

/**
 * The guest writes that signal an eventfd, by port or guest-physical address, length and, optionally, value.
 *
 * <p>Source: {@code struct kvm_ioeventfd} in linux/kvm.h, {@code ioeventfd_in_range()} in virt/kvm/eventfd.c.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="doorbell"}
 */
public sealed interface IoAddress {
    /** The port number or the guest-physical address, unsigned. */
    long address();

    /** The length of the write in bytes: 1, 2, 4, or for {@link Mmio} also 8. 0 matches any length. */
    int length();

    /** The value that the guest must write, unsigned, {@link #length} bytes wide. Empty matches any value. */
    OptionalLong data();

    /**
     * An x86 I/O port.
     *
     * @param port 0–0xFFFF
     * @param length the length of the write in bytes: 0 (any), 1, 2 or 4
     * @param data the value to match, or empty for any value; must be empty if the length is 0
     */
    record Port(int port, int length, OptionalLong data) implements IoAddress {
        private static final int WIDEST = 4;

        public Port {
            Objects.requireNonNull(data, "data is null");
            if (port < 0 || port > 0xffff) {
                throw new IllegalArgumentException("port " + port + " is out of range: expected 0-0xffff");
            }
            requireLength(length, data, WIDEST);
        }

        @Override
        public long address() {
            return port;
        }
    }

    /**
     * A guest-physical address outside of writable guest memory. Writes to guest memory signal no eventfd.
     *
     * @param address the guest-physical address, 64 bits, unsigned
     * @param length the length of the write in bytes: 0 (any), 1, 2, 4 or 8
     * @param data the value to match, or empty for any value; must be empty if the length is 0
     */
    record Mmio(long address, int length, OptionalLong data) implements IoAddress {
        private static final int WIDEST = 8;

        public Mmio {
            Objects.requireNonNull(data, "data is null");
            requireLength(length, data, WIDEST);
        }
    }

    /** Matches every write of {@code length} bytes to a port. */
    static IoAddress port(int port, int length) {
        return new Port(port, length, OptionalLong.empty());
    }

    /** Matches writes of one value, {@code length} bytes wide, to a port. */
    static IoAddress port(int port, int length, long data) {
        return new Port(port, length, OptionalLong.of(data));
    }

    /** Matches every write of {@code length} bytes to an address. */
    static IoAddress mmio(long address, int length) {
        return new Mmio(address, length, OptionalLong.empty());
    }

    /** Matches writes of one value, {@code length} bytes wide, to an address. */
    static IoAddress mmio(long address, int length, long data) {
        return new Mmio(address, length, OptionalLong.of(data));
    }

    private static void requireLength(int length, OptionalLong data, int widest) {
        if (length < 0 || length > widest || Integer.bitCount(length) > 1) {
            throw new IllegalArgumentException("length " + length + " cannot be written there by a guest: expected a"
                    + " power of two up to " + widest + " bytes, or 0 for any");
        }
        if (data.isEmpty()) {
            return;
        }
        if (length == 0) {
            throw new IllegalArgumentException("length 0 matches writes of any length, so data cannot be compared:"
                    + " set a length or leave the data out");
        }
        if (length < Long.BYTES && data.getAsLong() >>> (length * Byte.SIZE) != 0) {
            throw new IllegalArgumentException("data 0x" + Long.toHexString(data.getAsLong()) + " does not fit into "
                    + length + " bytes and would never match: give it unsigned, without higher bits");
        }
    }
}
