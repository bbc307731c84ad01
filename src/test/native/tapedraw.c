/* SPDX-License-Identifier: Apache-2.0 */
/* Calls with addresses in them, long ones and short ones. Needs no KVM. */
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* All bits of any address: none may be on the tape. */
#define ADDRESS 0x1122334455667788

int main(void)
{
	static uint32_t large[5000] = { sizeof(large) };
	uint64_t words[6] = { ADDRESS, ADDRESS, ADDRESS,
			      ADDRESS, ADDRESS, ADDRESS };
	struct kvm_enc_region region = { .addr = ADDRESS, .size = 7 };
	struct kvm_clear_dirty_log clear = { .padding2 = ADDRESS };
	struct kvm_dirty_log log = { .padding2 = ADDRESS };
	uint32_t *unmap = (uint32_t *)words;
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map),
						.vaddr = ADDRESS,
						.iova = 0xabcdef };
	int fd = eventfd(0, 0);

	/* The tape is found again, wherever we are. */
	if (chdir("/"))
		return 1;
	for (int other = 500; other < 600; other++)
		close(other);
	ioctl(-1, KVM_MEMORY_ENCRYPT_REG_REGION, &region);
	ioctl(-1, KVM_CLEAR_DIRTY_LOG, &clear);
	ioctl(-1, KVM_GET_DIRTY_LOG, &log);
	words[1] = words[2] = words[3] = words[4] = 0;
	unmap[0] = sizeof(words);
	unmap[1] = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	ioctl(-1, VFIO_IOMMU_UNMAP_DMA, words);
	ioctl(-1, KVM_REINJECT_CONTROL, ADDRESS);
	ioctl(-1, KVM_SET_TSS_ADDR, 0xfffbd000UL);
	ioctl(-1, VFIO_DEVICE_SET_IRQS, large);
	ioctl(-1, VFIO_IOMMU_MAP_DMA, &map);
	return write(fd, words, 4) == -1 ? 0 : 1;
}
