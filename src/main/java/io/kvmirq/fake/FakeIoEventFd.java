/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

/**
 * Guest writes that signal an eventfd; source: virt/kvm/eventfd.c.
 *
 * @param length 0 for any
 * @param wildcard whether any data will do
 */
record FakeIoEventFd(EventFile event, boolean port, long address, int length, boolean wildcard, long data) {
    boolean takes(boolean toPort, long written, int bytes, long value) {
        return port == toPort && address == written && (length == 0 || length == bytes) && (wildcard || data == value);
    }

    /** Whether both cannot be told apart for some write. */
    boolean collides(FakeIoEventFd other) {
        return port == other.port
                && address == other.address
                && (length == 0
                        || other.length == 0
                        || length == other.length && (wildcard || other.wildcard || data == other.data));
    }
}
