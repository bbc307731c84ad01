/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>
#include <stddef.h>

ASSERT_LAYOUT(sizeof(struct kvm_msi) == 32);
ASSERT_LAYOUT(offsetof(struct kvm_msi, devid) == 16);
ASSERT_LAYOUT(sizeof(struct kvm_irq_level) == 8);

/*
 * KVM_SIGNAL_MSI. > 0: number of vCPUs that took the interrupt; 0: no vCPU
 * took it (no such vCPU, or its LAPIC is off); -EPERM: the VM has no vCPU yet,
 * or a broadcast or hashed destination matches no vCPU (unrelated to
 * permissions).
 */
int kvmirq_msi_signal(int vm, uint64_t address, uint32_t data, uint32_t flags,
		      uint32_t devid)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
		.flags = flags,
		.devid = devid,
	};

	return call(vm, KVM_SIGNAL_MSI, &msi);
}

int kvmirq_line_set(int vm, uint32_t gsi, int level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level != 0 };

	return call(vm, KVM_IRQ_LINE, &line);
}

/* status: as KVM_IRQ_LINE_STATUS writes it; -1: no irqchip took the line. */
int kvmirq_line_set_status(int vm, uint32_t gsi, int level, int32_t *status)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level != 0 };
	int ret = call(vm, KVM_IRQ_LINE_STATUS, &line);

	if (ret >= 0)
		*status = line.status;
	return ret;
}
