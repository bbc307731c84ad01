/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>

ASSERT_LAYOUT(sizeof(struct kvmirq_route) == 40);
ASSERT_LAYOUT(offsetof(struct kvmirq_route, address) == 24);
ASSERT_LAYOUT(offsetof(struct kvmirq_route, devid) == 32);
ASSERT_LAYOUT(sizeof(struct kvmirq_vfio_irq) == 8);

/* KVMIRQ_ABI_VERSION */
int kvmirq_abi_version(void)
{
	return KVMIRQ_ABI_VERSION;
}

/* Size in bytes of a shared record; -EINVAL for an unknown record. */
int kvmirq_abi_record_size(int record)
{
	switch (record) {
	case KVMIRQ_RECORD_ROUTE:
		return sizeof(struct kvmirq_route);
	case KVMIRQ_RECORD_IRQCHIP:
		return KVMIRQ_IRQCHIP_STATE_SIZE;
	case KVMIRQ_RECORD_VFIO_IRQ:
		return sizeof(struct kvmirq_vfio_irq);
	case KVMIRQ_RECORD_IRQFD:
		return sizeof(struct kvmirq_irqfd);
	default:
		return -EINVAL;
	}
}
