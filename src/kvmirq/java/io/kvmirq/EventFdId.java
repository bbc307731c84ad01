/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * The identity of an eventfd. The id is not a descriptor: one eventfd may have many descriptors in several processes,
 * and their numbers are reused. The kernel's own number is {@code eventfd-id} in {@code /proc/PID/fdinfo/FD}. A program
 * that makes ids may choose any numbers, as long as no two eventfds have the same number.
 *
 * @param number any number
 */
public record EventFdId(long number) {
    @Override
    public String toString() {
        return "eventfd-id " + number;
    }
}
