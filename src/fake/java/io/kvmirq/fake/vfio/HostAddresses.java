/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** The addresses of BARs, as firmware gives them. They are not given twice before the end of each range. */
final class HostAddresses {
    private static final long FIRST_PORT = 0x1000;
    private static final long LAST_PORT = 0x1_0000;
    private static final long FIRST = 0xe000_0000L;
    /** Below it are the IOAPICs and LAPICs. */
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
            case MEMORY, ROM, REGISTERS_64 -> {
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
        // The first one that fits; the largest of 32 bits begin below the range.
        return at + bytes > last ? Math.min(aligned(first, bytes), END - bytes) : at;
    }
}
