/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkvmirqtape.so, an LD_PRELOAD recorder: one line of JSON for each call
 * that a program makes on KVM, VFIO, iommufd and eventfds, into $KVMIRQ_TAPE
 * (a file, or the number of an open descriptor).
 *
 * A call is passed on unchanged, errno included. The program's memory is read
 * by process_vm_readv(), so that a bad pointer is recorded as null and fails
 * where it would have failed. Lines are made on the stack (in a mapping when
 * large) and appended by one write(): no lock, no malloc, good in threads,
 * children and signal handlers, but not on an alternate stack with less than
 * about 8 KB left. Lines have the bytes of structures, addresses of the program
 * included: the reader in Java makes these zero and names descriptors. What
 * addresses point to is not recorded, except what $KVMIRQ_TAPE_LENGTHS asks for.
 *
 * What is seen are calls through the C library's functions named below. Not
 * seen: raw system calls, and so statically linked programs (Go); calls within
 * the C library, so eventfd_read() and eventfd_write(); the checked variants
 * of a fortified program, as __read_chk(); poll(), readv(), writev(), and
 * close_range(). Without /proc, as in a chroot, only ioctls of KVM and VFIO,
 * eventfd() and opens that fail are seen, and ppoll() of anything. A seccomp
 * filter that does not allow what recording calls (process_vm_readv, readlink)
 * makes lines incomplete, or kills the program.
 *
 * What recording itself calls goes by syscall(), past the functions below.
 */
#include "tape.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) EXPORT __attribute__((alias(#name)))

#define MAX_POLLFDS 16
#define SMALL 1024 /* bytes of an argument that the stack holds */

/* The functions behind ours */

static struct {
	__typeof__(&ioctl) ioctl;
	__typeof__(&eventfd) eventfd;
	__typeof__(&read) read;
	__typeof__(&write) write;
	__typeof__(&preadv2) preadv2;
	__typeof__(&close) close;
	__typeof__(&fcntl) fcntl;
	__typeof__(&dup) dup;
	__typeof__(&dup2) dup2;
	__typeof__(&dup3) dup3;
	__typeof__(&open) open;
	__typeof__(&openat) openat;
	__typeof__(&ppoll) ppoll;
	__typeof__(&mmap) mmap;
} next;

