/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions that read and write files. The checked ones are what a
 * fortified program calls.
 */
#include "tape_calls.h"
#include "tape_record.h"

#include <errno.h>

static ssize_t make(const struct transfer *transfer)
{
	const struct iovec *vectors = transfer->vectors;
	void *base = transfer->one.iov_base;
	size_t length = transfer->one.iov_len;
	off_t offset = transfer->offset;
	int fd = transfer->fd, count = transfer->count;

	switch (transfer->function) {
	case READ:
		return NEXT(read)(fd, base, length);
	case PREAD:
		return NEXT(pread)(fd, base, length, offset);
	case READV:
		return NEXT(readv)(fd, vectors, count);
	case PREADV:
		return NEXT(preadv)(fd, vectors, count, offset);
	case PREADV2:
		return NEXT(preadv2)(fd, vectors, count, offset,
				     transfer->flags);
	case EVENTFD_READ:
		return NEXT(eventfd_read)(fd, base);
	case WRITE:
		return NEXT(write)(fd, base, length);
	case PWRITE:
		return NEXT(pwrite)(fd, base, length, offset);
	case WRITEV:
		return NEXT(writev)(fd, vectors, count);
	case PWRITEV:
		return NEXT(pwritev)(fd, vectors, count, offset);
	case PWRITEV2:
		return NEXT(pwritev2)(fd, vectors, count, offset,
				      transfer->flags);
	default:
		return NEXT(eventfd_write)(fd, *(const eventfd_t *)base);
	}
}

static __attribute__((noinline)) ssize_t recorded(
	const struct transfer *transfer, const struct file *file, int error)
{
	struct kept kept;
	ssize_t ret;

	transfer_before(transfer, &kept);
	errno = error;
	ret = make(transfer);
	error = errno;
	transfer_after(transfer, &kept, file, ret, error);
	errno = error;
	return ret;
}

static __attribute__((noinline)) ssize_t followed(
	const struct transfer *transfer)
{
	struct file file;
	int error = errno;

	file_of(transfer->fd, &file);
	if (is_eventfd(&file) || is_ours(&file))
		return recorded(transfer, &file, error);
	errno = error;
	return make(transfer);
}

static bool passes(int fd)
{
	return !tape_is_open() || file_is_other(fd);
}

/* Of one buffer */

static ssize_t of_one(enum function function, int fd, void *base,
		      size_t length, off_t offset)
{
	struct transfer transfer = { .function = function,
				     .fd = fd,
				     .one = { base, length },
				     .count = 1,
				     .offset = offset };

	return passes(fd) ? make(&transfer) : followed(&transfer);
}

EXPORT ssize_t read(int fd, void *to, size_t length)
{
	return of_one(READ, fd, to, length, 0);
}

EXPORT ssize_t write(int fd, const void *from, size_t length)
{
	return of_one(WRITE, fd, (void *)from, length, 0);
}

EXPORT ssize_t pread(int fd, void *to, size_t length, off_t offset)
{
	return of_one(PREAD, fd, to, length, offset);
}

EXPORT ssize_t pwrite(int fd, const void *from, size_t length, off_t offset)
{
	return of_one(PWRITE, fd, (void *)from, length, offset);
}

EXPORT int eventfd_read(int fd, eventfd_t *count)
{
	return (int)of_one(EVENTFD_READ, fd, count, sizeof(*count), 0);
}

EXPORT int eventfd_write(int fd, eventfd_t count)
{
	return (int)of_one(EVENTFD_WRITE, fd, &count, sizeof(count), 0);
}

ALIAS(pread) ssize_t pread64(int fd, void *to, size_t length, off64_t offset);
ALIAS(pwrite)
ssize_t pwrite64(int fd, const void *from, size_t length, off64_t offset);

/* A length beyond the room ends the program, as its libc would. */
EXPORT ssize_t __read_chk(int fd, void *to, size_t length, size_t room)
{
	if (length > room)
		return NEXT(__read_chk)(fd, to, length, room);
	return read(fd, to, length);
}

EXPORT ssize_t __pread_chk(int fd, void *to, size_t length, off_t offset,
			   size_t room)
{
	if (length > room)
		return NEXT(__pread_chk)(fd, to, length, offset, room);
	return pread(fd, to, length, offset);
}

ALIAS(__pread_chk)
ssize_t __pread64_chk(int fd, void *to, size_t length, off64_t offset,
		      size_t room);

/* Of several buffers */

static ssize_t of_several(enum function function, int fd,
			  const struct iovec *vectors, int count, off_t offset,
			  int flags)
{
	struct transfer transfer = { .function = function,
				     .fd = fd,
				     .several = true,
				     .vectors = vectors,
				     .count = count,
				     .offset = offset,
				     .flags = flags };

	return passes(fd) ? make(&transfer) : followed(&transfer);
}

EXPORT ssize_t readv(int fd, const struct iovec *vectors, int count)
{
	return of_several(READV, fd, vectors, count, 0, 0);
}

EXPORT ssize_t writev(int fd, const struct iovec *vectors, int count)
{
	return of_several(WRITEV, fd, vectors, count, 0, 0);
}

EXPORT ssize_t preadv(int fd, const struct iovec *vectors, int count,
		      off_t offset)
{
	return of_several(PREADV, fd, vectors, count, offset, 0);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *vectors, int count,
		       off_t offset)
{
	return of_several(PWRITEV, fd, vectors, count, offset, 0);
}

EXPORT ssize_t preadv2(int fd, const struct iovec *vectors, int count,
		       off_t offset, int flags)
{
	return of_several(PREADV2, fd, vectors, count, offset, flags);
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *vectors, int count,
			off_t offset, int flags)
{
	return of_several(PWRITEV2, fd, vectors, count, offset, flags);
}

ALIAS(preadv)
ssize_t preadv64(int fd, const struct iovec *vectors, int count,
		 off64_t offset);
ALIAS(pwritev)
ssize_t pwritev64(int fd, const struct iovec *vectors, int count,
		  off64_t offset);
ALIAS(preadv2)
ssize_t preadv64v2(int fd, const struct iovec *vectors, int count,
		   off64_t offset, int flags);
ALIAS(pwritev2)
ssize_t pwritev64v2(int fd, const struct iovec *vectors, int count,
		    off64_t offset, int flags);
