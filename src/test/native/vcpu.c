/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.kvm.VcpuBench: the same exits and kicks as a C
 * program makes them, in the same process and on the same vCPUs.
 *
 * A run takes the exit's data from struct kvm_run. A kick
 * sets immediate_exit and sends the signal, which the vCPU's thread blocks and
 * only KVM_RUN lets in, and which the thread takes with rt_sigtimedwait.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <jni.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "half.h"

#define TWIN(type, name) \
	JNIEXPORT type JNICALL Java_io_kvmirq_kvm_VcpuBench_##name##InC
#define ARGS \
	JNIEnv *env __attribute__((unused)), \
		jclass class __attribute__((unused))

#define PAGE_SIZE 12288

static void spin(int64_t nanos)
{
	int64_t end = now() + nanos;

	while (now() < end)
		;
}

static struct kvm_run *page_of(int vcpu)
{
	return mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
		    0);
}

/* Returns the sum of the ports and of what was written, or -1. */
TWIN(jint, exits)(ARGS, jint vcpu, jint count)
{
	static struct kvm_run *run;
	uint8_t data;
	jint sum = 0;

	if (!run)
		run = page_of(vcpu);
	for (jint i = 0; i < count; i++) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0 ||
		    run->exit_reason != KVM_EXIT_IO ||
		    run->io.direction != KVM_EXIT_IO_OUT)
			return -1;
		memcpy(&data, (char *)run + run->io.data_offset, sizeof(data));
		sum += data + run->io.port;
	}
	return sum;
}

static struct {
	int vcpu;
	int signal;
	struct kvm_run *run;
	pthread_t runner;
	atomic_int thread;
	atomic_int stopping;
	/* Kicks sent, runs begun and runs ended. */
	atomic_int sent;
	atomic_int begun;
	atomic_int ended;
} kicked;

static void *runner(void *nothing)
{
	struct timespec none = { 0 };
	sigset_t mine = let_in(kicked.vcpu, kicked.signal);

	atomic_store(&kicked.thread, (int)syscall(SYS_gettid));
	for (int i = 1; !atomic_load(&kicked.stopping); i++) {
		atomic_store(&kicked.begun, i);
		while (ioctl(kicked.vcpu, KVM_RUN, 0) >= 0 || errno != EINTR)
			;
		/* As a VMM's run: the signal is taken before it returns. */
		while (atomic_load(&kicked.sent) < i)
			;
		sigtimedwait(&mine, NULL, &none);
		kicked.run->immediate_exit = 0;
		atomic_store(&kicked.ended, i);
	}
	return nothing;
}

TWIN(void, start)(ARGS, jint vcpu, jint signal)
{
	memset(&kicked, 0, sizeof(kicked));
	kicked.vcpu = vcpu;
	kicked.signal = signal;
	kicked.run = page_of(vcpu);
	pthread_create(&kicked.runner, NULL, runner, NULL);
}

/* Until the thread is in a run for some time. */
TWIN(void, settle)(ARGS, jint nanos)
{
	while (atomic_load(&kicked.begun) == atomic_load(&kicked.ended))
		;
	spin(nanos);
}

/* Returns when the run has ended. */
TWIN(void, kick)(ARGS)
{
	int before = atomic_load(&kicked.ended);

	kicked.run->immediate_exit = 1;
	syscall(SYS_tgkill, getpid(), atomic_load(&kicked.thread),
		kicked.signal);
	atomic_fetch_add(&kicked.sent, 1);
	while (atomic_load(&kicked.ended) == before)
		;
}

TWIN(void, stop)(ARGS)
{
	atomic_store(&kicked.stopping, 1);
	Java_io_kvmirq_kvm_VcpuBench_kickInC(env, class);
	pthread_join(kicked.runner, NULL);
	munmap(kicked.run, PAGE_SIZE);
}
