/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.fake.file.EventFile;
import io.kvmirq.uapi.Uapi;

/** An ioeventfd: guest writes of {@code length} bytes (0: of any length) signal it, of any data if {@code wildcard}. */
public record FakeIoEventFd(EventFile event, Bus bus, long address, int length, boolean wildcard, long data) {
    /** The bus of the guest's write. CHANNEL is for s390 (virtio-ccw); x86 guests never write to it. */
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

    /** Whether a write can match both ioeventfds. */
    boolean collides(FakeIoEventFd other) {
        return bus == other.bus
                && address == other.address
                && (length == 0
                        || other.length == 0
                        || length == other.length && (wildcard || other.wildcard || data == other.data));
    }
}
