/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkvmirqtape.so, an LD_PRELOAD recorder: one line of JSON for each call
 * that a program makes on KVM, VFIO, iommufd and eventfds, into $KVMIRQ_TAPE
 * (a file that exists, or the number of an open descriptor).
 *
 * A call is passed on unchanged, errno included. The program's memory is read
 * once the kernel found it readable, so that a bad pointer is recorded as null
 * and fails where it would have failed. Lines are made on the stack (in a
 * mapping when large) and appended to shared memory (tape_map.c) or by one
 * write(): no lock, no malloc, good in threads, children and signal handlers,
 * but not on an alternate stack with less than about 8 KB left. Lines have the
 * bytes of structures, addresses of the program included: the reader in Java
 * makes these zero and names descriptors. What addresses point to is not
 * recorded, except what $KVMIRQ_TAPE_LENGTHS asks for.
 *
 * The recorder sees calls through the C library's functions that this file
 * and tape_transfer.c name. It does not see: raw system calls, and so
 * statically linked programs (trace.c records these); calls within the C
 * library; select(), epoll_wait() and close_range(). Without /proc, as in a
 * chroot, only ioctls of KVM and VFIO, eventfd() and opens that fail are
 * seen, and polls of anything. A seccomp filter that does not allow what
 * recording calls (process_vm_readv, readlink, fallocate, fcntl, fstat,
 * mmap, munmap, rt_sigprocmask, rt_sigpending, rt_sigtimedwait) makes lines
 * incomplete, or kills the program.
 *
 * A descriptor keeps its name until close(), dup2(), dup3(), close_range() or
 * closefrom() of this library ends it: after a raw system call, or fclose(),
 * its number may be recorded as the file it was, or not at all.
 *
 * Calls of the recorder itself go by syscall(), past the functions below.
 */
#include "tape_calls.h"
#include "tape_record.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/syscall.h>

/* Old headers lack it; the number is the same on every architecture. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* The functions behind ours */

struct next next;

