/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVMIRQ_INTERNAL_H
#define KVMIRQ_INTERNAL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>

/*
 * Old and new C libraries and headers must have the same layouts: each .c
 * asserts the sizes and offsets of the structures that it writes.
 */
#define ASSERT_LAYOUT(what) _Static_assert(what, #what)

/*
 * Turns -1 of libc into -errno; reads errno at once. Another negative result
 * is no error: KVM_GET_TSC_KHZ of 2^31 kHz or more.
 */
static inline int result(int ret)
{
	return ret == -1 ? -errno : ret;
}

static inline int64_t result64(int64_t ret)
{
	return ret == -1 ? -(int64_t)errno : ret;
}

static inline int call_value(int fd, unsigned long request, unsigned long arg)
{
	return result(ioctl(fd, request, arg));
}

static inline int call(int fd, unsigned long request, const void *arg)
{
	return result(ioctl(fd, request, arg));
}

#endif
