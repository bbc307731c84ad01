/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;

/** An empty epoll set, as a descriptor that is no eventfd; source: fs/eventpoll.c. */
final class EpollFile extends FakeFile {
    private final Profile profile;

    EpollFile(Profile profile) {
        this.profile = profile;
    }

    /** Its two requests came with 6.9, and with them another answer to all others. */
    @Override
    int ioctl(long request, long argument) {
        return -(profile.isSince(6, 9) ? Errno.EINVAL : Errno.ENOTTY).number();
    }

    @Override
    boolean readable() {
        return false;
    }
}
