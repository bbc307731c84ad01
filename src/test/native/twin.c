/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.selftest.SelftestBench: a round trip of the
 * edge scenario in C, in the same process and on the same eventfds.
 *
 * The system calls are those that libkvmirq makes for EventFd.signal, await
 * and drain.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <jni.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_SECONDS 5

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

/*
 * As EventFd does it: write, ppoll on the answer and a wake fd, read. Returns
 * how many answers there were, or -errno.
 */
JNIEXPORT jint JNICALL Java_io_kvmirq_selftest_SelftestBench_tripInC(
	JNIEnv *env __attribute__((unused)),
	jclass class __attribute__((unused)), jint interrupt, jint answer,
	jint wake)
{
	uint64_t count = 0;
	int ret = signal_event(interrupt);

	if (ret == 0)
		ret = await_event(answer, wake);
	if (ret == 0)
		ret = drain_event(answer, &count);
	return ret < 0 ? ret : (jint)count;
}
