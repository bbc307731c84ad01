/* SPDX-License-Identifier: Apache-2.0 */
#include "tape_calls.h"

#include <errno.h>
#include <limits.h>

#define MAX_POLLFDS 16

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

/* What a number cannot hold is the largest one: so programs wait for ever. */
static long nanoseconds(const struct timespec *time)
{
	long sum;

	if (__builtin_mul_overflow(time->tv_sec, 1000000000L, &sum) ||
	    __builtin_add_overflow(sum, time->tv_nsec, &sum))
		return time->tv_sec < 0 ? LONG_MIN : LONG_MAX;
	return sum;
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
			  timeout ? nanoseconds(&time) : -1);
		put_bytes(&line, "in", true, (unsigned char *)before, size);
		put_bytes(&line, "out", copy(after, (uintptr_t)fds, size),
			  (unsigned char *)after, size);
		end(&line, ret, error);
		tape_append(&line);
		errno = error;
	}
	return ret;
}
