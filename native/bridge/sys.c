/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

int kvmirq_sys_ioctl(int fd, uint64_t request, uintptr_t arg)
{
	return call_value(fd, request, arg);
}

int kvmirq_sys_open(const char *path, int flags, int mode)
{
	return result(open(path, flags | O_CLOEXEC, (mode_t)mode));
}

int kvmirq_sys_fcntl(int fd, int command, int arg)
{
	return result(fcntl(fd, command, arg));
}

int64_t kvmirq_sys_read(int fd, void *to, size_t len)
{
	return result64(read(fd, to, len));
}

int64_t kvmirq_sys_write(int fd, const void *from, size_t len)
{
	return result64(write(fd, from, len));
}

int64_t kvmirq_sys_pread(int fd, void *to, size_t len, int64_t offset)
{
	return result64(pread(fd, to, len, offset));
}

int64_t kvmirq_sys_pwrite(int fd, const void *from, size_t len,
			  int64_t offset)
{
	return result64(pwrite(fd, from, len, offset));
}

int64_t kvmirq_sys_preadv2(int fd, const void *vectors, int count,
			   int64_t offset, int flags)
{
	return result64(preadv2(fd, vectors, count, offset, flags));
}

int64_t kvmirq_sys_mmap(size_t len, int prot, int flags, int fd,
			int64_t offset)
{
	void *address = mmap(NULL, len, prot, flags, fd, offset);

	return address == MAP_FAILED ? -errno : (int64_t)(intptr_t)address;
}

int kvmirq_sys_munmap(uintptr_t address, size_t len)
{
	return result(munmap((void *)address, len));
}

int kvmirq_sys_ppoll(void *fds, uint64_t count, const void *timeout)
{
	return result(ppoll(fds, count, timeout, NULL));
}

int kvmirq_sys_eventfd(uint32_t count, int flags)
{
	return result(eventfd(count, flags | EFD_CLOEXEC));
}

int kvmirq_sys_epoll_create(int flags)
{
	return result(epoll_create1(flags | EPOLL_CLOEXEC));
}

int kvmirq_sys_epoll_ctl(int epoll, int op, int fd, void *event)
{
	return result(epoll_ctl(epoll, op, fd, event));
}

int kvmirq_sys_epoll_wait(int epoll, void *events, int max, int timeout_ms)
{
	return result(epoll_wait(epoll, events, max, timeout_ms));
}

int64_t kvmirq_sys_call(int64_t number, uintptr_t a, uintptr_t b, uintptr_t c,
			uintptr_t d)
{
	return result64(syscall(number, a, b, c, d, 0L, 0L));
}
