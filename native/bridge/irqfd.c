/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>
#include <stddef.h>

ASSERT_LAYOUT(sizeof(struct kvm_irqfd) == 32);
ASSERT_LAYOUT(offsetof(struct kvm_irqfd, resamplefd) == 12);
ASSERT_LAYOUT(sizeof(struct kvmirq_irqfd) == 8);

static int irqfd(int vm, int fd, uint32_t gsi, uint32_t flags, int resample)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)fd,
		.gsi = gsi,
		.flags = flags,
		.resamplefd = (uint32_t)resample,
	};

	return call(vm, KVM_IRQFD, &irqfd);
}

int kvmirq_irqfd_assign(int vm, int fd, uint32_t gsi)
{
	return irqfd(vm, fd, gsi, 0, 0);
}

/*
 * Assign count edges. The result says how many were assigned, and stay: the fd
 * of the next one, if they are fewer, is -errno.
 */
int kvmirq_irqfds_assign(int vm, struct kvmirq_irqfd *irqfds, uint32_t count)
{
	uint32_t assigned = 0;

	while (assigned < count) {
		struct kvmirq_irqfd *next = &irqfds[assigned];
		int ret = kvmirq_irqfd_assign(vm, next->fd, next->gsi);

		if (ret < 0) {
			next->fd = ret;
			break;
		}
		assigned++;
	}
	return (int)assigned;
}

int kvmirq_irqfd_assign_level(int vm, int fd, int resample, uint32_t gsi)
{
	return irqfd(vm, fd, gsi, KVM_IRQFD_FLAG_RESAMPLE, resample);
}

/* Succeeds for every open eventfd, also one that is not assigned. */
int kvmirq_irqfd_deassign(int vm, int fd, uint32_t gsi)
{
	return irqfd(vm, fd, gsi, KVM_IRQFD_FLAG_DEASSIGN, 0);
}
