/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import java.util.OptionalLong;

/**
 * The guest writes an {@link IoEventFd} takes.
 *
 * <p>Source: {@code struct kvm_ioeventfd} in linux/kvm.h, {@code ioeventfd_in_range()} in virt/kvm/eventfd.c.
 */
public sealed interface IoAddress {
    long address();

    /** Bytes written: 1, 2, 4 or 8, or 0 for any. */
    int length();

    /** Only this value, compared in the written length; absent for any. */
    OptionalLong data();

    /** An x86 I/O port, 0–0xFFFF. */
    record Port(int port, int length, OptionalLong data) implements IoAddress {
        public Port {
            if (port < 0 || port > 0xffff) {
                throw new IllegalArgumentException("port " + port + " is out of range: expected 0–0xffff");
            }
            requireLength(length, data);
        }

        @Override
        public long address() {
            return port;
        }
    }

    /** A guest-physical address, unsigned, that is not memory. */
    record Mmio(long address, int length, OptionalLong data) implements IoAddress {
        public Mmio {
            requireLength(length, data);
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

    private static void requireLength(int length, OptionalLong data) {
        if (length != 0 && length != 1 && length != 2 && length != 4 && length != 8) {
            throw new IllegalArgumentException(
                    "length " + length + " cannot be written by a guest: expected 0, 1, 2, 4" + " or 8 bytes");
        }
        if (length == 0 && data.isPresent()) {
            throw new IllegalArgumentException("length 0 takes writes of any length, so no data can be compared: name a"
                    + " length or leave the data out");
        }
    }
}
