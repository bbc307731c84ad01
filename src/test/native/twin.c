/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.selftest.SelftestBench: the loop of the edge
 * scenario in C, in the same process and on the same eventfds.
 *
 * The system calls are those that libkvmirq makes for EventFd.signal, await
 * and drain. Each function does count round trips, writes the nanoseconds of
 * each to nanos and returns how many were answered, or -errno.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <jni.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "half.h"

#define PATIENCE_SECONDS 5

#define TWIN(name) \
	JNIEXPORT jlong JNICALL Java_io_kvmirq_selftest_SelftestBench_##name

static int signal_event(int fd)
{
	uint64_t one = 1;

	return write(fd, &one, sizeof(one)) < 0 ? -errno : 0;
}

static int await_event(int fd, int wake)
{
	struct timespec timeout = { .tv_sec = PATIENCE_SECONDS };
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = wake, .events = POLLIN },
	};
	int ready = ppoll(fds, 2, &timeout, NULL);

	if (ready < 0)
		return -errno;
	return fds[0].revents & POLLIN ? 0 : -ETIMEDOUT;
}

static int drain_event(int fd, uint64_t *count)
{
	return read(fd, count, sizeof(*count)) < 0 ? -errno : 0;
}

static int waiting_trip(int interrupt, int answer, int wake, uint64_t *count)
{
	int ret = signal_event(interrupt);

	if (ret == 0)
		ret = await_event(answer, wake);
	return ret < 0 ? ret : drain_event(answer, count);
}

static int blocking_trip(int interrupt, int answer, int wake, uint64_t *count)
{
	int ret = signal_event(interrupt);

	(void)wake;
	return ret < 0 ? ret : drain_event(answer, count);
}

typedef int trip(int interrupt, int answer, int wake, uint64_t *count);

static inline int64_t run(trip *once, int interrupt, int answer, int wake,
			  int64_t *nanos, int32_t count)
{
	int64_t answered = 0;

	for (int32_t i = 0; i < count; i++) {
		uint64_t taken = 0;
		int64_t start = now();
		int ret = once(interrupt, answer, wake, &taken);

		nanos[i] = now() - start;
		if (ret < 0)
			return ret;
		answered += (int64_t)taken;
	}
	return answered;
}

/* As EventFd does it: write, ppoll on the answer and a wake fd, read. */
TWIN(waitInC)(JNIEnv *env, jclass class, jint interrupt, jint answer,
	      jint wake, jobject nanos, jint count)
{
	int64_t *to = (*env)->GetDirectBufferAddress(env, nanos);

	(void)class;
	return run(waiting_trip, interrupt, answer, wake, to, count);
}

/* The least there is: write and a read that blocks. */
TWIN(blockInC)(JNIEnv *env, jclass class, jint interrupt, jint answer,
	       jint wake, jobject nanos, jint count)
{
	int64_t *to = (*env)->GetDirectBufferAddress(env, nanos);
	int flags = fcntl(answer, F_GETFL);
	int64_t answered;

	(void)class;
	fcntl(answer, F_SETFL, flags & ~O_NONBLOCK);
	answered = run(blocking_trip, interrupt, answer, wake, to, count);
	fcntl(answer, F_SETFL, flags);
	return answered;
}
