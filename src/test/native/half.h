/* SPDX-License-Identifier: Apache-2.0 */
/* What the C halves of benchmarks have in common. */
#ifndef HALF_H
#define HALF_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define NANOS_PER_SECOND 1000000000

static inline int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NANOS_PER_SECOND + t.tv_nsec;
}

/* Blocks a signal in this thread, lets KVM_RUN alone take it, and returns it. */
static inline sigset_t let_in(int vcpu, int signal)
{
	sigset_t mine, before;
	struct {
		struct kvm_signal_mask head;
		uint64_t set;
	} __attribute__((packed)) mask = { .head.len = sizeof(uint64_t) };

	sigemptyset(&mine);
	sigaddset(&mine, signal);
	pthread_sigmask(SIG_BLOCK, &mine, &before);
	memcpy(&mask.set, &before, sizeof(mask.set));
	mask.set &= ~(1ULL << (signal - 1));
	ioctl(vcpu, KVM_SET_SIGNAL_MASK, &mask);
	return mine;
}

#endif
