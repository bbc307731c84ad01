/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.UapiTable;

/** An open file of one kind. All methods are called with the kernel's lock held. */
abstract class FakeFile {
    private int descriptors;

    /** Another descriptor refers to it. */
    final void opened() {
        descriptors++;
    }

    /** One descriptor less; the last one releases it. */
    final void closed() {
        if (--descriptors == 0) {
            released();
        }
    }

    /** No descriptor is left. */
    void released() {}

    /** What this kind of file answers; {@code argument} is a value or an address. */
    int ioctl(long request, long argument) {
        return -Errno.ENOTTY.number();
    }

    /**
     * A number that no kernel knows gets {@code errno}; one that kernels know and this fake does not is refused by name.
     *
     * @throws NotModelledException for a request of {@link UapiTable}
     */
    static int unknown(UapiTable.FileKind kind, long request, int errno) {
        for (UapiTable.Request known : UapiTable.REQUESTS) {
            if (known.kind() == kind && known.number() == request) {
                throw new NotModelledException(known.name());
            }
        }
        return errno;
    }

    /** FIONBIO, for those it makes a difference to. */
    void setBlocking(boolean on) {}

    long read(long to, long length) {
        return -Errno.EINVAL.number();
    }

    long write(long from, long length) {
        return -Errno.EINVAL.number();
    }

    /** A file without a poll operation always is. */
    boolean readable() {
        return true;
    }
}
