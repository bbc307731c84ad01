/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** A BAR with its size in bytes, a power of two, and its host address, 0 until the device is added to the host. */
public record PciBar(Kind kind, int bytes, long address) {
    public enum Kind {
        /** Registers below 4 GiB. */
        MEMORY(0),
        /** Prefetchable registers with a 64-bit address. The BAR also occupies the number of the next BAR. */
        MEMORY_64(0xc),
        /** Registers with a 64-bit address, not prefetchable. The BAR also occupies the number of the next BAR. */
        REGISTERS_64(4),
        /** I/O ports. */
        PORTS(1);

        /** The low bits of the register. */
        final int flags;

        /** Whether the BAR also occupies the number of the next BAR. */
        public boolean isWide() {
            return this == MEMORY_64 || this == REGISTERS_64;
        }

        Kind(int flags) {
            this.flags = flags;
        }
    }

    public PciBar(Kind kind, int bytes) {
        this(kind, bytes, 0);
    }

    PciBar at(long place) {
        return new PciBar(kind, bytes, place);
    }

    /** The value of the register after a write: the bits above the size are kept. */
    int register(int written) {
        return written & -bytes | kind.flags;
    }
}
