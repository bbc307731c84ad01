/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>

/* Only x86 headers have it; the value is ABI. */
#ifndef KVM_CAP_X2APIC_API
#define KVM_CAP_X2APIC_API 129
#endif

ASSERT_LAYOUT(sizeof(struct kvm_enable_cap) == 104);
ASSERT_LAYOUT(offsetof(struct kvm_enable_cap, args) == 8);

int kvmirq_irqchip_create(int vm)
{
	return call_value(vm, KVM_CREATE_IRQCHIP, 0);
}

static int enable(int vm, uint32_t capability, uint64_t arg)
{
	struct kvm_enable_cap cap = { .cap = capability, .args = { arg } };

	return call(vm, KVM_ENABLE_CAP, &cap);
}

/*
 * LAPICs in the kernel, PIC and IOAPIC in user space. pins: number of GSIs
 * reserved for user space, 0..4096.
 */
int kvmirq_irqchip_create_split(int vm, uint32_t pins)
{
	return enable(vm, KVM_CAP_SPLIT_IRQCHIP, pins);
}

/* KVM_CAP_X2APIC_API with the given KVM_X2APIC_* bits. */
int kvmirq_x2apic_enable(int vm, uint64_t bits)
{
	return enable(vm, KVM_CAP_X2APIC_API, bits);
}

#if defined(__x86_64__)

ASSERT_LAYOUT(sizeof(struct kvm_irqchip) == 520);
ASSERT_LAYOUT(offsetof(struct kvm_irqchip, chip) == 8);
ASSERT_LAYOUT(sizeof(((struct kvm_irqchip *)0)->chip) ==
	      KVMIRQ_IRQCHIP_STATE_SIZE);

/*
 * State of chip (0 PIC master, 1 PIC slave, 2 IOAPIC): the union in the
 * kernel's struct kvm_irqchip, KVMIRQ_IRQCHIP_STATE_SIZE bytes. x86 only:
 * -ENOTTY elsewhere.
 */
int kvmirq_irqchip_get(int vm, uint32_t chip, void *state)
{
	struct kvm_irqchip irqchip = { .chip_id = chip };
	int ret = call(vm, KVM_GET_IRQCHIP, &irqchip);

	if (ret >= 0)
		__builtin_memcpy(state, &irqchip.chip, sizeof(irqchip.chip));
	return ret;
}

int kvmirq_irqchip_set(int vm, uint32_t chip, const void *state)
{
	struct kvm_irqchip irqchip = { .chip_id = chip };

	__builtin_memcpy(&irqchip.chip, state, sizeof(irqchip.chip));
	return call(vm, KVM_SET_IRQCHIP, &irqchip);
}

#else

int kvmirq_irqchip_get(int vm, uint32_t chip, void *state)
{
	(void)vm, (void)chip, (void)state;
	return -ENOTTY;
}

int kvmirq_irqchip_set(int vm, uint32_t chip, const void *state)
{
	(void)vm, (void)chip, (void)state;
	return -ENOTTY;
}

#endif
