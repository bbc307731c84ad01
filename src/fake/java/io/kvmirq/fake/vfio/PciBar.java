/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** A BAR: a power of two of bytes, and the host's address, 0 until the device is added. */
public record PciBar(Kind kind, int bytes, long address) {
    public enum Kind {
        /** Registers below 4 GiB. */
        MEMORY(0),
        /** Registers anywhere, prefetchable. It takes the next BAR too, for the upper half of its address. */
        MEMORY_64(0xc),
        /** The same, not prefetchable. */
        REGISTERS_64(4),
        /** I/O ports. */
        PORTS(1),
        /** The expansion ROM: memory that is read only. The lowest bit of its register enables it. */
        ROM(0);

        /** The low bits of the register. */
        final int flags;

        /** Whether it takes the next BAR too. */
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

    /** The register after {@code written} was written to it, of which the size leaves some bits. */
    int register(int written) {
        int enable = kind == Kind.ROM ? 1 : 0;
        return written & (-bytes | enable) | kind.flags;
    }
}
