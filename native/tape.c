/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkvmirqtape.so, an LD_PRELOAD recorder: one line of JSON for each call
 * that a program makes on KVM, VFIO, iommufd and eventfds, into $KVMIRQ_TAPE
 * (a file, or the number of an open descriptor).
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
 * What is seen are calls through the C library's functions named in this file
 * and in tape_data.c, tape_eventfd.c, tape_ioctl.c and tape_poll.c. Not seen:
 * raw system calls, and so statically linked programs (Go); calls within the C
 * library; select(), epoll_wait() and close_range(). Without /proc, as in a
 * chroot, only ioctls of KVM and VFIO, eventfd() and opens that fail are seen,
 * and polls of anything. A seccomp filter that does not allow what recording
 * calls (process_vm_readv, readlink, fallocate, mmap, munmap, rt_sigprocmask,
 * rt_sigpending, rt_sigtimedwait) makes lines incomplete, or kills the program.
 *
 * A descriptor keeps its name until close(), dup2(), dup3(), close_range() or
 * closefrom() of this library ends it: after a raw system call, or fclose(),
 * its number may be recorded as the file it was, or not at all.
 *
 * What recording itself calls goes by syscall(), past the functions below.
 */
#include "tape_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
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

void record(const struct simple *done, long long result)
{
	char room[LINE_ROOM + SMALL];
	struct line line;
	int error = errno;

	begin(&line, room, sizeof(room), done->call, done->fd, done->file);
	for (int i = 0; i < 3 && done->keys[i]; i++)
		put_field(&line, done->keys[i], done->values[i]);
	if (done->bytes_key)
		put_bytes(&line, done->bytes_key, true, done->bytes,
			  done->size);
	end(&line, result, error);
	tape_append(&line);
	errno = error;
}

/* The calls that open, close and map files */

/* Written first: afterwards the number may be another thread's new file. */
EXPORT int close(int fd)
{
	struct file file;
	int error = errno;
	int ret;

	if (!tape_is_open())
		return NEXT(close)(fd);
	file_of(fd, &file);
	if (is_ours(&file) || is_eventfd(&file))
		record(&(struct simple){ .call = "close",
					 .fd = fd,
					 .file = file.name },
		       0);
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
	struct file file;
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
		file_of(fd, &file);
		errno = error;
		if (is_ours(&file) || is_eventfd(&file))
			record(&(struct simple){
				       .call = "fcntl",
				       .fd = fd,
				       .file = file.name,
				       .keys = { "request", "value" },
				       .values = { command, (int)argument } },
			       ret);
		errno = error;
	}
	return ret;
}

ALIAS(fcntl) int fcntl64(int fd, int command, ...);

static int duplicated(const char *call, int from, int to, int flags, int fd)
{
	struct file file;
	int error = errno;

	if (!tape_is_open())
		return fd;
	file_of(from, &file);
	errno = error;
	if (is_ours(&file) || is_eventfd(&file))
		record(&(struct simple){ .call = call,
					 .fd = from,
					 .file = file.name,
					 .keys = { "value", "flags" },
					 .values = { to, flags } },
		       fd);
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
	struct file file = { .name = file.room };
	int error = errno;

	if (!tape_is_open())
		return fd;
	file_forget(fd);
	if (fd >= 0)
		file_of(fd, &file);
	else if (copy(file.room, (uintptr_t)path, 5) &&
		 starts(file.room, "/dev/"))
		/* By character: what follows a short name may be unreadable. */
		for (size_t i = 5; i < 64 && file.room[i - 1]; i++)
			if (!copy(&file.room[i], (uintptr_t)path + i, 1))
				break;
	errno = error;
	if (is_node(file.name))
		record(&(struct simple){ .call = call,
					 .fd = -1,
					 .file = file.name,
					 .keys = { "flags" },
					 .values = { flags } },
		       fd);
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

/* Of a vCPU or device; the address is the program's own affair. */
EXPORT void *mmap(void *wish, size_t length, int protection, int flags, int fd,
		  off_t offset)
{
	void *ret = NEXT(mmap)(wish, length, protection, flags, fd, offset);
	struct file file;
	int error = errno;

	if (!tape_is_open() || fd < 0)
		return ret;
	file_of(fd, &file);
	errno = error;
	if (starts(file.name, "anon_inode:kvm-vcpu") || is_vfio_device(&file))
		record(&(struct simple){ .call = "mmap",
					 .fd = fd,
					 .file = file.name,
					 .keys = { "value", "flags", "offset" },
					 .values = { (long long)length, flags,
						     offset } },
		       ret == MAP_FAILED ? -1 : 0);
	return ret;
}

ALIAS(mmap)
void *mmap64(void *wish, size_t length, int protection, int flags, int fd,
	     off64_t offset);
