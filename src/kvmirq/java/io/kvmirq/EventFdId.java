/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * The identity of an eventfd. Descriptor numbers do not identify it, because it can have several descriptors, even in
 * several processes, and numbers are reused. The kernel's own id is {@code eventfd-id} in {@code /proc/PID/fdinfo/FD}.
 * A program can choose other ids as long as they are unique.
 *
 * @param number the id; any value is valid
 */
public record EventFdId(long number) {
    @Override
    public String toString() {
        return "eventfd-id " + number;
    }
}
