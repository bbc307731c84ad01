/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>
#include <linux/mman.h>
#include <stddef.h>

ASSERT_LAYOUT(sizeof(struct kvm_irq_routing) == 8);
ASSERT_LAYOUT(sizeof(struct kvm_irq_routing_entry) == 48);
ASSERT_LAYOUT(offsetof(struct kvm_irq_routing_entry, u) == 16);
ASSERT_LAYOUT(KVM_IRQ_ROUTING_IRQCHIP == KVMIRQ_ROUTE_IRQCHIP);
ASSERT_LAYOUT(KVM_IRQ_ROUTING_MSI == KVMIRQ_ROUTE_MSI);

static struct kvm_irq_routing_entry entry(const struct kvmirq_route *route)
{
	struct kvm_irq_routing_entry e = {
		.gsi = route->gsi,
		.type = route->type,
		.flags = route->flags,
	};

	if (route->type == KVMIRQ_ROUTE_IRQCHIP) {
		e.u.irqchip.irqchip = route->chip;
		e.u.irqchip.pin = route->pin;
	} else if (route->type != KVMIRQ_ROUTE_MSI) {
		__builtin_memcpy(&e.u, &route->chip,
				 sizeof(*route) -
					 offsetof(struct kvmirq_route, chip));
	} else {
		e.u.msi.address_lo = (uint32_t)route->address;
		e.u.msi.address_hi = (uint32_t)(route->address >> 32);
		e.u.msi.data = route->data;
		e.u.msi.devid = route->devid;
	}
	return e;
}

/* More routes than these are encoded outside the stack, which may be small. */
#define FEW 128

static int set(int vm, struct kvm_irq_routing *table,
	       const struct kvmirq_route *routes, uint32_t count)
{
	table->nr = count;
	table->flags = 0;
	for (uint32_t i = 0; i < count; i++)
		table->entries[i] = entry(&routes[i]);
	return call(vm, KVM_SET_GSI_ROUTING, table);
}

/* Replace the whole GSI routing table. On error the old table stays. */
int kvmirq_routes_set(int vm, const struct kvmirq_route *routes,
		      uint32_t count)
{
	size_t size = sizeof(struct kvm_irq_routing) +
		      count * sizeof(struct kvm_irq_routing_entry);
	uint64_t few[(8 + FEW * sizeof(struct kvm_irq_routing_entry)) / 8];
	long place;
	int ret;

	if (size <= sizeof(few))
		return set(vm, (struct kvm_irq_routing *)few, routes, count);
	place = kvmirq_syscall(__NR_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (place < 0)
		return (int)place;
	ret = set(vm, (struct kvm_irq_routing *)place, routes, count);
	call3(__NR_munmap, place, (long)size, 0);
	return ret;
}
