/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

/**
 * A guest's number for an interrupt. Immutable.
 *
 * @param number the vector on x86, 0–255, or the INTID on arm64, where LPIs start at 8192
 */
public record GuestVector(int number) {
    public GuestVector {
        if (number < 0) {
            throw new IllegalArgumentException("guest vector " + number + " is out of range: expected 0 or more");
        }
    }

    @Override
    public String toString() {
        return String.valueOf(number);
    }
}
