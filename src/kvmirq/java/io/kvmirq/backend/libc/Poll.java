/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Uapi;

/**
 * Implements {@link KernelBackend#fdWait} by ppoll(2), with two {@code struct pollfd} and a {@code struct timespec}.
 */
final class Poll {
    private static final int TIMEOUT = 2 * Uapi.Pollfd.SIZE;
    private static final int EBADF = -Errno.EBADF.number();
    private static final long NANOS_PER_SECOND = 1_000_000_000L;

    private Poll() {}

    static int untilReadable(Libc libc, Scratch scratch, int fd, int wake, long timeoutNanos) {
        if (fd < 0) {
            return EBADF; // ppoll would ignore it
        }
        describe(scratch, 0, fd);
        describe(scratch, Uapi.Pollfd.SIZE, wake);
        scratch.putLong(TIMEOUT + Uapi.Timespec.TV_SEC, timeoutNanos / NANOS_PER_SECOND);
        scratch.putLong(TIMEOUT + Uapi.Timespec.TV_NSEC, timeoutNanos % NANOS_PER_SECOND);
        long address = scratch.address();
        int ready = libc.ppoll(address, wake < 0 ? 1 : 2, timeoutNanos < 0 ? 0 : address + TIMEOUT);
        return ready < 0 ? ready : readiness(scratch, wake);
    }

    private static void describe(Scratch scratch, int at, int fd) {
        scratch.putInt(at + Uapi.Pollfd.FD, fd);
        scratch.putInt(at + Uapi.Pollfd.EVENTS, Uapi.POLLIN);
    }

    private static int readiness(Scratch scratch, int wake) {
        int fdEvents = scratch.getShort(Uapi.Pollfd.REVENTS);
        int wakeEvents = wake < 0 ? 0 : scratch.getShort(Uapi.Pollfd.SIZE + Uapi.Pollfd.REVENTS);
        if (((fdEvents | wakeEvents) & Uapi.POLLNVAL) != 0) {
            return EBADF;
        }
        return (fdEvents != 0 ? KernelBackend.READY_FD : 0) | (wakeEvents != 0 ? KernelBackend.READY_WAKE : 0);
    }
}
