/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that the program reads from a file of the tape or writes to it. Those
 * of several buffers are one piece, as a file that takes all at once sees
 * them.
 */
#include "tape_record.h"

#include <limits.h>
#include <sys/eventfd.h>

#define MAX_DATA 16384

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
			 const struct kept *kept, const struct file *file,
			 ssize_t result, int error)
{
	enum function function = transfer->function;
	const struct room *room = &kept->room;
	struct line line;

	begin(&line, room->line, room->line_size, caller());
	put_call(&line, names[function], transfer->fd, file->name);
	put_field(&line, "value", (long long)kept->length);
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

/* Bytes that a read has put into the program's memory. */
static size_t moved(const struct transfer *transfer, ssize_t result)
{
	if (transfer->function == EVENTFD_READ)
		return result ? 0 : sizeof(eventfd_t);
	return result > 0 ? (size_t)result : 0;
}

/*
 * Memory that is written is looked at before the call: once it is written,
 * another thread may use it again.
 */
void transfer_before(const struct transfer *transfer, struct kept *kept)
{
	kept->length = length_of(transfer);
	if (transfer->function >= WRITE) {
		kept_make(kept, kept->length);
		keep(kept, transfer);
	}
}

void transfer_after(const struct transfer *transfer, struct kept *kept,
		    const struct file *file, ssize_t result, int error)
{
	if (transfer->function < WRITE) {
		kept_make(kept, moved(transfer, result));
		keep(kept, transfer);
	}
	put_transfer(transfer, kept, file, result, error);
	room_leave(&kept->room);
}
