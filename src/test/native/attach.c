/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.kvm.AttachBench: how a C program attaches the
 * vectors of a device to a VM, in the same process.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <jni.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MSI_ADDRESS 0xfee00000u
#define VECTOR 0x31

#define ARGS \
	JNIEnv *env, jclass class __attribute__((unused))

static void route(struct kvm_irq_routing *table, uint32_t gsi)
{
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = MSI_ADDRESS, .data = VECTOR },
	};
}

static int irqfd(int vm, int fd, uint32_t gsi)
{
	struct kvm_irqfd arg = {
		.fd = (uint32_t)fd,
		.gsi = gsi,
	};

	return ioctl(vm, KVM_IRQFD, &arg);
}

/* One commit for all, or one after each vector, as Cloud Hypervisor's MSI-X. */
JNIEXPORT jint JNICALL Java_io_kvmirq_kvm_AttachBench_attachInC(
	ARGS, jint vm, jobject fds, jint first, jint count, jboolean singly)
{
	int32_t *events = (*env)->GetDirectBufferAddress(env, fds);
	struct kvm_irq_routing *table =
		calloc(1, sizeof(*table) +
		       (size_t)count * sizeof(table->entries[0]));
	jint ret = 0;

	if (!table)
		return -ENOMEM;
	for (jint i = 0; i < count; i++) {
		events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		route(table, (uint32_t)(first + i));
		if (events[i] < 0 || (singly &&
		    (ioctl(vm, KVM_SET_GSI_ROUTING, table) < 0 ||
		     irqfd(vm, events[i], (uint32_t)(first + i)) < 0)))
			ret = -errno;
	}
	if (!singly) {
		if (ioctl(vm, KVM_SET_GSI_ROUTING, table) < 0)
			ret = -errno;
		for (jint i = 0; i < count; i++)
			if (irqfd(vm, events[i], (uint32_t)(first + i)) < 0)
				ret = -errno;
	}
	free(table);
	return ret;
}

/* The end of an eventfd's file takes its irqfd. */
JNIEXPORT void JNICALL Java_io_kvmirq_kvm_AttachBench_closeInC(
	ARGS, jobject fds, jint count)
{
	int32_t *events = (*env)->GetDirectBufferAddress(env, fds);

	for (jint i = 0; i < count; i++)
		close(events[i]);
}
