/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * Thrown if the host has fewer interrupt vectors than requested. None was enabled. VFIO reports this as a positive
 * result, which looks like success.
 */
public final class VectorsExhaustedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private final int available;

    VectorsExhaustedException(String wanted, int available) {
        super("vfio set irqs " + wanted + ": only "
                + (available == 1 ? "vector 0 is" : "vectors 0-" + (available - 1) + " are")
                + " available on this host, and nothing was enabled: request no others");
        this.available = available;
    }

    /** The number of vectors that the host can allocate, starting at the device's vector 0. */
    public int available() {
        return available;
    }
}
