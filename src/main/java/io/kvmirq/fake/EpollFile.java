/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

/** An empty epoll set, as a descriptor that is no eventfd; source: fs/eventpoll.c. */
final class EpollFile extends FakeFile {
    EpollFile(FakeKernel kernel) {
        super(kernel);
    }

    /** Its two requests came with 6.9, and with them another answer to all others. */
    @Override
    int ioctl(long request, long argument) {
        return kernel.refuse(
                kernel.profile().isSince(6, 9) ? Rule.EPOLL_UNKNOWN_IOCTL : Rule.EPOLL_UNKNOWN_IOCTL_BEFORE);
    }

    @Override
    boolean readable() {
        return false;
    }
}
