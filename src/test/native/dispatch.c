/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.kernel.DispatchBench: how a C program waits
 * for many eventfds in epoll, level-triggered with a read of each, or
 * edge-triggered without; or by multishot polls in an io_uring.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <jni.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
#define NANOS 1000000000LL
#define SUBMISSIONS 256
#define COMPLETIONS 1024

/* As in DispatchBench. */
enum mode { LEVEL, EDGE, RING };

struct event {
	int fd;
	void (*handler)(struct event *event, uint64_t count);
	uint64_t calls;
};

struct ring {
	unsigned int *tail;
	unsigned int *head_done;
	unsigned int *tail_done;
	unsigned int mask_done;
	struct io_uring_sqe *submissions;
	struct io_uring_cqe *completions;
};

struct loop {
	int set;
	enum mode mode;
	struct ring ring;
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

static int enter(int fd, unsigned int submit, unsigned int complete)
{
	return (int)syscall(SYS_io_uring_enter, fd, submit, complete,
			    IORING_ENTER_GETEVENTS, NULL, 0);
}

static int open_ring(struct ring *ring)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN,
		.cq_entries = COMPLETIONS,
	};
	int fd = (int)syscall(SYS_io_uring_setup, SUBMISSIONS, &p);
	size_t length = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *rings;

	if (fd < 0)
		return -1;
	rings = mmap(NULL, length + p.sq_entries * sizeof(unsigned int),
		     PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	ring->submissions = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe),
				 PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				 IORING_OFF_SQES);
	if (rings == MAP_FAILED || ring->submissions == MAP_FAILED)
		return -1;
	ring->tail = (unsigned int *)(void *)(rings + p.sq_off.tail);
	ring->head_done = (unsigned int *)(void *)(rings + p.cq_off.head);
	ring->tail_done = (unsigned int *)(void *)(rings + p.cq_off.tail);
	ring->mask_done = p.cq_entries - 1;
	ring->completions = (struct io_uring_cqe *)(void *)(rings + p.cq_off.cqes);
	for (unsigned int i = 0; i < p.sq_entries; i++)
		((unsigned int *)(void *)(rings + p.sq_off.array))[i] = i;
	return fd;
}

static int poll_in_ring(struct loop *loop, struct event *event)
{
	struct ring *ring = &loop->ring;

	ring->submissions[*ring->tail % SUBMISSIONS] = (struct io_uring_sqe){
		.opcode = IORING_OP_POLL_ADD,
		.fd = event->fd,
		.len = IORING_POLL_ADD_MULTI,
		.poll32_events = EPOLLIN,
		.user_data = (uintptr_t)event,
	};
	atomic_store_explicit((_Atomic unsigned int *)ring->tail,
			      *ring->tail + 1, memory_order_release);
	return enter(loop->set, 1, 0);
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
	loop->set = loop->mode == RING ? open_ring(&loop->ring) :
					 epoll_create1(EPOLL_CLOEXEC);
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
		if (loop->mode == RING ?
			    poll_in_ring(loop, event) < 0 :
			    epoll_ctl(loop->set, EPOLL_CTL_ADD, event->fd,
				      &entry) < 0)
			return 0;
	}
	return loop->events ? (jlong)(intptr_t)loop : 0;
}

static int dispatch_ring(struct loop *loop)
{
	struct ring *ring = &loop->ring;
	int result = enter(loop->set, 0, 1);
	unsigned int head = *ring->head_done;
	unsigned int tail = atomic_load_explicit(
		(_Atomic unsigned int *)ring->tail_done, memory_order_acquire);
	int count = (int)(tail - head);

	for (; head != tail; head++) {
		struct io_uring_cqe *done =
			&ring->completions[head & ring->mask_done];
		struct event *event = (struct event *)(uintptr_t)done->user_data;

		if (done->res <= 0 || !(done->flags & IORING_CQE_F_MORE))
			return -1;
		event->handler(event, 1);
	}
	atomic_store_explicit((_Atomic unsigned int *)ring->head_done, head,
			      memory_order_release);
	return result < 0 ? result : count;
}

static int dispatch(struct loop *loop)
{
	if (loop->mode == RING)
		return dispatch_ring(loop);

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
