/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * The identity of an eventfd. A descriptor cannot identify an eventfd, because one eventfd can have descriptors in
 * several processes, and descriptor numbers are reused. The kernel's own id is {@code eventfd-id} in {@code
 * /proc/PID/fdinfo/FD}. A program can choose other ids as long as no two eventfds share one.
 *
 * @param number the id; any value is valid
 */
public record EventFdId(long number) {
    @Override
    public String toString() {
        return "eventfd-id " + number;
    }
}
