/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define NANOS_PER_SECOND 1000000000

int kvmirq_fd_close(int fd)
{
	return result(close(fd));
}

int kvmirq_fd_dup(int fd)
{
	return result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int kvmirq_fd_wait(int fd, int wake, int64_t timeout_ns)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = wake, .events = POLLIN },
	};
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / NANOS_PER_SECOND),
		.tv_nsec = (long)(timeout_ns % NANOS_PER_SECOND),
	};
	int ret;

	if (fd < 0)
		return -EBADF; /* ppoll ignores a negative fd */
	ret = result(ppoll(fds, wake < 0 ? 1 : 2,
			   timeout_ns < 0 ? NULL : &timeout, NULL));
	if (ret < 0)
		return ret;
	if ((fds[0].revents | fds[1].revents) & POLLNVAL)
		return -EBADF;
	return (fds[0].revents ? KVMIRQ_READY_FD : 0) |
	       (fds[1].revents ? KVMIRQ_READY_WAKE : 0);
}
