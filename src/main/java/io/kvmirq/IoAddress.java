/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.OptionalLong;

/**
 * The guest writes that signal an eventfd.
 *
 * <p>Source: {@code struct kvm_ioeventfd} in linux/kvm.h, {@code ioeventfd_in_range()} in virt/kvm/eventfd.c.
 */
public sealed interface IoAddress {
    long address();

    /** Bytes written: 1, 2, 4, and at memory addresses 8; or 0 for any. */
    int length();

    /** Only this value, unsigned, of {@link #length} bytes; absent for any. */
    OptionalLong data();

    /** An x86 I/O port, 0–0xFFFF. */
    record Port(int port, int length, OptionalLong data) implements IoAddress {
        private static final int WIDEST = 4;

        public Port {
            if (port < 0 || port > 0xffff) {
                throw new IllegalArgumentException("port " + port + " is out of range: expected 0–0xffff");
            }
            requireLength(length, data, WIDEST);
        }

        @Override
        public long address() {
            return port;
        }
    }

    /** A guest-physical address, unsigned, that is not memory. */
    record Mmio(long address, int length, OptionalLong data) implements IoAddress {
        private static final int WIDEST = 8;

        public Mmio {
            requireLength(length, data, WIDEST);
        }
    }

    /** Any value of {@code length} bytes written to a port. */
    static IoAddress port(int port, int length) {
        return new Port(port, length, OptionalLong.empty());
    }

    /** One value of {@code length} bytes written to a port. */
    static IoAddress port(int port, int length, long data) {
        return new Port(port, length, OptionalLong.of(data));
    }

    /** Any value of {@code length} bytes written to an address. */
    static IoAddress mmio(long address, int length) {
        return new Mmio(address, length, OptionalLong.empty());
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
            throw new IllegalArgumentException("length 0 takes writes of any length, so no data can be compared: name a"
                    + " length or leave the data out");
        }
        if (length < Long.BYTES && data.getAsLong() >>> (length * Byte.SIZE) != 0) {
            throw new IllegalArgumentException("data 0x" + Long.toHexString(data.getAsLong()) + " does not fit into "
                    + length + " bytes and would never match: give it unsigned, without higher bits");
        }
    }
}
