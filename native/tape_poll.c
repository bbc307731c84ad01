/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polls: of the descriptors that a program asks for, those of files of the
 * tape, and of nothing open. The kernel has read the others too, so a poll
 * that they ended may have a result of 0 here.
 */
#include "tape_calls.h"

#include <errno.h>
#include <limits.h>

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

static bool is_nothing(const struct pollfd *one)
{
	return one->fd < 0 || file_is_other(one->fd);
}

static void look(struct polled *polled, const struct pollfd *one)
{
	struct file file;
	bool ours;

	if (is_nothing(one)) {
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

static bool is_passed(const struct pollfd *fds, nfds_t count)
{
	for (nfds_t i = 0; i < count; i++)
		if (!is_nothing(&fds[i]))
			return false;
	return true;
}

static void put_polled(const char *call, const struct polled *polled,
		       long timeout, int result, int error)
{
	char room[LINE_ROOM + sizeof(polled->before) * 4];
	size_t size = polled->count * sizeof(*polled->before);
	struct line line;

	begin(&line, room, sizeof(room), call, polled->before[0].fd, "");
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

/* After the call: the kernel has found the memory readable. */
static __attribute__((noinline)) void recorded(const char *call,
					       const struct pollfd *fds,
					       nfds_t count, long timeout,
					       int result, int error)
{
	struct polled polled;
	struct pollfd refused[MOST];

	polled.count = 0;
	polled.ours = polled.others = polled.cut = false;
	polled.ready = 0;
	if (result < 0) {
		polled.cut = count > MOST;
		count = polled.cut ? MOST : count;
		if (!copy(refused, (uintptr_t)fds, count * sizeof(*fds)))
			return;
		fds = refused;
	}
	for (nfds_t i = 0; i < count; i++)
		look(&polled, &fds[i]);
	if (polled.count && (polled.ours || !polled.others))
		put_polled(call, &polled, timeout, result, error);
}

static int done(const char *call, const struct pollfd *fds, nfds_t count,
		long timeout, int result)
{
	int error = errno;

	if (tape_is_open() && (result < 0 || !is_passed(fds, count))) {
		recorded(call, fds, count, timeout, result, error);
		errno = error;
	}
	return result;
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
	long time = timeout ? nanoseconds(timeout) : -1;
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
