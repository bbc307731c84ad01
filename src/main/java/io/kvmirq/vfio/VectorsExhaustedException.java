/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * The host has fewer interrupt vectors than were asked for. Nothing was enabled. VFIO says this with a positive result,
 * which looks like success.
 */
public final class VectorsExhaustedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private final int available;

    VectorsExhaustedException(String wanted, int available) {
        super("vfio set irqs " + wanted + ": the host has only " + available + " of these vectors left, and none was"
                + " enabled; ask for at most " + available);
        this.available = available;
    }

    /** How many vectors the host would give. */
    public int available() {
        return available;
    }
}
