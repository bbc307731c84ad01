/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/** Addresses, unsigned, that devices can use for DMA; {@code last} is the last one. */
public record DmaRange(long first, long last) {
    /** Whether all of some addresses are in the range. */
    public boolean contains(long from, long to) {
        return Long.compareUnsigned(first, from) <= 0
                && Long.compareUnsigned(from, to) <= 0
                && Long.compareUnsigned(to, last) <= 0;
    }

    @Override
    public String toString() {
        return "0x" + Long.toHexString(first) + "-0x" + Long.toHexString(last);
    }
}
