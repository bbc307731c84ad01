/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.backend.CallsBench: its calls as a
 * C program makes them, in the same process and on the same descriptors.
 *
 * Each makes the system call that libkvmirq makes, its structure filled in for
 * each call, and takes errno as libkvmirq does. Each function does count calls
 * and returns how many did not answer what is expected.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <jni.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "syscall.h"

#define CALLS(name) \
	JNIEXPORT jint JNICALL Java_io_kvmirq_backend_CallsBench_##name
#define ARGS \
	JNIEnv *env __attribute__((unused)), \
		jclass class __attribute__((unused))

#define LINE(gsi, i) { .irq = (uint32_t)(gsi), .level = (i) & 1 }

static int call(int fd, unsigned long request, const void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static inline int signal_event(int fd, uint64_t count)
{
	ssize_t ret = write(fd, &count, sizeof(count));

	if (ret < 0)
		return -errno;
	return ret == sizeof(count) ? 0 : -EINVAL;
}

CALLS(signalInC)(ARGS, jint fd, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++)
		wrong += signal_event(fd, 1) != 0;
	return wrong;
}

CALLS(lineInC)(ARGS, jint vm, jint gsi, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++) {
		struct kvm_irq_level line = LINE(gsi, i);

		wrong += call(vm, KVM_IRQ_LINE, &line) != 0;
	}
	return wrong;
}

CALLS(messageInC)(ARGS, jint vm, jlong address, jint data, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++) {
		struct kvm_msi msi = {
			.address_lo = (uint32_t)address,
			.address_hi = (uint32_t)(address >> 32),
			.data = (uint32_t)data,
		};

		wrong += call(vm, KVM_SIGNAL_MSI, &msi) != 1;
	}
	return wrong;
}

/*
 * The instruction itself, as no program on libc makes it: no return of a
 * function stands between the kernel and the loop.
 */
static inline __attribute__((always_inline)) int write_inline(int fd)
{
	uint64_t one = 1;

	return kvmirq_syscall(SYS_write, fd, (intptr_t)&one, sizeof(one), 0, 0,
			      0) != sizeof(one);
}

static __attribute__((noinline)) int write_called(int fd)
{
	return write_inline(fd);
}

CALLS(signalInline)(ARGS, jint fd, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++)
		wrong += write_inline(fd);
	return wrong;
}

CALLS(signalCalled)(ARGS, jint fd, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++)
		wrong += write_called(fd);
	return wrong;
}

CALLS(lineInline)(ARGS, jint vm, jint gsi, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++) {
		struct kvm_irq_level line = LINE(gsi, i);

		wrong += kvmirq_syscall(SYS_ioctl, vm, KVM_IRQ_LINE,
					(intptr_t)&line, 0, 0, 0) != 0;
	}
	return wrong;
}

/* A native method that calls libc. */
CALLS(bareSignal)(ARGS, jint fd)
{
	return signal_event(fd, 1);
}

/* The least that a native method costs: what is left is the JVM's. */
CALLS(bareSignalInline)(ARGS, jint fd)
{
	return write_inline(fd);
}
