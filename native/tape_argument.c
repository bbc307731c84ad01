/* SPDX-License-Identifier: Apache-2.0 */
#include "tape.h"

#include <linux/kvm.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_ROUTES 4096
#define MAX_ARGSZ 4096

/* What is recorded */

bool starts(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

void file_of(int fd, struct file *file)
{
	char path[32] = "/proc/self/fd/";
	struct line line = { path, path + strlen(path),
			     path + sizeof(path) - 1 };
	ssize_t length;

	put_number(&line, fd);
	*line.at = '\0';
	length = readlink(path, file->name, sizeof(file->name) - 1);
	file->name[length < 0 ? 0 : length] = '\0';
}

bool is_eventfd(const struct file *file)
{
	return !strcmp(file->name, "anon_inode:[eventfd]");
}

bool is_node(const char *path)
{
	return !strcmp(path, "/dev/kvm") || starts(path, "/dev/vfio/") ||
	       !strcmp(path, "/dev/iommu");
}

bool is_vfio_device(const struct file *file)
{
	return starts(file->name, "anon_inode:[vfio-device]") ||
	       starts(file->name, "/dev/vfio/devices/");
}

bool is_ours(const struct file *file)
{
	return is_node(file->name) || starts(file->name, "anon_inode:kvm-") ||
	       is_vfio_device(file);
}

bool copy(void *to, uintptr_t from, size_t size)
{
	struct iovec local = { .iov_base = to, .iov_len = size };
	struct iovec remote = { .iov_base = (void *)from, .iov_len = size };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) ==
	       (ssize_t)size;
}

/* Arguments of ioctls. VFIO and iommufd share a type and carry no size. */

#define VFIO_NR(request) (_IOC_NR(request) - VFIO_BASE)

bool is_vfio(unsigned long request)
{
	return _IOC_TYPE(request) == VFIO_TYPE;
}

size_t argument_size(unsigned long request, uintptr_t argument)
{
	struct kvm_irq_routing table;
	uint32_t argsz;

	if (request == KVM_SET_GSI_ROUTING) {
		if (!copy(&table, argument, sizeof(table)))
			return sizeof(table);
		return sizeof(table) +
		       (table.nr < MAX_ROUTES ? table.nr : MAX_ROUTES) *
			       sizeof(struct kvm_irq_routing_entry);
	}
	if (!is_vfio(request) || _IOC_SIZE(request))
		return _IOC_SIZE(request);
	switch (request) {
	case VFIO_GET_API_VERSION:
	case VFIO_CHECK_EXTENSION:
	case VFIO_SET_IOMMU:
	case VFIO_GROUP_UNSET_CONTAINER:
	case VFIO_DEVICE_RESET:
		return 0;
	case VFIO_GROUP_SET_CONTAINER:
		return sizeof(int32_t);
	case VFIO_GROUP_GET_DEVICE_FD: /* a name */
		for (size_t length = 0; length < 64; length++) {
			char c;

			if (!copy(&c, argument + length, 1) || !c)
				return length + 1;
		}
		return 64;
	}
	if (!copy(&argsz, argument, sizeof(argsz)) || argsz < sizeof(argsz))
		return sizeof(argsz);
	return argsz < MAX_ARGSZ ? argsz : MAX_ARGSZ;
}

size_t pointer_at(unsigned long request, const struct file *file)
{
	switch (request) {
	case KVM_SET_USER_MEMORY_REGION:
		return offsetof(struct kvm_userspace_memory_region,
				userspace_addr);
	case KVM_SET_DEVICE_ATTR:
	case KVM_GET_DEVICE_ATTR:
	case KVM_HAS_DEVICE_ATTR:
		return offsetof(struct kvm_device_attr, addr);
	case KVM_GET_DIRTY_LOG:
		return offsetof(struct kvm_dirty_log, dirty_bitmap);
	case KVM_GET_ONE_REG:
	case KVM_SET_ONE_REG:
		return offsetof(struct kvm_one_reg, addr);
	case VFIO_IOMMU_MAP_DMA: /* of a device: its hot reset, no pointer */
		return is_vfio_device(file) ?
			       0 :
			       offsetof(struct vfio_iommu_type1_dma_map, vaddr);
	}
	if (_IOC_TYPE(request) == KVMIO && _IOC_NR(request) == 0x49)
		return 24; /* KVM_SET_USER_MEMORY_REGION2, as its elder */
	if (!is_vfio(request))
		return 0;
	switch (_IOC_NR(request)) { /* linux/iommufd.h, not in old headers */
	case 0x82: /* IOAS_ALLOW_IOVAS.allowed_iovas */
	case 0x84: /* IOAS_IOVA_RANGES.allowed_iovas */
	case 0x85: /* IOAS_MAP.user_va */
	case 0x8a: /* GET_HW_INFO.data_uptr */
		return 16;
	case 0x89: /* HWPT_ALLOC.data_uptr */
	case 0x90: /* VIOMMU_ALLOC.data_uptr */
		return 32;
	case 0x8d: /* HWPT_INVALIDATE.data_uptr */
		return 8;
	}
	return 0;
}

/* The file that a KVM-VFIO device is told of, by a pointer to its number. */
void put_vfio_file(struct line *line, unsigned long request,
		   const struct file *file, uintptr_t argument)
{
	struct kvm_device_attr attr;
	unsigned char number[sizeof(int32_t)];

	if (request == KVM_SET_DEVICE_ATTR &&
	    (!*file->name || !strcmp(file->name, "anon_inode:kvm-vfio")) &&
	    copy(&attr, argument, sizeof(attr)) && attr.group == 1)
		put_bytes(line, "data", copy(number, attr.addr, sizeof(number)),
			  number, sizeof(number));
}
