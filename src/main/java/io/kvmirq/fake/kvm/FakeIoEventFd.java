/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.fake.file.EventFile;
import io.kvmirq.uapi.Uapi;

/**
 * Guest writes that signal an eventfd; source: virt/kvm/eventfd.c.
 *
 * @param length 0 for any
 * @param wildcard whether any data will do
 */
public record FakeIoEventFd(EventFile event, Bus bus, long address, int length, boolean wildcard, long data) {
    /** Where the guest writes; nothing of x86 ever writes to the last. */
    public enum Bus {
        PORT,
        MEMORY,
        CHANNEL;

        static Bus of(int flags) {
            if ((flags & Uapi.KVM_IOEVENTFD_FLAG_PIO) != 0) {
                return PORT;
            }
            return (flags & VIRTIO_CCW_NOTIFY) != 0 ? CHANNEL : MEMORY;
        }
    }

    private static final int VIRTIO_CCW_NOTIFY = 8;

    boolean takes(Bus to, long written, int bytes, long value) {
        return bus == to && address == written && (length == 0 || length == bytes) && (wildcard || data == value);
    }

    /** Whether both cannot be told apart for some write. */
    boolean collides(FakeIoEventFd other) {
        return bus == other.bus
                && address == other.address
                && (length == 0
                        || other.length == 0
                        || length == other.length && (wildcard || other.wildcard || data == other.data));
    }
}
