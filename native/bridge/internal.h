/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVMIRQ_INTERNAL_H
#define KVMIRQ_INTERNAL_H

#include "syscall.h"

#include <linux/errno.h>
#include <linux/ioctl.h>
#include <stdint.h>

/*
 * Old and new headers must have the same layouts: each .c asserts the sizes
 * and offsets of the structures that it writes.
 */
#define ASSERT_LAYOUT(what) _Static_assert(what, #what)

/* The result is an int of the kernel, or a long that fits one. */
static inline int call3(long number, long a, long b, long c)
{
	return (int)kvmirq_syscall(number, a, b, c, 0, 0, 0);
}

static inline int call_value(int fd, unsigned long request, unsigned long arg)
{
	return call3(__NR_ioctl, fd, (long)request, (long)arg);
}

static inline int call(int fd, unsigned long request, const void *arg)
{
	return call_value(fd, request, (uintptr_t)arg);
}

#endif
