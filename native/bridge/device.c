/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/kvm.h>
#include <stddef.h>

/* The header of Debian 12 has KVM_DEV_VFIO_GROUP, with the same values. */
#ifndef KVM_DEV_VFIO_FILE
#define KVM_DEV_VFIO_FILE KVM_DEV_VFIO_GROUP
#define KVM_DEV_VFIO_FILE_ADD KVM_DEV_VFIO_GROUP_ADD
#define KVM_DEV_VFIO_FILE_DEL KVM_DEV_VFIO_GROUP_DEL
#endif

ASSERT_LAYOUT(sizeof(struct kvm_create_device) == 12);
ASSERT_LAYOUT(sizeof(struct kvm_device_attr) == 24);
ASSERT_LAYOUT(offsetof(struct kvm_device_attr, addr) == 16);
ASSERT_LAYOUT(KVM_DEV_VFIO_FILE == 1);
ASSERT_LAYOUT(KVM_DEV_VFIO_FILE_ADD == 1);
ASSERT_LAYOUT(KVM_DEV_VFIO_FILE_DEL == 2);

/* 0 when a device of this type can be created; creates nothing. */
int kvmirq_device_test(int vm, uint32_t type)
{
	struct kvm_create_device create = {
		.type = type,
		.flags = KVM_CREATE_DEVICE_TEST,
	};

	/* A test leaves .fd at 0, the number of stdin: never return it. */
	return call(vm, KVM_CREATE_DEVICE, &create);
}

int kvmirq_device_create(int vm, uint32_t type)
{
	struct kvm_create_device create = { .type = type };
	int ret = call(vm, KVM_CREATE_DEVICE, &create);

	return ret < 0 ? ret : (int)create.fd;
}

int kvmirq_device_attr_has(int dev, uint32_t group, uint64_t attr)
{
	struct kvm_device_attr a = { .group = group, .attr = attr };

	return call(dev, KVM_HAS_DEVICE_ATTR, &a);
}

static int vfio_file(int dev, uint64_t attr, int fd)
{
	int32_t value = fd;
	struct kvm_device_attr a = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = attr,
		.addr = (uintptr_t)&value,
	};

	return call(dev, KVM_SET_DEVICE_ATTR, &a);
}

/* KVM_DEV_VFIO_FILE (GROUP before 6.6): add or remove one VFIO fd. */
int kvmirq_device_vfio_add(int dev, int fd)
{
	return vfio_file(dev, KVM_DEV_VFIO_FILE_ADD, fd);
}

int kvmirq_device_vfio_remove(int dev, int fd)
{
	return vfio_file(dev, KVM_DEV_VFIO_FILE_DEL, fd);
}
