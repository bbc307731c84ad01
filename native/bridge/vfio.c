/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/vfio.h>
#include <stddef.h>

ASSERT_LAYOUT(sizeof(struct vfio_irq_info) == 16);
ASSERT_LAYOUT(sizeof(struct vfio_irq_set) == KVMIRQ_VFIO_IRQS_HEADER_SIZE);
ASSERT_LAYOUT(offsetof(struct vfio_irq_set, data) ==
	      KVMIRQ_VFIO_IRQS_HEADER_SIZE);

/*
 * The interrupts of an index, which the bus driver numbers. -EINVAL: no such
 * index; on any error the record is unchanged.
 */
int kvmirq_vfio_irq_info(int device, uint32_t index,
			 struct kvmirq_vfio_irq *irq)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
	int ret = call(device, VFIO_DEVICE_GET_IRQ_INFO, &info);

	if (ret >= 0) {
		irq->flags = info.flags;
		irq->count = info.count;
	}
	return ret;
}

/*
 * VFIO_DEVICE_SET_IRQS on count interrupts of an index, from start. flags: one
 * VFIO_IRQ_SET_DATA_* and one VFIO_IRQ_SET_ACTION_* of the kernel. set: size
 * bytes, of which this call writes the first KVMIRQ_VFIO_IRQS_HEADER_SIZE. The
 * data follows: count bytes (BOOL), count int32_t eventfds with -1 for none
 * (EVENTFD), or nothing (NONE). A size without a header is -EINVAL.
 *
 * 0: done. > 0: nothing was enabled, and this many vectors are available.
 * An error of the checks changes nothing. An error of a vector detaches all
 * from start to that one, even those that had an eventfd before.
 */
int kvmirq_vfio_irqs_set(int device, uint32_t flags, uint32_t index,
			 uint32_t start, uint32_t count, void *set,
			 uint32_t size)
{
	struct vfio_irq_set header = {
		.argsz = size,
		.flags = flags,
		.index = index,
		.start = start,
		.count = count,
	};

	if (size < sizeof(header))
		return -EINVAL;
	__builtin_memcpy(set, &header, sizeof(header));
	return call(device, VFIO_DEVICE_SET_IRQS, set);
}

/* -EINVAL: the device cannot be reset alone; -EAGAIN: its bus is locked. */
int kvmirq_vfio_device_reset(int device)
{
	return call_value(device, VFIO_DEVICE_RESET, 0);
}
