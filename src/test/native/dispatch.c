/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.kernel.DispatchBench: how a C program waits
 * for many eventfds in epoll, level-triggered with a read of each, or
 * edge-triggered without.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <jni.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
#define NANOS 1000000000LL

/* As in DispatchBench. */
enum mode { LEVEL, EDGE };

struct event {
	int fd;
	void (*handler)(struct event *event, uint64_t count);
	uint64_t calls;
};

struct loop {
	int set;
	enum mode mode;
	jint count;
	jint next;
	struct event *events;
};

static void handle(struct event *event, uint64_t count)
{
	event->calls += count != 0;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NANOS + time.tv_nsec;
}

/* A loop of so many eventfds; 0 if one of them cannot be had. */
JNIEXPORT jlong JNICALL Java_io_kvmirq_kernel_DispatchBench_openInC(
	JNIEnv *env __attribute__((unused)),
	jclass class __attribute__((unused)), jint count, jint mode)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return 0;
	loop->mode = (enum mode)mode;
	loop->set = epoll_create1(EPOLL_CLOEXEC);
	loop->count = count;
	loop->events = calloc((size_t)count, sizeof(*loop->events));
	for (jint i = 0; loop->events && i < count; i++) {
		struct event *event = &loop->events[i];
		struct epoll_event entry = {
			.events = EPOLLIN | (loop->mode == EDGE ? EPOLLET : 0u),
			.data.ptr = event,
		};

		event->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		event->handler = handle;
		if (epoll_ctl(loop->set, EPOLL_CTL_ADD, event->fd, &entry) < 0)
			return 0;
	}
	return loop->events ? (jlong)(intptr_t)loop : 0;
}

static int dispatch(struct loop *loop)
{
	struct epoll_event ready[BATCH];
	int count = epoll_wait(loop->set, ready, BATCH, -1);

	for (int i = 0; i < count; i++) {
		struct event *event = ready[i].data.ptr;
		uint64_t signals = 1;

		if (loop->mode == LEVEL && read(event->fd, &signals, sizeof(signals)) !=
				   (ssize_t)sizeof(signals))
			return -1;
		event->handler(event, signals);
	}
	return count;
}

/*
 * Signals so many eventfds, then waits for and handles them, so many times.
 * Returns the nanoseconds of the second part alone; negative for a failure.
 */
JNIEXPORT jlong JNICALL Java_io_kvmirq_kernel_DispatchBench_dispatchInC(
	JNIEnv *env __attribute__((unused)),
	jclass class __attribute__((unused)), jlong address, jint signalled,
	jint times)
{
	struct loop *loop = (struct loop *)(intptr_t)address;
	int64_t spent = 0;

	for (jint i = 0; i < times; i++) {
		const uint64_t one = 1;

		for (jint j = 0; j < signalled; j++) {
			int fd = loop->events[loop->next].fd;

			if (write(fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
				return -1;
			loop->next = (loop->next + 1) % loop->count;
		}
		int64_t start = now();
		for (jint left = signalled; left > 0;) {
			int handled = dispatch(loop);

			if (handled <= 0)
				return -1;
			left -= handled;
		}
		spent += now() - start;
	}
	return spent;
}
