/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * The identity of an eventfd. It is not a descriptor, because one eventfd may have many descriptors in several
 * processes, and their numbers are reused. The kernel's own id is {@code eventfd-id} in {@code /proc/PID/fdinfo/FD}. A
 * program may choose other ids as long as no two eventfds share one.
 *
 * @param number any number
 */
public record EventFdId(long number) {
    @Override
    public String toString() {
        return "eventfd-id " + number;
    }
}
