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
#include <unistd.h>

#define BATCH 256

#define IN_C(type, name) \
	JNIEXPORT type JNICALL Java_io_kvmirq_kernel_DispatchBench_##name##InC
#define ARGS \
	JNIEnv *env __attribute__((unused)), \
		jclass class __attribute__((unused))

struct event {
	int fd;
	void (*handler)(struct event *event, uint64_t count);
	uint64_t calls;
};

struct loop {
	int set;
	jboolean is_edge;
	jint count;
	jint next;
	struct event *events;
};

static void handle(struct event *event, uint64_t count)
{
	event->calls += count != 0;
}

/* A loop of so many eventfds; 0 if one of them cannot be had. */
IN_C(jlong, open)(ARGS, jint count, jboolean is_edge)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return 0;
	loop->is_edge = is_edge;
	loop->set = epoll_create1(EPOLL_CLOEXEC);
	loop->count = count;
	loop->events = calloc((size_t)count, sizeof(*loop->events));
	for (jint i = 0; loop->events && i < count; i++) {
		struct event *event = &loop->events[i];
		struct epoll_event entry = {
			.events = EPOLLIN | (is_edge ? EPOLLET : 0u),
			.data.ptr = event,
		};

		event->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		event->handler = handle;
		if (epoll_ctl(loop->set, EPOLL_CTL_ADD, event->fd, &entry) < 0)
			return 0;
	}
	return loop->events ? (jlong)(intptr_t)loop : 0;
}

/* Returns how many eventfds were signalled. */
IN_C(jint, signal)(ARGS, jlong address, jint count)
{
	struct loop *loop = (struct loop *)(intptr_t)address;
	const uint64_t one = 1;

	for (jint i = 0; i < count; i++) {
		int fd = loop->events[loop->next].fd;

		if (write(fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
			return i;
		loop->next = (loop->next + 1) % loop->count;
	}
	return count;
}

static int dispatch(struct loop *loop)
{
	struct epoll_event ready[BATCH];
	int count = epoll_wait(loop->set, ready, BATCH, -1);

	for (int i = 0; i < count; i++) {
		struct event *event = ready[i].data.ptr;
		uint64_t signals = 1;

		if (!loop->is_edge && read(event->fd, &signals, sizeof(signals)) !=
				      (ssize_t)sizeof(signals))
			return -1;
		event->handler(event, signals);
	}
	return count;
}

/* Waits for and handles so many; returns how many it did. */
IN_C(jint, dispatch)(ARGS, jlong address, jint count)
{
	struct loop *loop = (struct loop *)(intptr_t)address;
	jint done = 0;

	while (done < count) {
		int handled = dispatch(loop);

		if (handled <= 0)
			return -1;
		done += handled;
	}
	return done;
}

/* The cost of a call from Java. */
IN_C(void, nothing)(ARGS)
{
}
