/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.kvm.VcpuBench: the same exits and kicks as a C
 * program makes them, in the same process and on the same vCPUs.
 *
 * A run takes the exit's data from struct kvm_run, or answers a read. A kick
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
	JNIEXPORT type JNICALL Java_io_kvmirq_kvm_VcpuBench_##name
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

/* Returns the sum of what the guest wrote, or of the ports it read, or -1. */
static int64_t one_exit(int vcpu, struct kvm_run *run, uint64_t answer)
{
	uint64_t data = 0;
	void *place;

	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return -1;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		place = (char *)run + run->io.data_offset;
		if (run->io.direction == KVM_EXIT_IO_IN) {
			memcpy(place, &answer, run->io.size);
			return run->io.port;
		}
		memcpy(&data, place, run->io.size);
		return (int64_t)data + run->io.port;
	case KVM_EXIT_MMIO:
		if (!run->mmio.is_write) {
			memcpy(run->mmio.data, &answer, run->mmio.len);
			return (int64_t)run->mmio.phys_addr;
		}
		memcpy(&data, run->mmio.data, run->mmio.len);
		return (int64_t)(data + run->mmio.phys_addr);
	}
	return -1;
}

TWIN(jlong, exitsInC)(ARGS, jint vcpu, jint count)
{
	struct kvm_run *run = page_of(vcpu);
	jlong sum = 0;

	for (jint i = 0; i < count; i++) {
		int64_t each = one_exit(vcpu, run, 5);

		if (each < 0) {
			sum = -1;
			break;
		}
		sum += each;
	}
	munmap(run, PAGE_SIZE);
	return sum;
}

struct kicked {
	int vcpu;
	int count;
	int signal;
	struct kvm_run *run;
	atomic_int thread;
	/* Kicks sent, runs begun and runs ended. */
	atomic_int sent;
	atomic_int begun;
	atomic_int ended;
	int64_t end;
};

static void *runner(void *argument)
{
	struct kicked *kicked = argument;
	struct timespec none = { 0 };
	sigset_t mine = let_in(kicked->vcpu, kicked->signal);

	atomic_store(&kicked->thread, (int)syscall(SYS_gettid));
	for (int i = 0; i < kicked->count; i++) {
		atomic_store(&kicked->begun, i + 1);
		while (ioctl(kicked->vcpu, KVM_RUN, 0) >= 0 || errno != EINTR)
			;
		/* As a VMM's run: the signal is taken before it returns. */
		while (atomic_load(&kicked->sent) <= i)
			;
		sigtimedwait(&mine, NULL, &none);
		kicked->run->immediate_exit = 0;
		kicked->end = now();
		atomic_store(&kicked->ended, i + 1);
	}
	return NULL;
}

/* Writes the nanoseconds from each kick to the end of its run. */
TWIN(void, kicksInC)(ARGS, jint vcpu, jint signal, jint settle, jobject nanos,
		     jint count)
{
	int64_t *times = (*env)->GetDirectBufferAddress(env, nanos);
	struct kicked kicked = {
		.vcpu = vcpu,
		.count = count,
		.signal = signal,
		.run = page_of(vcpu),
	};
	pthread_t thread;
	pid_t process = getpid();

	pthread_create(&thread, NULL, runner, &kicked);
	for (jint i = 0; i < count; i++) {
		int64_t start;

		while (atomic_load(&kicked.begun) <= i)
			;
		spin(settle);
		start = now();
		kicked.run->immediate_exit = 1;
		syscall(SYS_tgkill, process, atomic_load(&kicked.thread),
			signal);
		atomic_store(&kicked.sent, i + 1);
		while (atomic_load(&kicked.ended) <= i)
			;
		times[i] = kicked.end - start;
	}
	pthread_join(thread, NULL);
	munmap(kicked.run, PAGE_SIZE);
}
