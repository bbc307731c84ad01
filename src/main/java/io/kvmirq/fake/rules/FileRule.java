/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import static io.kvmirq.fake.rules.Grade.LAB;
import static io.kvmirq.fake.rules.Grade.MEASURED;
import static io.kvmirq.fake.rules.Grade.SOURCE;

import io.kvmirq.explain.Cause;
import io.kvmirq.explain.FileCause;

/** Rules about descriptors, memory of the process, eventfds and epoll sets. MEASURED means on 6.18. */
public enum FileRule implements KernelRule {
    // Descriptors and memory of the process
    FD_NOT_OPEN(MEASURED, FileCause.FD_NOT_OPEN),
    FD_TABLE_FULL(SOURCE, FileCause.FD_TABLE_FULL),
    FD_LOWEST(MEASURED, "a new descriptor is the lowest free one", "fs/file.c alloc_fd()"),
    FD_DUP_LIMIT(MEASURED, FileCause.FD_DUP_LIMIT),
    FD_LAST_CLOSE(MEASURED, "a file is released when its last descriptor is closed", "fs/file_table.c fput()"),
    FAULT(MEASURED, FileCause.FAULT, FileCause.EPOLL_WAIT_FAULT),
    NO_SUCH_FILE(MEASURED, FileCause.NO_SUCH_FILE),
    MAP_LENGTH(SOURCE, FileCause.MAP_LENGTH),
    MAP_NOT_A_VCPU(MEASURED, FileCause.MAP_NOT_A_VCPU),
    UNMAP_ALIGNMENT(MEASURED, FileCause.UNMAP_ALIGNMENT),
    FD_CLOSED_ON_EXEC(MEASURED, "every descriptor that a Libc creates is closed on exec", "O_CLOEXEC of each call"),
    NEGATIVE_OFFSET(MEASURED, FileCause.NEGATIVE_OFFSET_READ, FileCause.NEGATIVE_OFFSET_WRITE),
    NO_OFFSET(MEASURED, FileCause.NO_OFFSET_READ, FileCause.NO_OFFSET_WRITE),
    NOT_READABLE(MEASURED, FileCause.NOT_READABLE_READ, FileCause.NOT_READABLE_WRITE),
    FOREIGN_PROCESS(MEASURED, FileCause.FOREIGN_PROCESS),

    // eventfd
    EVENTFD_FLAGS(MEASURED, FileCause.EVENTFD_FLAGS),
    EVENTFD_LENGTH(MEASURED, FileCause.EVENTFD_LENGTH_WRITE, FileCause.EVENTFD_LENGTH_READ),
    EVENTFD_LONG_WRITE(MEASURED, FileCause.EVENTFD_LONG_WRITE),
    EVENTFD_LONG_WRITE_TAKEN(LAB, "before 6.9 a write of more than 8 bytes writes 8", "fs/eventfd.c eventfd_write()"),
    EVENTFD_ALL_ONES(MEASURED, FileCause.EVENTFD_ALL_ONES),
    EVENTFD_FULL(MEASURED, FileCause.EVENTFD_FULL),
    EVENTFD_EMPTY(MEASURED, FileCause.EVENTFD_EMPTY),
    EVENTFD_SEMAPHORE(MEASURED, "a read of a semaphore takes 1 from the count", "fs/eventfd.c eventfd_ctx_do_read()"),
    EVENTFD_SATURATES(
            MEASURED,
            "a signal from the kernel saturates the count at 2^64-1; poll then reports EPOLLERR",
            "fs/eventfd.c eventfd_signal_mask()"),
    EVENTFD_NOWAIT_NOTHING(MEASURED, "preadv2() of 0 bytes returns 0 without reading the eventfd", "fs/read_write.c"),
    NOT_AN_EVENTFD_NOWAIT(MEASURED, FileCause.NOT_AN_EVENTFD_NOWAIT),
    UNKNOWN_IOCTL_OF_FILE(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    EPOLL_FLAGS(MEASURED, FileCause.EPOLL_FLAGS),
    EPOLL_NO_POLL(MEASURED, FileCause.EPOLL_NO_POLL),
    EPOLL_ITSELF(MEASURED, FileCause.EPOLL_ITSELF),
    EPOLL_NOT_A_SET(MEASURED, FileCause.EPOLL_CTL_NOT_A_SET, FileCause.EPOLL_WAIT_NOT_A_SET),
    EPOLL_LOOP(MEASURED, FileCause.EPOLL_LOOP),
    EPOLL_EXISTS(MEASURED, FileCause.EPOLL_EXISTS),
    EPOLL_ABSENT(MEASURED, FileCause.EPOLL_ABSENT),
    EPOLL_OPERATION(MEASURED, FileCause.EPOLL_OPERATION),
    EPOLL_ROOM(MEASURED, FileCause.EPOLL_ROOM),
    EPOLL_KERNEL_ADDRESS(MEASURED, FileCause.EPOLL_KERNEL_ADDRESS),
    EPOLL_ROOM_FIRST_BEFORE(
            SOURCE, "before 6.15 maxevents and address are checked before epfd", "fs/eventpoll.c do_epoll_wait()"),
    EPOLL_LEVEL(MEASURED, "without EPOLLET every wait reports a ready entry", "fs/eventpoll.c ep_send_events()"),
    EPOLL_EDGE(MEASURED, "with EPOLLET an entry is reported once for each wake-up", "fs/eventpoll.c ep_send_events()"),
    EPOLL_ONE_SHOT(
            MEASURED,
            "with EPOLLONESHOT an entry is reported once, then not until it is modified",
            "fs/eventpoll.c ep_send_events()"),
    EPOLL_LAST_CLOSE(
            MEASURED,
            "closing the last descriptor of a file removes its entries; closing the one used to add it does not",
            "fs/eventpoll.c eventpoll_release_file()"),
    EPOLL_UNKNOWN_IOCTL(MEASURED, FileCause.KVM_UNKNOWN_REQUEST),
    EPOLL_UNKNOWN_IOCTL_BEFORE(LAB, FileCause.VM_UNKNOWN_REQUEST);

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Decision decision;

    FileRule(Grade grade, String text, String source) {
        decision = new Decision(grade, text, source);
    }

    FileRule(Grade grade, Cause cause, Cause... more) {
        decision = new Decision(grade, cause, more);
    }

    @Override
    public Decision decision() {
        return decision;
    }
}
