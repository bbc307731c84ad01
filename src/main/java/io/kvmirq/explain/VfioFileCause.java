/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;

import io.kvmirq.Errno;

/** Of opening VFIO's files, of iommufd and of a device's regions: drivers/vfio, drivers/iommu/iommufd. */
public enum VfioFileCause implements Cause {
    GROUP_NOT_THERE(refusal(
            KernelCall.VFIO_GROUP,
            Errno.ENOENT,
            "no device of this group is bound to a VFIO driver, this kernel has no VFIO groups, or a container lacks the file",
            "the device's driver link in sysfs, and ls /dev/vfio",
            "drivers/vfio/group.c vfio_create_group()")),
    GROUP_PERMISSION(refusal(
            KernelCall.VFIO_GROUP,
            Errno.EACCES,
            Text.PERMISSION,
            "ls -l /dev/vfio: chown USER of the group's node, and keep vfio's own open to all",
            "fs/namei.c may_open()")),
    GROUP_NO_IOMMU(refusal(
            KernelCall.VFIO_GROUP,
            Errno.EPERM,
            "the group has no IOMMU and needs CAP_SYS_RAWIO, or a container forbids the node",
            "/sys/kernel/iommu_groups, and the container's device list",
            "drivers/vfio/group.c vfio_group_fops_open()")),
    GROUP_DRIVER_GONE(refusal(
            KernelCall.VFIO_GROUP,
            Errno.ENODEV,
            "the device was removed, or its driver is gone",
            "the device's driver link in sysfs",
            "drivers/vfio/group.c vfio_group_fops_open()")),
    CDEV_NOT_THERE(refusal(
            KernelCall.VFIO_CDEV,
            Errno.ENOENT,
            "the device is not bound to a VFIO driver, or the kernel has no VFIO device files (CONFIG_VFIO_DEVICE_CDEV)",
            "ls /dev/vfio/devices, and vfio-dev below the device in sysfs",
            "drivers/vfio/device_cdev.c")),
    CDEV_PERMISSION(refusal(
            KernelCall.VFIO_CDEV, Errno.EACCES, Text.PERMISSION, "ls -l /dev/vfio/devices", "fs/namei.c may_open()")),
    CDEV_GONE(refusal(
            KernelCall.VFIO_CDEV,
            Errno.ENODEV,
            "the device was removed, or its driver is gone",
            "the device's driver link in sysfs",
            "drivers/vfio/device_cdev.c vfio_device_fops_cdev_open()")),
    CONTAINER_NOT_THERE(refusal(
            KernelCall.VFIO_CONTAINER_OPEN,
            Errno.ENOENT,
            "VFIO is not loaded or was built without containers, or a container lacks the file",
            "modprobe vfio-pci, and ls /dev/vfio",
            "drivers/vfio/container.c vfio_container_init()")),
    CONTAINER_PERMISSION(refusal(
            KernelCall.VFIO_CONTAINER_OPEN,
            Errno.EACCES,
            Text.PERMISSION,
            "ls -l /dev/vfio/vfio: mode 666 is safe, its groups decide",
            "fs/namei.c may_open()")),
    IOMMUFD_NOT_THERE(refusal(
            KernelCall.IOMMUFD,
            Errno.ENOENT,
            "iommufd is not loaded, or was not built (CONFIG_IOMMUFD)",
            "modprobe iommufd, and ls /dev/iommu",
            "drivers/iommu/iommufd/main.c")),
    IOMMUFD_PERMISSION(
            refusal(KernelCall.IOMMUFD, Errno.EACCES, Text.PERMISSION, "ls -l /dev/iommu", "fs/namei.c may_open()")),
    BIND_BUSY(refusal(
            KernelCall.VFIO_BIND,
            Errno.EBUSY,
            "the device's group is open",
            "ls -l /proc/*/fd | grep vfio",
            "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    BIND_NOT_VIABLE(refusal(
            KernelCall.VFIO_BIND,
            Errno.EPERM,
            "a driver of the host has another device of the group",
            "/sys/kernel/iommu_groups/N/devices: bind each one to vfio-pci or to no driver",
            "drivers/iommu/iommufd/device.c iommufd_device_bind()")),
    BIND_NO_REMAPPING(refusal(
            KernelCall.VFIO_DEVICE_FD,
            Errno.EPERM,
            "the IOMMU does not remap interrupts: enable that in firmware, or, if all guests are trusted, load iommufd with"
                    + " allow_unsafe_interrupts=1",
            "dmesg | grep -i remapping",
            "drivers/iommu/iommufd/device.c iommufd_device_bind()")),
    BIND_ELSEWHERE(refusal(
            KernelCall.VFIO_BIND,
            Errno.EPERM,
            "another iommufd has a device of the group",
            "ls -l /proc/*/fd | grep iommu",
            "iommu.c iommu_device_claim_dma_owner()")),
    BIND_FD(refusal(
            KernelCall.VFIO_BIND,
            Errno.EBADFD,
            "the file is not an iommufd",
            "the descriptor: /dev/iommu",
            "drivers/iommu/iommufd/main.c iommufd_ctx_from_fd()")),
    ATTACH_NO_SPACE(refusal(
            KernelCall.VFIO_ATTACH,
            Errno.ENOENT,
            "the iommufd has no such address space",
            "the number that IOMMU_IOAS_ALLOC returned",
            "drivers/iommu/iommufd/device.c iommufd_device_change_pt()")),
    ATTACH_INCOMPATIBLE(refusal(
            KernelCall.VFIO_ATTACH,
            Errno.EINVAL,
            "the device is not bound, or the address space does not fit its IOMMU",
            "BIND_IOMMUFD first, and the reserved regions of the device's group",
            "drivers/iommu/iommufd/device.c iommufd_device_change_pt()")),
    IOAS_MAP_EXISTS(refusal(
            KernelCall.IOAS_MAP,
            Errno.EEXIST,
            "a part of the range is mapped already",
            "unmap it first",
            "drivers/iommu/iommufd/io_pagetable.c iopt_insert_area()")),
    IOAS_MAP_RANGE(refusal(
            KernelCall.IOAS_MAP,
            Errno.EINVAL,
            "size is 0, READ and WRITE are missing, a number is no multiple of the page size, or the IOMMU reserves a"
                    + " part of the range",
            "IOMMU_IOAS_IOVA_RANGES; on x86 0xfee00000 is for messages",
            "drivers/iommu/iommufd/io_pagetable.c iopt_map_user_pages()")),
    IOAS_MAP_LOCKED(refusal(
            KernelCall.IOAS_MAP,
            Errno.ENOMEM,
            VfioCause.LOCKED_MEMORY,
            VfioCause.LOCKED,
            "drivers/iommu/iommufd/pages.c do_update_pinned()")),
    IOAS_UNMAP_RANGE(refusal(
            KernelCall.IOAS_UNMAP,
            Errno.ENOENT,
            "the range is not mapped, or begins or ends inside a mapping",
            "unmap what was mapped",
            "drivers/iommu/iommufd/io_pagetable.c iopt_unmap_iova_range()")),
    REGION_READ_DISABLED(
            refusal(KernelCall.VFIO_READ, Errno.EIO, Text.DISABLED, Text.ENABLE, "vfio_pci_rdwr.c vfio_pci_bar_rw()")),
    REGION_READ_RANGE(
            refusal(KernelCall.VFIO_READ, Errno.EINVAL, Text.OUTSIDE, Text.REGION, "vfio_pci_core.c vfio_pci_rw()")),
    REGION_WRITE_DISABLED(
            refusal(KernelCall.VFIO_WRITE, Errno.EIO, Text.DISABLED, Text.ENABLE, "vfio_pci_rdwr.c vfio_pci_bar_rw()")),
    REGION_WRITE_RANGE(
            refusal(KernelCall.VFIO_WRITE, Errno.EINVAL, Text.OUTSIDE, Text.REGION, "vfio_pci_core.c vfio_pci_rw()")),
    NOT_A_VFIO_DEVICE(refusal(
            KernelCall.VFIO_INFO,
            Errno.ENOTTY,
            "the file is of another kind",
            "readlink /proc/PID/fd/N: anon_inode:[vfio-device], or /dev/vfio/devices/vfioN",
            "fs/ioctl.c"));

    /** What several say. */
    private static final class Text {
        static final String PERMISSION = "this user may not open it: the administrator must give it to the user";
        static final String DISABLED = "memory or I/O space of the device is off, or the device is powered down";
        static final String ENABLE = "bits 0 and 1 of COMMAND in configuration space";
        static final String OUTSIDE =
                "the access is outside of the region, or the region has another size or no access";
        static final String REGION = "VFIO_DEVICE_GET_REGION_INFO: size and flags";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    VfioFileCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
