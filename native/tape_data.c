/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that the program reads from a file of the tape or writes to it. Those
 * of several buffers are one piece, as a file that takes all at once sees
 * them. The checked functions are what a fortified program calls.
 */
#include "tape_calls.h"

#include <errno.h>
#include <limits.h>

#define MAX_DATA 16384
#define FEW 128 /* bytes of data that the stack holds */

enum function {
	READ,
	PREAD,
	READV,
	PREADV,
	PREADV2,
	EVENTFD_READ,
	WRITE, /* from here on the kernel reads */
	PWRITE,
	WRITEV,
	PWRITEV,
	PWRITEV2,
	EVENTFD_WRITE,
};

static const char *const names[] = {
	[READ] = "read",
	[PREAD] = "pread",
	[READV] = "readv",
	[PREADV] = "preadv",
	[PREADV2] = "preadv2",
	[EVENTFD_READ] = "eventfd_read",
	[WRITE] = "write",
	[PWRITE] = "pwrite",
	[WRITEV] = "writev",
	[PWRITEV] = "pwritev",
	[PWRITEV2] = "pwritev2",
	[EVENTFD_WRITE] = "eventfd_write",
};

struct transfer {
	enum function function;
	int fd;
	bool several; /* buffers; else one */
	struct iovec one;
	const struct iovec *vectors; /* the program's, not looked at yet */
	int count;
	off_t offset;
	int flags;
};

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

/* What is kept of a transfer, and room for its line. */
struct kept {
	struct room room;
	bool cut;
	bool known; /* the program has such memory */
	unsigned char few[SMALL_ROOM(FEW)];
};

static void kept_make(struct kept *kept, size_t size)
{
	kept->cut = size > MAX_DATA;
	if (!room_make(&kept->room, kept->few, sizeof(kept->few),
		       kept->cut ? MAX_DATA : size))
		kept->cut = true;
}

static bool vector_at(const struct transfer *transfer, int at,
		      struct iovec *vector)
{
	if (!transfer->several) {
		*vector = transfer->one;
		return true;
	}
	return copy(vector,
		    (uintptr_t)transfer->vectors + (size_t)at * sizeof(*vector),
		    sizeof(*vector));
}

/* The bytes of all buffers together, as far as they can be known. */
static size_t length_of(const struct transfer *transfer)
{
	struct iovec vector;
	size_t sum = 0;

	for (int i = 0; i < transfer->count && i < IOV_MAX; i++)
		if (!vector_at(transfer, i, &vector) ||
		    __builtin_add_overflow(sum, vector.iov_len, &sum))
			break;
	return sum;
}

static void keep(struct kept *kept, const struct transfer *transfer)
{
	const struct room *room = &kept->room;
	struct iovec vector;
	size_t done = 0;

	kept->known = false;
	for (int i = 0; i < transfer->count && done < room->size; i++) {
		size_t part = room->size - done;

		if (!vector_at(transfer, i, &vector))
			return;
		if (vector.iov_len < part)
			part = vector.iov_len;
		if (!copy(room->bytes + done, (uintptr_t)vector.iov_base, part))
			return;
		done += part;
	}
	kept->known = room->size && done == room->size;
}

static void put_transfer(const struct transfer *transfer,
			 const struct kept *kept, size_t length,
			 const struct file *file, ssize_t result, int error)
{
	enum function function = transfer->function;
	const struct room *room = &kept->room;
	struct line line;

	begin(&line, room->line, room->line_size, names[function],
	      transfer->fd, file->name);
	put_field(&line, "value", (long long)length);
	if (function == PREADV2 || function == PWRITEV2) {
		put_field(&line, "flags", transfer->flags);
		put_field(&line, "offset", transfer->offset);
	} else if (transfer->offset) {
		put_field(&line, "flags", transfer->offset);
	}
	if (kept->known)
		put_bytes(&line, function < WRITE ? "out" : "in", true,
			  room->bytes, room->size);
	if (kept->known && kept->cut)
		put(&line, ",\"cut\":true");
	end(&line, result, error);
	tape_append(&line);
}

/* What a read has put into the program's memory. */
static size_t taken(const struct transfer *transfer, ssize_t result)
{
	if (transfer->function == EVENTFD_READ)
		return result ? 0 : sizeof(eventfd_t);
	return result > 0 ? (size_t)result : 0;
}

/*
 * Memory that is written is looked at before the call: once it is written,
 * another thread may use it again.
 */
static __attribute__((noinline)) ssize_t recorded(
	const struct transfer *transfer, const struct file *file, int error)
{
	bool reads = transfer->function < WRITE;
	size_t length = length_of(transfer);
	struct kept kept;
	ssize_t ret;

	if (!reads) {
		kept_make(&kept, length);
		keep(&kept, transfer);
	}
	errno = error;
	ret = make(transfer);
	error = errno;
	if (reads) {
		kept_make(&kept, taken(transfer, ret));
		keep(&kept, transfer);
	}
	put_transfer(transfer, &kept, length, file, ret, error);
	room_leave(&kept.room);
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
