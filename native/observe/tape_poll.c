/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polls: of the descriptors that a program asks for, those of files of the
 * tape, and of nothing open. The kernel has read the others too, so a poll
 * that they ended may have a result of 0 here.
 */
#include "tape_record.h"

#include <limits.h>
#include <poll.h>

#define MOST 64 /* descriptors of one line */

struct polled {
	size_t count;
	bool ours; /* one at least */
	bool others;
	bool cut;
	int ready;
	struct pollfd before[MOST];
	struct pollfd after[MOST];
};

bool poll_ignores(int fd)
{
	return fd < 0 || file_is_other(fd);
}

static void look(struct polled *polled, const struct pollfd *one)
{
	struct file file;
	bool ours;

	if (poll_ignores(one->fd)) {
		polled->others = true;
		return;
	}
	file_of(one->fd, &file);
	ours = is_eventfd(&file) || is_ours(&file);
	if (*file.name && !ours) {
		polled->others = true;
		return;
	}
	polled->ours |= ours;
	polled->ready += one->revents != 0;
	if (polled->count == MOST) {
		polled->cut = true;
		return;
	}
	polled->before[polled->count] =
		(struct pollfd){ .fd = one->fd, .events = one->events };
	polled->after[polled->count++] = *one;
}

static void put_polled(const char *call, const struct polled *polled,
		       long timeout, int result, int error)
{
	char room[LINE_ROOM + sizeof(polled->before) * 4];
	size_t size = polled->count * sizeof(*polled->before);
	struct line line;

	begin(&line, room, sizeof(room), caller());
	put_call(&line, call, polled->before[0].fd, "");
	put_field(&line, "value", timeout);
	put_bytes(&line, "in", true, (const unsigned char *)polled->before,
		  size);
	if (result >= 0)
		put_bytes(&line, "out", true,
			  (const unsigned char *)polled->after, size);
	if (polled->cut)
		put(&line, ",\"cut\":true");
	end(&line, result < 0 ? result : polled->ready, error);
	tape_append(&line);
}

void record_poll(const char *call, uintptr_t fds, unsigned long count,
		 long timeout, int result, int error)
{
	/* The kernel has found the memory of a poll that did not fail good. */
	bool (*get)(void *, uintptr_t, size_t) = result < 0 ? copy : copy_used;
	struct polled polled;
	struct pollfd one;

	polled.count = 0;
	polled.ours = polled.others = polled.cut = false;
	polled.ready = 0;
	if (result < 0 && count > MOST) {
		polled.cut = true;
		count = MOST;
	}
	for (unsigned long i = 0; i < count; i++) {
		if (!get(&one, fds + i * sizeof(one), sizeof(one)))
			return;
		look(&polled, &one);
	}
	if (polled.count && (polled.ours || !polled.others))
		put_polled(call, &polled, timeout, result, error);
}

/* A time beyond a number is the largest one: programs wait for ever by it. */
long poll_nanoseconds(const struct timespec *time)
{
	long sum;

	if (__builtin_mul_overflow(time->tv_sec, 1000000000L, &sum) ||
	    __builtin_add_overflow(sum, time->tv_nsec, &sum))
		return time->tv_sec < 0 ? LONG_MIN : LONG_MAX;
	return sum;
}