__attribute__((constructor)) void resolve(void)
{
#define RESOLVE(name) \
	(next.name = (__typeof__(next.name))dlsym(RTLD_NEXT, #name))
	RESOLVE(ioctl);
	RESOLVE(eventfd);
	RESOLVE(eventfd_read);
	RESOLVE(eventfd_write);
	RESOLVE(read);
	RESOLVE(write);
	RESOLVE(pread);
	RESOLVE(pwrite);
	RESOLVE(readv);
	RESOLVE(writev);
	RESOLVE(preadv);
	RESOLVE(pwritev);
	RESOLVE(preadv2);
	RESOLVE(pwritev2);
	RESOLVE(close);
	RESOLVE(close_range);
	RESOLVE(closefrom);
	RESOLVE(fcntl);
	RESOLVE(dup);
	RESOLVE(dup2);
	RESOLVE(dup3);
	RESOLVE(open);
	RESOLVE(openat);
	RESOLVE(poll);
	RESOLVE(ppoll);
	RESOLVE(recvmsg);
	RESOLVE(mmap);
	RESOLVE(__read_chk);
	RESOLVE(__pread_chk);
	RESOLVE(__poll_chk);
	RESOLVE(__ppoll_chk);
	RESOLVE(__open_2);
	RESOLVE(__openat_2);
}

/* The calls that open, close and map files */

/* Written first: afterwards the number may be another thread's new file. */
EXPORT int close(int fd)
{
	int error = errno;
	int ret;

	if (!tape_is_open())
		return NEXT(close)(fd);
	record_close(fd);
	errno = error;
	file_forget(fd);
	ret = NEXT(close)(fd);
	file_forget(fd);
	return ret;
}

/*
 * Not recorded: only names of files are forgotten. A libc before glibc 2.34 has
 * neither.
 */
EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	int ret;

	file_forget_from(first, last);
	ret = NEXT(close_range) ?
		      next.close_range(first, last, flags) :
		      (int)syscall(SYS_close_range, first, last, flags);
	file_forget_from(first, last);
	return ret;
}

EXPORT void closefrom(int first)
{
	unsigned int from = first < 0 ? 0 : (unsigned int)first;

	file_forget_from(from, UINT_MAX);
	if (NEXT(closefrom))
		next.closefrom(first);
	else
		syscall(SYS_close_range, from, UINT_MAX, 0);
	file_forget_from(from, UINT_MAX);
}

EXPORT int fcntl(int fd, int command, ...)
{
	unsigned long argument;
	va_list more;
	int ret, error;

	va_start(more, command);
	argument = va_arg(more, unsigned long);
	va_end(more);
	ret = NEXT(fcntl)(fd, command, argument);
	error = errno;
	if (tape_is_open() &&
	    (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) {
		file_forget(ret);
		record_fcntl(fd, command, (int)argument, ret, error);
		errno = error;
	}
	return ret;
}

ALIAS(fcntl) int fcntl64(int fd, int command, ...);

static int duplicated(const char *call, int from, int to, int flags, int fd)
{
	int error = errno;

	if (tape_is_open())
		record_dup(call, from, to, flags, fd, error);
	errno = error;
	return fd;
}

EXPORT int dup(int from)
{
	int fd = NEXT(dup)(from);

	file_forget(fd);
	return duplicated("dup", from, 0, 0, fd);
}

EXPORT int dup2(int from, int to)
{
	int fd;

	file_forget(to);
	fd = NEXT(dup2)(from, to);
	file_forget(to);
	return duplicated("dup2", from, to, 0, fd);
}

EXPORT int dup3(int from, int to, int flags)
{
	int fd;

	file_forget(to);
	fd = NEXT(dup3)(from, to, flags);
	file_forget(to);
	return duplicated("dup3", from, to, flags, fd);
}

static int opened(const char *call, const char *path, int flags, int fd)
{
	int error = errno;

	if (!tape_is_open())
		return fd;
	file_forget(fd);
	record_open(call, (uintptr_t)path, flags, fd, error);
	errno = error;
	return fd;
}

static mode_t mode_in(int flags, va_list more)
{
	return flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ?
		       va_arg(more, mode_t) :
		       0;
}

EXPORT int open(const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = mode_in(flags, more);
	va_end(more);
	return opened("open", path, flags, NEXT(open)(path, flags, mode));
}

EXPORT int openat(int directory, const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = mode_in(flags, more);
	va_end(more);
	return opened("openat", path, flags,
		      NEXT(openat)(directory, path, flags, mode));
}

ALIAS(open) int open64(const char *path, int flags, ...);
ALIAS(openat) int openat64(int directory, const char *path, int flags, ...);

/* Of fortified programs: a file that is made needs a mode. */
EXPORT int __open_2(const char *path, int flags)
{
	return opened("open", path, flags, NEXT(__open_2)(path, flags));
}

EXPORT int __openat_2(int directory, const char *path, int flags)
{
	return opened("openat", path, flags,
		      NEXT(__openat_2)(directory, path, flags));
}

ALIAS(__open_2) int __open64_2(const char *path, int flags);
ALIAS(__openat_2)
int __openat64_2(int directory, const char *path, int flags);

/* Not recorded: descriptors that came get their names by their first call. */
EXPORT ssize_t recvmsg(int socket, struct msghdr *message, int flags)
{
	ssize_t ret = NEXT(recvmsg)(socket, message, flags);
	struct cmsghdr *part;
	int fd;

	if (ret < 0 || !tape_is_open())
		return ret;
	for (part = CMSG_FIRSTHDR(message); part;
	     part = CMSG_NXTHDR(message, part))
		if (part->cmsg_level == SOL_SOCKET &&
		    part->cmsg_type == SCM_RIGHTS)
			for (size_t at = CMSG_LEN(0);
			     at + sizeof(fd) <= part->cmsg_len;
			     at += sizeof(fd)) {
				memcpy(&fd, (char *)part + at, sizeof(fd));
				file_forget(fd);
			}
	return ret;
}

EXPORT void *mmap(void *wish, size_t length, int protection, int flags, int fd,
		  off_t offset)
{
	void *ret = NEXT(mmap)(wish, length, protection, flags, fd, offset);
	int error = errno;

	if (tape_is_open() && fd >= 0)
		record_mmap(fd, length, flags, offset,
			    ret == MAP_FAILED ? -1 : 0, error);
	errno = error;
	return ret;
}

ALIAS(mmap)
void *mmap64(void *wish, size_t length, int protection, int flags, int fd,
	     off64_t offset);

/* Calls on files */

EXPORT int eventfd(unsigned int count, int flags)
{
	int fd = NEXT(eventfd)(count, flags);
	int error = errno;

	if (!tape_is_open())
		return fd;
	file_forget(fd);
	record_eventfd(count, flags, fd, error);
	errno = error;
	return fd;
}

static int ioctl_recorded(int fd, const struct file *file,
			  unsigned long request, uintptr_t argument, int error)
{
	struct ioctl_call call;
	int ret;

	if (!ioctl_before(&call, fd, file, request, argument)) {
		errno = error;
		return NEXT(ioctl)(fd, request, argument);
	}
	errno = error;
	ret = NEXT(ioctl)(fd, request, argument);
	error = errno;
	if (ret > 0 && file_is_other(ret)) /* it may be a new file */
		file_forget(ret);
	ioctl_after(&call, ret, error);
	errno = error;
	return ret;
}

EXPORT int ioctl(int fd, unsigned long wide, ...)
{
	unsigned long request = wide & 0xffffffff;
	bool known = _IOC_TYPE(request) == KVMIO || is_vfio(request);
	int error = errno;
	uintptr_t argument;
	struct file file;
	va_list more;

	va_start(more, wide);
	argument = va_arg(more, uintptr_t);
	va_end(more);
	if (tape_is_open() && (known || !file_is_other(fd))) {
		file_of(fd, &file);
		if (known || is_ours(&file))
			return ioctl_recorded(fd, &file, request, argument,
					      error);
		errno = error;
	}
	return NEXT(ioctl)(fd, wide, argument);
}

static bool is_passed(const struct pollfd *fds, nfds_t count)
{
	for (nfds_t i = 0; i < count; i++)
		if (!poll_ignores(fds[i].fd))
			return false;
	return true;
}

static int done(const char *call, const struct pollfd *fds, nfds_t count,
		long timeout, int result)
{
	int error = errno;

	if (tape_is_open() && (result < 0 || !is_passed(fds, count))) {
		record_poll(call, (uintptr_t)fds, count, timeout, result,
			    error);
		errno = error;
	}
	return result;
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count,
		 const struct timespec *timeout, const sigset_t *signals)
{
	long time = timeout ? poll_nanoseconds(timeout) : -1;
	int ret = NEXT(ppoll)(fds, count, timeout, signals);

	return done("ppoll", fds, count, time, ret);
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int ret = NEXT(poll)(fds, count, timeout);

	return done("poll", fds, count, timeout < 0 ? -1 : timeout * 1000000L,
		    ret);
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout,
		      size_t room)
{
	if (room / sizeof(*fds) < count)
		return NEXT(__poll_chk)(fds, count, timeout, room);
	return poll(fds, count, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count,
		       const struct timespec *timeout, const sigset_t *signals,
		       size_t room)
{
	if (room / sizeof(*fds) < count)
		return NEXT(__ppoll_chk)(fds, count, timeout, signals, room);
	return ppoll(fds, count, timeout, signals);
}
