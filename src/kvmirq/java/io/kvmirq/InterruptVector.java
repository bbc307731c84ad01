/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * An interrupt vector of a guest, 8 bits wide. Vectors 0–31 belong to exceptions, and a LAPIC reports an error instead
 * of delivering 0–15 (Intel SDM vol. 3, 11.5.2). Devices use 32–255.
 *
 * @param number 0–255
 */
public record InterruptVector(int number) {
    public InterruptVector {
        if (number < 0 || number > 0xff) {
            throw new IllegalArgumentException(
                    "vector " + number + " is out of range: expected 0-255, for a device 32-255");
        }
    }

    @Override
    public String toString() {
        return "vector 0x" + Integer.toHexString(number);
    }
}