__attribute__((constructor)) static void resolve(void)
{
#define RESOLVE(name) \
	(next.name = (__typeof__(next.name))dlsym(RTLD_NEXT, #name))
	RESOLVE(ioctl);
	RESOLVE(eventfd);
	RESOLVE(read);
	RESOLVE(write);
	RESOLVE(preadv2);
	RESOLVE(close);
	RESOLVE(fcntl);
	RESOLVE(dup);
	RESOLVE(dup2);
	RESOLVE(dup3);
	RESOLVE(open);
	RESOLVE(openat);
	RESOLVE(ppoll);
	RESOLVE(mmap);
}

/* Resolved by our constructor, unless another library's ran first and calls. */
#define NEXT(name) (next.name ? next.name : (resolve(), next.name))

/* Room for an argument before and after the call, and for the line. */
struct room {
	size_t size;
	unsigned char *before;
	unsigned char *after;
	char *line;
	size_t line_size;
	void *mapping;
	size_t mapping_size;
	unsigned char small[SMALL * 6 + LINE_ROOM];
};

static bool room_make(struct room *room, size_t size)
{
	size_t line_size = size * 4 + LINE_ROOM;
	unsigned char *start = room->small;

	room->mapping = NULL;
	if (size > SMALL) {
		room->mapping_size = size * 2 + line_size;
		start = (unsigned char *)syscall(
			SYS_mmap, NULL, room->mapping_size,
			PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			0L);
		if ((void *)start == MAP_FAILED)
			return false;
		room->mapping = start;
	}
	room->size = size;
	room->before = start;
	room->after = start + size;
	room->line = (char *)start + size * 2;
	room->line_size = line_size;
	return true;
}

static void room_leave(struct room *room)
{
	if (room->mapping)
		syscall(SYS_munmap, room->mapping, room->mapping_size);
}

static int ioctl_recorded(int fd, unsigned long request, uintptr_t argument,
			  const struct file *file, int error)
{
	bool cut, readable, written;
	size_t size = argument_size(request, argument, &cut);
	struct room room;
	struct line line;
	int ret;

	if (!room_make(&room, size)) {
		errno = error;
		return NEXT(ioctl)(fd, request, argument);
	}
	readable = copy(room.before, argument, size);
	begin(&line, room.line, room.line_size, "ioctl", fd, file->name);
	put_field(&line, "request", (long long)request);
	put_field(&line, "value", (long long)argument);
	if (cut)
		put_true(&line, "cut");
	if (size) {
		put_bytes(&line, "in", readable, room.before, size);
		put_pointee(&line, request, argument);
	}
	errno = error;
	ret = NEXT(ioctl)(fd, request, argument);
	error = errno;
	written = size && (_IOC_DIR(request) & _IOC_READ || is_vfio(request)) &&
		  copy(room.after, argument, size);
	if (written && (!readable || memcmp(room.before, room.after, size)))
		put_bytes(&line, "out", true, room.after, size);
	end(&line, ret, error);
	room_leave(&room);
	errno = error;
	return ret;
}

/* The calls */

EXPORT int ioctl(int fd, unsigned long wide, ...)
{
	unsigned long request = wide & 0xffffffff;
	int error = errno;
	uintptr_t argument;
	struct file file;
	va_list more;

	va_start(more, wide);
	argument = va_arg(more, uintptr_t);
	va_end(more);
	if (tape_is_open()) {
		file_of(fd, &file);
		if (is_ours(&file) || _IOC_TYPE(request) == KVMIO ||
		    is_vfio(request))
			return ioctl_recorded(fd, request, argument, &file,
					      error);
		errno = error;
	}
	return NEXT(ioctl)(fd, wide, argument);
}

/* A finished call without an argument in memory, or with a small one. */
struct simple {
	const char *call;
	int fd;
	const char *file;
	const char *keys[3];
	long long values[3];
	const char *bytes_key;
	const void *bytes; /* ours, not the program's */
	size_t size;
};

static void record(const struct simple *done, long long result)
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
	errno = error;
}

static bool eventfd_at(int fd, struct file *file)
{
	int error = errno;

	if (!tape_is_open())
		return false;
	file_of(fd, file);
	errno = error;
	return is_eventfd(file);
}

static bool count_at(uint64_t *count, uintptr_t at, size_t length)
{
	int error = errno;
	bool readable = length >= sizeof(*count) &&
			copy(count, at, sizeof(*count));

	errno = error;
	return readable;
}

/* The count is NULL where there was none to read. */
static void record_count(const char *call, int fd, const struct file *file,
			 const char *key, const uint64_t *count, size_t length,
			 ssize_t result)
{
	struct simple done = { .call = call,
			       .fd = fd,
			       .file = file->name,
			       .keys = { "value" },
			       .values = { (long long)length } };

	if (count) {
		done.bytes_key = key;
		done.bytes = count;
		done.size = sizeof(*count);
	}
	record(&done, result);
}

static void record_taken(const char *call, int fd, const struct file *file,
			 uintptr_t to, size_t length, ssize_t result)
{
	uint64_t count;
	bool known = result == sizeof(count) && count_at(&count, to, length);

	record_count(call, fd, file, "out", known ? &count : NULL, length,
		     result);
}

EXPORT int eventfd(unsigned int count, int flags)
{
	int fd = NEXT(eventfd)(count, flags);

	if (tape_is_open())
		record(&(struct simple){ .call = "eventfd",
					 .fd = -1,
					 .file = "",
					 .keys = { "value", "flags" },
					 .values = { count, flags } },
		       fd);
	return fd;
}

EXPORT ssize_t read(int fd, void *to, size_t length)
{
	struct file file;
	bool wanted = eventfd_at(fd, &file);
	ssize_t ret = NEXT(read)(fd, to, length);

	if (wanted)
		record_taken("read", fd, &file, (uintptr_t)to, length, ret);
	return ret;
}

/* Read first: once it is written, another thread may use the memory again. */
EXPORT ssize_t write(int fd, const void *from, size_t length)
{
	struct file file;
	uint64_t count;
	bool wanted = eventfd_at(fd, &file);
	bool known = wanted && count_at(&count, (uintptr_t)from, length);
	ssize_t ret = NEXT(write)(fd, from, length);

	if (wanted)
		record_count("write", fd, &file, "in", known ? &count : NULL,
			     length, ret);
	return ret;
}

EXPORT ssize_t preadv2(int fd, const struct iovec *vectors, int count,
		       off_t offset, int flags)
{
	struct file file;
	bool wanted = eventfd_at(fd, &file);
	ssize_t ret = NEXT(preadv2)(fd, vectors, count, offset, flags);
	struct iovec first = { 0 };
	int error = errno;

	if (wanted) {
		copy(&first, (uintptr_t)vectors, sizeof(first));
		errno = error;
		record_taken("preadv2", fd, &file, (uintptr_t)first.iov_base,
			     first.iov_len, ret);
	}
	return ret;
}

ALIAS(preadv2)
ssize_t preadv64v2(int fd, const struct iovec *vectors, int count,
		   off64_t offset, int flags);

/* Written first: afterwards the number may be another thread's new file. */
EXPORT int close(int fd)
{
	struct file file;
	int error = errno;

	if (tape_is_open()) {
		file_of(fd, &file);
		if (is_ours(&file) || is_eventfd(&file))
			record(&(struct simple){ .call = "close",
						 .fd = fd,
						 .file = file.name },
			       0);
		errno = error;
	}
	return NEXT(close)(fd);
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
	return duplicated("dup", from, 0, 0, NEXT(dup)(from));
}

EXPORT int dup2(int from, int to)
{
	return duplicated("dup2", from, to, 0, NEXT(dup2)(from, to));
}

EXPORT int dup3(int from, int to, int flags)
{
	return duplicated("dup3", from, to, flags, NEXT(dup3)(from, to, flags));
}

static int opened(const char *call, const char *path, int flags, int fd)
{
	struct file file = { "" };
	int error = errno;

	if (!tape_is_open())
		return fd;
	if (fd >= 0)
		file_of(fd, &file);
	else if (copy(file.name, (uintptr_t)path, 5) &&
		 starts(file.name, "/dev/"))
		/* By character: what follows a short name may be unreadable. */
		for (size_t i = 5; i < 64 && file.name[i - 1]; i++)
			if (!copy(&file.name[i], (uintptr_t)path + i, 1))
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

/* Which pollfds to record: a few, of eventfds or of nothing open. */
static size_t pollfds(struct pollfd *to, const struct pollfd *from,
		      nfds_t count)
{
	struct file file;
	size_t size = count * sizeof(*from);

	if (!tape_is_open() || !count || count > MAX_POLLFDS ||
	    !copy(to, (uintptr_t)from, size))
		return 0;
	for (nfds_t i = 0; i < count; i++) {
		file_of(to[i].fd, &file);
		if (*file.name && !is_eventfd(&file))
			return 0;
	}
	return size;
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count,
		 const struct timespec *timeout, const sigset_t *signals)
{
	struct pollfd before[MAX_POLLFDS], after[MAX_POLLFDS];
	char room[LINE_ROOM + sizeof(before) * 4];
	struct timespec time = { 0 };
	struct line line;
	int error = errno;
	size_t size = pollfds(before, fds, count);
	int ret;

	if (size && timeout)
		copy(&time, (uintptr_t)timeout, sizeof(time));
	errno = error;
	ret = NEXT(ppoll)(fds, count, timeout, signals);
	error = errno;
	if (size) {
		begin(&line, room, sizeof(room), "ppoll", before[0].fd, "");
		put_field(&line, "value",
			  timeout ? time.tv_sec * 1000000000L + time.tv_nsec :
				    -1);
		put_bytes(&line, "in", true, (unsigned char *)before, size);
		put_bytes(&line, "out", copy(after, (uintptr_t)fds, size),
			  (unsigned char *)after, size);
		end(&line, ret, error);
		errno = error;
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
