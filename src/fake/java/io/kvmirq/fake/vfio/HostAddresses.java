/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** Allocates addresses of BARs, as firmware does. A range is reused only after its end is reached. */
final class HostAddresses {
    private static final long FIRST_PORT = 0x1000;
    private static final long LAST_PORT = 0x1_0000;
    private static final long FIRST = 0xe000_0000L;
    /** The end of BARs below 4 GiB; the IOAPICs and LAPICs are above it. */
    private static final long LAST = 0xfec0_0000L;

    private static final long END = 1L << 32;
    private static final long FIRST_64 = 0x40_0000_0000L;

    private long port = FIRST_PORT;
    private long memory = FIRST;
    private long memory64 = FIRST_64;

    long place(PciBar.Kind kind, int bytes) {
        return switch (kind) {
            case PORTS -> {
                long at = within(aligned(port, bytes), bytes, FIRST_PORT, LAST_PORT);
                port = at + bytes;
                yield at;
            }
            case MEMORY, REGISTERS_64 -> {
                long at = within(aligned(memory, bytes), bytes, FIRST, LAST);
                memory = at + bytes;
                yield at;
            }
            case MEMORY_64 -> {
                long at = aligned(memory64, bytes);
                memory64 = at + bytes;
                yield at;
            }
        };
    }

    private static long aligned(long from, int bytes) {
        return from + bytes - 1 & -(long) bytes;
    }

    private static long within(long at, int bytes, long first, long last) {
        // Wraps around to the first address that fits; the largest 32-bit BARs begin below the range.
        return at + bytes > last ? Math.min(aligned(first, bytes), END - bytes) : at;
    }
}
