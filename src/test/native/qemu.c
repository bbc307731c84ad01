/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C half of io.kvmirq.selftest.PeerBench: how QEMU attaches the vectors of
 * a passed-through device, since it defers their commit (vfio_msix_enable):
 * a GSI from a bitmap and an entry in a growing table for each vector, one
 * KVM_SET_GSI_ROUTING, then an eventfd and its irqfd for each.
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
#include <time.h>
#include <unistd.h>

#define MSI_ADDRESS 0xfee00000u
#define VECTOR 0x31
#define GSIS 4096
#define BITS 64
#define FEWEST_ENTRIES 64
#define NANOS_PER_SECOND 1000000000

struct routes {
	uint64_t used[GSIS / BITS];
	struct kvm_irq_routing *table;
	uint32_t allocated;
};

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NANOS_PER_SECOND + t.tv_nsec;
}

static void use(struct routes *routes, uint32_t gsi)
{
	routes->used[gsi / BITS] |= 1ull << gsi % BITS;
}

static int first_free(const struct routes *routes)
{
	for (int i = 0; i < GSIS / BITS; i++)
		if (~routes->used[i])
			return i * BITS + __builtin_ctzll(~routes->used[i]);
	return -ENOSPC;
}

static int add(struct routes *routes)
{
	int gsi = first_free(routes);

	if (gsi < 0)
		return gsi;
	if (!routes->table || routes->table->nr == routes->allocated) {
		uint32_t nr = routes->table ? routes->table->nr : 0;
		uint32_t wanted = routes->allocated * 2;

		if (wanted < FEWEST_ENTRIES)
			wanted = FEWEST_ENTRIES;
		routes->table = realloc(routes->table, sizeof(*routes->table) +
				wanted * sizeof(routes->table->entries[0]));
		if (!routes->table)
			return -ENOMEM;
		routes->table->nr = nr;
		routes->table->flags = 0;
		routes->allocated = wanted;
	}
	routes->table->entries[routes->table->nr++] =
		(struct kvm_irq_routing_entry){
			.gsi = (uint32_t)gsi,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = MSI_ADDRESS, .data = VECTOR },
		};
	use(routes, (uint32_t)gsi);
	return gsi;
}

static int connect(int vm, int32_t *event, uint32_t gsi)
{
	struct kvm_irqfd arg = { .gsi = gsi };

	*event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (*event < 0)
		return -errno;
	arg.fd = (uint32_t)*event;
	return ioctl(vm, KVM_IRQFD, &arg) < 0 ? -errno : 0;
}

static int attach(int vm, struct routes *routes, int32_t *events, jint count)
{
	uint32_t first = (uint32_t)first_free(routes);
	int ret = 0;

	for (jint i = 0; i < count && ret >= 0; i++)
		ret = add(routes);
	if (ret < 0)
		return ret;
	if (ioctl(vm, KVM_SET_GSI_ROUTING, routes->table) < 0)
		return -errno;
	for (jint i = 0; i < count && ret >= 0; i++)
		ret = connect(vm, &events[i], first + (uint32_t)i);
	return ret;
}

/* Nanoseconds, or -errno. */
JNIEXPORT jlong JNICALL Java_io_kvmirq_selftest_PeerBench_attachAsQemu(
	JNIEnv *env, jclass class, jint vm, jint first, jint count)
{
	int32_t *events = calloc((size_t)count, sizeof(*events));
	struct routes routes = { .table = NULL };
	int64_t start;
	int ret;

	(void)env;
	(void)class;
	if (!events)
		return -ENOMEM;
	for (jint gsi = 0; gsi < first; gsi++)
		use(&routes, (uint32_t)gsi);
	start = now();
	ret = attach(vm, &routes, events, count);
	start = now() - start;
	for (jint i = 0; i < count; i++)
		if (events[i] > 0)
			close(events[i]);
	free(events);
	free(routes.table);
	return ret < 0 ? ret : start;
}
