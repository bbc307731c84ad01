/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <sys/syscall.h>
#include <unistd.h>

/* Old headers lack it; the number is the same on every architecture. */
#ifndef SYS_io_uring_enter
#define SYS_io_uring_enter 426
#endif

int kvmirq_uring_enter(int ring, uint32_t submit, uint32_t complete,
		       uint32_t flags, const void *arg, size_t size)
{
	return result((int)syscall(SYS_io_uring_enter, ring, submit, complete,
				   flags, arg, size));
}
