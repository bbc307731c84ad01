/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <asm/poll.h>
#include <linux/fcntl.h>
#include <linux/time_types.h>

#define NANOS_PER_SECOND 1000000000

/* close(2). On Linux -EINTR closes the fd too: do not call again. */
int kvmirq_fd_close(int fd)
{
	return call3(__NR_close, fd, 0, 0);
}

/* A second fd for the same open file. */
int kvmirq_fd_dup(int fd)
{
	return call3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 0);
}

/*
 * Wait until fd or wake (-1: none) is readable, at most timeout_ns (negative:
 * without limit). Returns KVMIRQ_READY_* bits, 0 on timeout, -EINTR when a
 * signal came first, -EBADF when fd or wake is not open.
 */
int kvmirq_fd_wait(int fd, int wake, int64_t timeout_ns)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = wake, .events = POLLIN },
	};
	struct __kernel_timespec timeout = {
		.tv_sec = (timeout_ns / NANOS_PER_SECOND),
		.tv_nsec = (timeout_ns % NANOS_PER_SECOND),
	};
	int ret;

	if (fd < 0)
		return -EBADF; /* ppoll ignores a negative fd */
	ret = (int)kvmirq_syscall(__NR_ppoll, (long)fds, wake < 0 ? 1 : 2,
				  timeout_ns < 0 ? 0 : (long)&timeout, 0, 0, 0);
	if (ret < 0)
		return ret;
	if ((fds[0].revents | fds[1].revents) & POLLNVAL)
		return -EBADF;
	return (fds[0].revents ? KVMIRQ_READY_FD : 0) |
	       (fds[1].revents ? KVMIRQ_READY_WAKE : 0);
}
