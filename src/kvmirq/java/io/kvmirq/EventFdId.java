/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * The identity of an eventfd. Descriptors cannot serve as identities, because an eventfd can have several, in several
 * processes, and their numbers are reused. The kernel's own id is {@code eventfd-id} in {@code /proc/PID/fdinfo/FD}. A
 * program can choose other ids as long as no two eventfds share one.
 *
 * @param number the id; any value is valid
 */
public record EventFdId(long number) {
    @Override
    public String toString() {
        return "eventfd-id " + number;
    }
}
