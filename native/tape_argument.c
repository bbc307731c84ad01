/* SPDX-License-Identifier: Apache-2.0 */
#include "tape.h"

#include <linux/kvm.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_ROUTES 4096
#define MAX_ARGSZ 16384

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

size_t argument_size(unsigned long request, uintptr_t argument, bool *cut)
{
	struct kvm_irq_routing table;
	uint32_t argsz;

	*cut = false;
	if (request == KVM_SET_GSI_ROUTING) {
		if (!copy(&table, argument, sizeof(table)))
			return sizeof(table);
		*cut = table.nr > MAX_ROUTES;
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
	*cut = argsz > MAX_ARGSZ;
	return *cut ? MAX_ARGSZ : argsz;
}

long long argument_value(unsigned long request, uintptr_t argument)
{
	switch (request) {
	case KVM_GET_API_VERSION:
	case KVM_CREATE_VM:
	case KVM_CHECK_EXTENSION:
	case KVM_GET_VCPU_MMAP_SIZE:
	case KVM_CREATE_VCPU:
	case KVM_SET_NR_MMU_PAGES:
	case KVM_SET_TSS_ADDR:
	case KVM_CREATE_IRQCHIP:
	case KVM_SET_BOOT_CPU_ID:
	case KVM_RUN:
	case KVM_NMI:
	case KVM_SET_TSC_KHZ:
	case KVM_GET_TSC_KHZ:
	case KVM_KVMCLOCK_CTRL:
	case KVM_SMI:
	case VFIO_GET_API_VERSION:
	case VFIO_CHECK_EXTENSION:
	case VFIO_SET_IOMMU:
	case VFIO_GROUP_UNSET_CONTAINER:
	case VFIO_DEVICE_RESET:
		return (long long)argument;
	}
	return 0;
}

static void mask(unsigned char *bytes, size_t size, size_t at)
{
	if (at + sizeof(uint64_t) <= size)
		memset(bytes + at, 0, sizeof(uint64_t));
}

/* By number where headers may be older, or know it for one machine only. */
static void mask_kvm(unsigned long request, unsigned char *bytes, size_t size)
{
	switch (_IOC_NR(request)) {
	case 0x46: /* SET_USER_MEMORY_REGION.userspace_addr */
	case 0x49: /* SET_USER_MEMORY_REGION2, as its elder */
		mask(bytes, size, 24);
		break;
	case 0x7a: /* XEN_HVM_CONFIG.blob_addr_32 and _64 */
		mask(bytes, size, 8);
		mask(bytes, size, 16);
		break;
	case 0x42: /* GET_DIRTY_LOG.dirty_bitmap */
	case 0xab: /* GET_ONE_REG.addr */
	case 0xac: /* SET_ONE_REG.addr */
		mask(bytes, size, 8);
		break;
	case 0xb4: /* ARM_COPY_MTE_TAGS.addr */
	case 0xc0: /* CLEAR_DIRTY_LOG.dirty_bitmap */
	case 0xe1: /* SET_DEVICE_ATTR.addr */
	case 0xe2: /* GET_DEVICE_ATTR.addr */
	case 0xe3: /* HAS_DEVICE_ATTR.addr */
		mask(bytes, size, 16);
		break;
	case 0xbb: /* MEMORY_ENCRYPT_REG_REGION.addr */
	case 0xbc: /* MEMORY_ENCRYPT_UNREG_REGION.addr */
		mask(bytes, size, 0);
		break;
	case 0xc6: /* X86_SET_MSR_FILTER.ranges[].bitmap */
		for (size_t at = 8; at < size; at += 24)
			mask(bytes, size, at + 16);
		break;
	}
}

/* A request of a container and another of a device share a number. */
static void mask_vfio(unsigned long request, const struct file *file,
		      unsigned char *bytes, size_t size)
{
	switch (request) {
	case VFIO_IOMMU_MAP_DMA: /* of a device: its hot reset, no pointer */
		if (!is_vfio_device(file))
			mask(bytes, size, 16); /* vaddr */
		break;
	case VFIO_IOMMU_UNMAP_DMA: /* of a device: a plane, no pointer */
		if (!is_vfio_device(file))
			mask(bytes, size, 40); /* data: bitmap.data */
		break;
	case VFIO_DEVICE_FEATURE: /* of a container: its dirty pages */
		if (!is_vfio_device(file)) {
			mask(bytes, size, 40); /* data: bitmap.data */
		} else if (size > 4 && bytes[4] == 6) {
			mask(bytes, size, 24); /* DMA_LOGGING_START.ranges */
		} else if (size > 4 && bytes[4] == 8) {
			mask(bytes, size, 32); /* DMA_LOGGING_REPORT.bitmap */
		}
		break;
	}
	switch (_IOC_NR(request)) { /* linux/iommufd.h, not in old headers */
	case 0x82: /* IOAS_ALLOW_IOVAS.allowed_iovas */
	case 0x84: /* IOAS_IOVA_RANGES.allowed_iovas */
	case 0x85: /* IOAS_MAP.user_va */
	case 0x8a: /* GET_HW_INFO.data_uptr */
		mask(bytes, size, 16);
		break;
	case 0x89: /* HWPT_ALLOC.data_uptr */
	case 0x90: /* VIOMMU_ALLOC.data_uptr */
		mask(bytes, size, 32);
		break;
	case 0x8c: /* HWPT_GET_DIRTY_BITMAP.data */
		mask(bytes, size, 40);
		break;
	case 0x8d: /* HWPT_INVALIDATE.data_uptr */
		mask(bytes, size, 8);
		break;
	}
}

void mask_pointers(unsigned long request, const struct file *file,
		   unsigned char *bytes, size_t size)
{
	if (_IOC_TYPE(request) == KVMIO)
		mask_kvm(request, bytes, size);
	else if (is_vfio(request))
		mask_vfio(request, file, bytes, size);
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
