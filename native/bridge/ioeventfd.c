/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>
#include <stddef.h>

ASSERT_LAYOUT(sizeof(struct kvm_ioeventfd) == 64);
ASSERT_LAYOUT(offsetof(struct kvm_ioeventfd, fd) == 20);

static int ioeventfd(int vm, int fd, uint64_t address, uint32_t len,
		     uint32_t flags, uint64_t datamatch)
{
	struct kvm_ioeventfd ioeventfd = {
		.datamatch = datamatch,
		.addr = address,
		.len = len,
		.fd = fd,
		.flags = flags,
	};

	return call(vm, KVM_IOEVENTFD, &ioeventfd);
}

/*
 * A guest write of len bytes (0: any length, MMIO and PIO) at address signals
 * fd instead of exiting. flags: the kernel's KVM_IOEVENTFD_FLAG_DATAMATCH (1)
 * and _PIO (2).
 */
int kvmirq_ioeventfd_assign(int vm, int fd, uint64_t address, uint32_t len,
			    uint32_t flags, uint64_t datamatch)
{
	return ioeventfd(vm, fd, address, len,
			 flags & ~(uint32_t)KVM_IOEVENTFD_FLAG_DEASSIGN,
			 datamatch);
}

/* All arguments must equal those of the assign, else -ENOENT. */
int kvmirq_ioeventfd_deassign(int vm, int fd, uint64_t address, uint32_t len,
			      uint32_t flags, uint64_t datamatch)
{
	return ioeventfd(vm, fd, address, len,
			 flags | KVM_IOEVENTFD_FLAG_DEASSIGN, datamatch);
}
