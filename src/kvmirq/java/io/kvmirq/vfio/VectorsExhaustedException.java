/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * The host has fewer interrupt vectors than requested. No vector was enabled. VFIO reports the shortage as a positive
 * result, which looks like success.
 */
public final class VectorsExhaustedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private final int available;

    VectorsExhaustedException(String wanted, int available) {
        super("vfio set irqs " + wanted + ": only "
                + (available == 1 ? "vector 0 is" : "vectors 0-" + (available - 1) + " are")
                + " available on this host, and nothing was enabled: ask for none beyond");
        this.available = available;
    }

    /** The number of vectors that the host can allocate, counted from vector 0, not from the first requested vector. */
    public int available() {
        return available;
    }
}
