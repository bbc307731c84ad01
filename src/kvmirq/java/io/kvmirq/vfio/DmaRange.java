/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/** A range of DMA addresses, unsigned, from {@code first} to {@code last} inclusive. */
public record DmaRange(long first, long last) {
    /** Whether the range contains all addresses from {@code from} to {@code to} inclusive. */
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
