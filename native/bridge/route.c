/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>
#include <stdlib.h>

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
	} else { /* routes_set refuses other types */
		e.u.msi.address_lo = (uint32_t)route->address;
		e.u.msi.address_hi = (uint32_t)(route->address >> 32);
		e.u.msi.data = route->data;
		e.u.msi.devid = route->devid;
	}
	return e;
}

int kvmirq_routes_set(int vm, const struct kvmirq_route *routes,
		      uint32_t count)
{
	struct kvm_irq_routing *table;
	int ret;

	for (uint32_t i = 0; i < count; i++) {
		if (routes[i].type != KVMIRQ_ROUTE_IRQCHIP &&
		    routes[i].type != KVMIRQ_ROUTE_MSI)
			return -EINVAL;
	}
	table = calloc(1, sizeof(*table) +
				  count * sizeof(struct kvm_irq_routing_entry));
	if (!table)
		return -ENOMEM;
	table->nr = count;
	for (uint32_t i = 0; i < count; i++)
		table->entries[i] = entry(&routes[i]);
	ret = call(vm, KVM_SET_GSI_ROUTING, table);
	free(table);
	return ret;
}
