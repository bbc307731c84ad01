/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.bench.TailBench: a device with a clock of its
 * own, and a VMM in C on the same vCPU and eventfds.
 *
 * A device sends at fixed times. Latency counts from the time at which it was
 * to send: a pause that keeps it from sending is not left out.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <jni.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "half.h"

#define TAIL(type, name) \
	JNIEXPORT type JNICALL Java_io_kvmirq_bench_TailBench_##name
#define ARGS \
	JNIEnv *env __attribute__((unused)), \
		jclass class __attribute__((unused))

#define PAGE_SIZE 12288
#define WINDOW 1000000
#define PATIENCE_MILLIS 20000

/* Of the guest and the device, if the JVM has others; else -1. */
static int own_cpu = -1;

static void move_to_own_cpu(void)
{
	cpu_set_t one;

	if (own_cpu < 0)
		return;
	CPU_ZERO(&one);
	CPU_SET((size_t)own_cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		abort();
}

/* By the thread that sends, which is to wake at the time itself. */
TAIL(void, beginInC)(ARGS, jint cpu)
{
	own_cpu = cpu;
	prctl(PR_SET_TIMERSLACK, 1);
}

TAIL(void, moveInC)(ARGS)
{
	move_to_own_cpu();
}

static void sleep_until(int64_t when)
{
	struct timespec t = {
		.tv_sec = when / NANOS_PER_SECOND,
		.tv_nsec = when % NANOS_PER_SECOND,
	};

	while (now() < when)
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void send_one(int fd)
{
	uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* The count that was read, or 0 if none came. */
static int64_t take(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };
	uint64_t count = 0;

	if (poll(&one, 1, PATIENCE_MILLIS) < 1 ||
	    read(fd, &count, sizeof(count)) < 0)
		return 0;
	return (int64_t)count;
}

/* A VMM in C */

static struct {
	int vcpu;
	int event;
	int ack;
	int signal;
	struct kvm_run *run;
	atomic_int stopping;
	atomic_int thread;
	/* Kicks that were sent, with their signal. */
	atomic_int sent;
	pthread_t runner;
	pthread_t loop;
} vmm;

/* Each exit, and each kick if kicks are to be told, is told to the device. */
static void *run_vcpu(void *tells)
{
	struct timespec none = { 0 };
	sigset_t mine = let_in(vmm.vcpu, vmm.signal);

	move_to_own_cpu();
	atomic_store(&vmm.thread, (int)syscall(SYS_gettid));
	for (int kicks = 0;;) {
		if (ioctl(vmm.vcpu, KVM_RUN, 0) >= 0) {
			send_one(vmm.ack);
			continue;
		}
		/* As a VMM's run: the signal is taken before it returns. */
		while (atomic_load(&vmm.sent) <= kicks)
			;
		kicks++;
		sigtimedwait(&mine, NULL, &none);
		vmm.run->immediate_exit = 0;
		if (atomic_load(&vmm.stopping))
			return NULL;
		if (tells)
			send_one(vmm.ack);
	}
}

static void kick(void)
{
	vmm.run->immediate_exit = 1;
	syscall(SYS_tgkill, getpid(), atomic_load(&vmm.thread), vmm.signal);
	atomic_fetch_add(&vmm.sent, 1);
}

static void *loop(void *nothing)
{
	struct epoll_event one = { .events = EPOLLIN | EPOLLET };
	int set = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(set, EPOLL_CTL_ADD, vmm.event, &one);
	while (!atomic_load(&vmm.stopping)) {
		if (epoll_wait(set, &one, 1, 10) > 0)
			send_one(vmm.ack);
	}
	close(set);
	return nothing;
}

/* event: what a loop of the VMM listens to; -1 without one. */
TAIL(void, startInC)(ARGS, jint vcpu, jint event, jint ack, jint signal,
		     jboolean tells_kicks)
{
	vmm.vcpu = vcpu;
	vmm.event = event;
	vmm.ack = ack;
	vmm.signal = signal;
	vmm.run = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		       vcpu, 0);
	atomic_store(&vmm.stopping, 0);
	atomic_store(&vmm.thread, 0);
	atomic_store(&vmm.sent, 0);
	pthread_create(&vmm.runner, NULL, run_vcpu, tells_kicks ? &vmm : NULL);
	if (event >= 0)
		pthread_create(&vmm.loop, NULL, loop, NULL);
	while (!atomic_load(&vmm.thread))
		;
}

TAIL(void, stopInC)(ARGS)
{
	atomic_store(&vmm.stopping, 1);
	kick();
	pthread_join(vmm.runner, NULL);
	if (vmm.event >= 0)
		pthread_join(vmm.loop, NULL);
	vmm.run->immediate_exit = 0;
	munmap(vmm.run, PAGE_SIZE);
}

/* The device */

/* Writes the nanoseconds of each trip; returns how many were answered. interrupt: -1 for a kick of the VMM in C. */
TAIL(jlong, tripsInC)(ARGS, jint interrupt, jint answer, jlong period,
		      jobject nanos, jint count)
{
	int64_t *to = (*env)->GetDirectBufferAddress(env, nanos);
	int64_t start, answered = 0;
	cpu_set_t before;

	if (sched_getaffinity(0, sizeof(before), &before))
		abort();
	move_to_own_cpu();
	start = now() + WINDOW;
	for (jint i = 0; i < count; i++) {
		int64_t due = start + i * period;

		sleep_until(due);
		if (interrupt < 0)
			kick();
		else
			send_one(interrupt);
		answered += take(answer);
		to[i] = now() - due;
	}
	if (sched_setaffinity(0, sizeof(before), &before))
		abort();
	return answered;
}

TAIL(void, sleepInC)(ARGS, jlong when)
{
	sleep_until(when);
}

/* What came of the answer, after it did. */
TAIL(jlong, takeInC)(ARGS, jint answer)
{
	return take(answer);
}
