/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.backend.CallsBench: the calls of its loops as a
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

#define IN_C(name) \
	JNIEXPORT jint JNICALL Java_io_kvmirq_backend_CallsBench_##name##InC
#define ARGS \
	JNIEnv *env __attribute__((unused)), \
		jclass class __attribute__((unused))

static int whole(ssize_t ret)
{
	if (ret < 0)
		return -errno;
	return ret == sizeof(uint64_t) ? 0 : -EINVAL;
}

static int call(int fd, unsigned long request, const void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static inline int signal_event(int fd, uint64_t count)
{
	return whole(write(fd, &count, sizeof(count)));
}

static inline int drain_event(int fd, uint64_t *count)
{
	return whole(read(fd, count, sizeof(*count)));
}

IN_C(signal)(ARGS, jint fd, jint expected, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++)
		wrong += signal_event(fd, 1) != expected;
	return wrong;
}

IN_C(drain)(ARGS, jint fd, jint expected, jint count)
{
	jint wrong = 0;
	uint64_t taken;

	for (jint i = 0; i < count; i++)
		wrong += drain_event(fd, &taken) != expected;
	return wrong;
}

IN_C(line)(ARGS, jint vm, jint gsi, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++) {
		struct kvm_irq_level line = {
			.irq = (uint32_t)gsi,
			.level = i & 1,
		};

		wrong += call(vm, KVM_IRQ_LINE, &line) != 0;
	}
	return wrong;
}

IN_C(message)(ARGS, jint vm, jlong address, jint data, jint count)
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

IN_C(attribute)(ARGS, jint device, jint group, jlong attribute, jint count)
{
	jint wrong = 0;

	for (jint i = 0; i < count; i++) {
		struct kvm_device_attr attr = {
			.group = (uint32_t)group,
			.attr = (uint64_t)attribute,
		};

		wrong += call(device, KVM_HAS_DEVICE_ATTR, &attr) != 0;
	}
	return wrong;
}

/*
 * The instruction itself, as no program on libc makes it: no return of a
 * function stands between the kernel and the loop.
 */
static inline __attribute__((always_inline)) ssize_t
write_inline(int fd, const void *from, size_t size)
{
#if defined(__x86_64__)
	ssize_t ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"((long)SYS_write), "D"((long)fd), "S"(from),
			   "d"(size)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long number __asm__("x8") = SYS_write;
	register long first __asm__("x0") = fd;
	register const void *second __asm__("x1") = from;
	register size_t third __asm__("x2") = size;

	__asm__ volatile("svc 0"
			 : "+r"(first)
			 : "r"(number), "r"(second), "r"(third)
			 : "memory");
	return first;
#else
#error "the instruction of a system call of this architecture is not here"
#endif
}

static __attribute__((noinline)) ssize_t write_called(int fd, const void *from,
						      size_t size)
{
	return write_inline(fd, from, size);
}

JNIEXPORT jint JNICALL Java_io_kvmirq_backend_CallsBench_signalInline(ARGS, jint fd, jint count)
{
	uint64_t one = 1;
	jint wrong = 0;

	for (jint i = 0; i < count; i++)
		wrong += write_inline(fd, &one, sizeof(one)) != sizeof(one);
	return wrong;
}

JNIEXPORT jint JNICALL Java_io_kvmirq_backend_CallsBench_signalCalled(ARGS, jint fd, jint count)
{
	uint64_t one = 1;
	jint wrong = 0;

	for (jint i = 0; i < count; i++)
		wrong += write_called(fd, &one, sizeof(one)) != sizeof(one);
	return wrong;
}

/* The least that a native method costs: what is left is the JVM's. */
JNIEXPORT jint JNICALL Java_io_kvmirq_backend_CallsBench_bareSignal(ARGS,
								    jint fd)
{
	return signal_event(fd, 1);
}
