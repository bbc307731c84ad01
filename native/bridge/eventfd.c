/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/fs.h>
#include <linux/uio.h>
#include <sys/eventfd.h>

/* Old headers lack it; the value is the same on every architecture. */
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

/* A non-blocking eventfd with count 0. */
int kvmirq_eventfd_create(void)
{
	return call3(__NR_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK, 0);
}

/* The same, of which each read subtracts 1. */
int kvmirq_eventfd_create_semaphore(void)
{
	return call3(__NR_eventfd2, 0,
		     EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE, 0);
}

/*
 * Create count non-blocking eventfds in fds. The result says how many were
 * made, and stay: after the last of them, if they are fewer, stands -errno.
 */
int kvmirq_eventfds_create(int32_t *fds, uint32_t count)
{
	uint32_t made = 0;

	while (made < count) {
		fds[made] = kvmirq_eventfd_create();
		if (fds[made] < 0)
			break;
		made++;
	}
	return (int)made;
}

/* An eventfd transfers 8 bytes or fails; a shorter one is another file. */
static int whole(long ret)
{
	if (ret < 0)
		return (int)ret;
	return ret == sizeof(uint64_t) ? 0 : -EINVAL;
}

/*
 * Add count. -EAGAIN: the sum would exceed 2^64 - 2 (an eventfd without
 * O_NONBLOCK blocks instead); -EINVAL: count is 2^64 - 1.
 */
int kvmirq_eventfd_signal(int fd, uint64_t count)
{
	return whole(call3(__NR_write, fd, (long)&count, sizeof(count)));
}

/* Read the count and reset it; a semaphore reads 1. -EAGAIN: it was 0. */
int kvmirq_eventfd_drain(int fd, uint64_t *count)
{
	return whole(call3(__NR_read, fd, (long)count, sizeof(*count)));
}

/*
 * Drain an eventfd that another library or process created: never blocks,
 * with or without O_NONBLOCK. Linux before 5.8: -EOPNOTSUPP.
 */
int kvmirq_eventfd_drain_foreign(int fd, uint64_t *count)
{
	struct iovec to = { .iov_base = count, .iov_len = sizeof(*count) };

	return whole(kvmirq_syscall(__NR_preadv2, fd, (long)&to, 1, -1, -1,
				    RWF_NOWAIT));
}
