/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;

/**
 * A guest interrupt vector, 8 bits wide. Vectors 0–31 are reserved for exceptions, and a LAPIC reports an error instead
 * of delivering 0–15 (Intel SDM volume 3, 11.5.2), so devices use 32–255.
 *
 * @param number 0–255
 */
public record InterruptVector(int number) implements Comparable<InterruptVector> {
    public InterruptVector {
        if (number < 0 || number > 0xff) {
            throw new IllegalArgumentException(
                    "vector " + number + " is out of range: expected 0-255, for a device 32-255");
        }
    }

    @Override
    public int compareTo(InterruptVector other) {
        Objects.requireNonNull(other, "other is null");
        return Integer.compare(number, other.number);
    }

    @Override
    public String toString() {
        return "vector 0x" + Integer.toHexString(number);
    }
}
