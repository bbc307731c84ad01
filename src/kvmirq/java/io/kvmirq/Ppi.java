/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * An ARM GIC private peripheral interrupt (PPI). Each vCPU has its own PPIs, for example for its timers.
 *
 * <p>Source: GIC architecture (IHI 0069), 2.2.1.
 *
 * @param number the INTID, {@value #FIRST}–{@value #LAST}
 */
public record Ppi(int number) {
    /** The lowest PPI; lower INTIDs are SGIs, which only software raises. */
    public static final int FIRST = 16;
    /** The highest PPI. */
    public static final int LAST = 31;

    public Ppi {
        if (number < FIRST || number > LAST) {
            throw new IllegalArgumentException(
                    "PPI " + number + " is out of range: expected " + FIRST + "-" + LAST + ", its INTID");
        }
    }

    @Override
    public String toString() {
        return "ppi " + number;
    }
}
