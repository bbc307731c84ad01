/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.refusal;
import static io.kvmirq.explain.Text.*;

/** Refusals by iommufds, and by VFIO device files that are bound to an iommufd. Source: drivers/iommu/iommufd. */
public enum IommufdAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // Files
    IOMMUFD_NOT_THERE(refusal(UNTESTED, IOMMUFD, ENOENT, "iommufd is not loaded, or was not built (CONFIG_IOMMUFD)",
        "modprobe iommufd, and ls /dev/iommu", "drivers/iommu/iommufd/main.c")),
    IOMMUFD_PERMISSION(refusal(UNTESTED, IOMMUFD, EACCES, PERMISSION, "ls -l /dev/iommu", "fs/namei.c may_open()")),

    // Device files
    VFIO_BIND_GROUP_OPEN(refusal(SOURCE, VFIO_BIND, EBUSY, "the device's group is open", "ls -l /proc/*/fd | grep vfio",
        "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    IOMMUFD_BIND_OWNER(refusal(SOURCE, VFIO_BIND, EPERM, OWNER, GROUP,
        "drivers/iommu/iommufd/device.c iommufd_device_bind()")),
    BIND_ELSEWHERE(refusal(UNTESTED, VFIO_BIND, EPERM, "another iommufd has a device of the group",
        "ls -l /proc/*/fd | grep iommu", "iommu.c iommu_device_claim_dma_owner()")),
    VFIO_BIND_NOT_AN_IOMMUFD(refusal(SOURCE, VFIO_BIND, EBADFD, "the file is not an iommufd",
        "the descriptor: /dev/iommu", "drivers/iommu/iommufd/main.c iommufd_ctx_from_fd()")),
    VFIO_NOT_BOUND(refusal(SOURCE, ANY_DEVICE_IOCTL, EINVAL,
        "the VFIO device file is not bound to an iommufd yet", "VFIO_DEVICE_BIND_IOMMUFD comes first",
        "drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl(), _read(), _write()").also(VFIO_READ, VFIO_WRITE)),
    VFIO_BIND_ARGUMENTS(refusal(SOURCE, VFIO_BIND, EINVAL,
        "argsz is below 16, a flag is unknown, or the descriptor of the iommufd is negative",
        "argsz, flags and iommufd", "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    VFIO_BIND_OF_GROUP(refusal(SOURCE, VFIO_BIND, EINVAL,
        "the file was opened through a group; only files of /dev/vfio/devices are bound", "open /dev/vfio/devices/vfioN instead of"
        + " the group", "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    VFIO_BIND_TWICE(refusal(SOURCE, VFIO_BIND, EINVAL,
        "the file is bound already, or the device is open through another file",
        "one file and one BIND_IOMMUFD for a device", "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    VFIO_BIND_TOKEN(refusal(SOURCE, VFIO_BIND, EINVAL, "the device is not a virtual function and has no token",
        "flags without VFIO_DEVICE_BIND_FLAG_TOKEN", "drivers/vfio/pci/vfio_pci_core.c vfio_pci_validate_vf_token()")),
    VFIO_BIND_FD(refusal(SOURCE, VFIO_BIND, EBADF, "the iommufd is not open", "the descriptor: /dev/iommu",
        "drivers/iommu/iommufd/main.c iommufd_ctx_from_fd()")),
    GROUP_OWNER(refusal(UNTESTED, VFIO_DEVICE_FD, EPERM,
        "a host driver, or another iommufd, has a device of the group",
        GROUP, "iommu.c iommu_device_claim_dma_owner()").or(IOMMUFD_BIND_OWNER.row)),
    ATTACH_NO_SPACE(refusal(UNTESTED, VFIO_ATTACH, ENOENT, "the iommufd has no such address space",
        "the number that IOMMU_IOAS_ALLOC returned", "drivers/iommu/iommufd/device.c iommufd_device_change_pt()")),
    IOMMUFD_ATTACH_INCOMPATIBLE(refusal(SOURCE, VFIO_ATTACH, EINVAL,
        "the device is not bound, or the address space does not fit its IOMMU", "BIND_IOMMUFD first, and the reserved"
        + " regions of the device's group", "drivers/iommu/iommufd/device.c iommufd_device_change_pt()")),
    VFIO_ATTACH_ARGUMENTS(refusal(SOURCE, VFIO_ATTACH, EINVAL, "argsz is below 12 (8 of DETACH), or a flag is unknown",
        "argsz and flags", "drivers/vfio/device_cdev.c vfio_df_ioctl_attach_pt()")),
    VFIO_ATTACH_PASID(refusal(SOURCE, VFIO_ATTACH, EOPNOTSUPP, "the device's driver does not support attaching a PASID",
        "flags: without VFIO_DEVICE_ATTACH_PASID", "drivers/vfio/device_cdev.c vfio_df_ioctl_attach_pt()")),
    IOMMUFD_ATTACH_MAPPED(refusal(SOURCE, VFIO_ATTACH, EADDRINUSE,
        "the address space has a mapping that the device's IOMMU reserves, or that is not of whole pages",
        RESERVED, "drivers/iommu/iommufd/io_pagetable.c iopt_table_enforce_dev_resv_regions()")),
    DEVICE_MAPPED(refusal(UNTESTED, VFIO_DEVICE_FD, EADDRINUSE,
        "the group's iommufd has a mapping that the device's IOMMU reserves", RESERVED,
        "drivers/iommu/iommufd/io_pagetable.c iopt_table_enforce_dev_resv_regions()").or(IOMMUFD_ATTACH_MAPPED.row)),

    // Address spaces
    IOMMUFD_SIZE(refusal(SOURCE, IOMMU_REQUEST, EINVAL, "the size at the start of the structure is too small",
        "size: that of the structure in linux/iommufd.h", "drivers/iommu/iommufd/main.c iommufd_fops_ioctl()")),
    IOMMUFD_TRAILING(refusal(SOURCE, IOMMU_REQUEST, E2BIG,
        "the structure is longer than this kernel's, and the rest is not 0",
        "size or argsz, and zeros after the part that the kernel knows",
        "include/linux/uaccess.h copy_struct_from_user()")
        .also(VFIO_BIND, VFIO_ATTACH)),
    IOMMUFD_FLAGS(refusal(SOURCE, IOMMU_REQUEST, EOPNOTSUPP,
        "a flag or an operation is unknown, or a reserved field is not 0",
        "flags, op and reserved fields", "drivers/iommu/iommufd/ioas.c")),
    IOMMUFD_NO_OBJECT(refusal(SOURCE, IOMMU_REQUEST, ENOENT, "the iommufd has no such object, or it is of another kind",
        "the number returned by the request that created it",
        "drivers/iommu/iommufd/main.c iommufd_get_object()").or(ATTACH_NO_SPACE.row)),
    IOMMUFD_OBJECT_USED(refusal(SOURCE, IOMMU_REQUEST, EBUSY,
        "another object uses it: a device is attached to the address space, or is bound",
        "detach and close the devices first", "drivers/iommu/iommufd/main.c iommufd_object_remove()")),
    IOMMUFD_RANGES_ROOM(refusal(SOURCE, IOMMU_REQUEST, EMSGSIZE,
        "the caller's array is too small for all ranges; num_iovas now holds their number",
        "call again with that many", "drivers/iommu/iommufd/ioas.c iommufd_ioas_iova_ranges()")),
    IOMMUFD_MAP_EXISTS(refusal(SOURCE, IOAS_MAP, EEXIST, "a part of the range is mapped already", "unmap it first",
        "drivers/iommu/iommufd/io_pagetable.c iopt_insert_area()").or(VfioAnswer.VFIO_MAP_EXISTS.row())),
    IOMMUFD_MAP_RANGE(refusal(SOURCE, IOAS_MAP, EINVAL, MAP_RANGE,
        "IOMMU_IOAS_IOVA_RANGES; on x86 0xfee00000 is for messages",
        "drivers/iommu/iommufd/io_pagetable.c iopt_map_user_pages()").or(VfioAnswer.VFIO_MAP_RANGE.row())),
    IOMMUFD_UNMAP_RANGE(refusal(SOURCE, IOAS_UNMAP, ENOENT,
        "the range is not mapped, or begins or ends inside a mapping",
        "unmap exactly what was mapped", "drivers/iommu/iommufd/io_pagetable.c iopt_unmap_iova_range()")),
    IOMMUFD_MAP_WRAPS(refusal(SOURCE, IOAS_MAP, EOVERFLOW, "the range ends beyond 2^64", "user_va, iova and length",
        "drivers/iommu/iommufd/ioas.c iommufd_ioas_map()").or(VfioAnswer.VFIO_MAP_WRAPS.row())),
    IOMMUFD_UNMAP_EMPTY(refusal(SOURCE, IOAS_UNMAP, EINVAL, "length is 0",
        "iova and length; iova 0 and length 2^64-1 unmap all",
        "drivers/iommu/iommufd/io_pagetable.c iopt_unmap_iova()").or(VfioAnswer.VFIO_UNMAP_RANGE.row())),
    IOMMUFD_UNMAP_WRAPS(refusal(SOURCE, IOAS_UNMAP, EOVERFLOW, "the range ends beyond 2^64", "iova and length",
        "drivers/iommu/iommufd/io_pagetable.c iopt_unmap_iova()").or(VfioAnswer.VFIO_UNMAP_WRAPS.row())),
    COMPATIBLE_UNMAP_RANGE(refusal(UNTESTED, VFIO_UNMAP, ENOENT,
        "with an iommufd, nothing in the range is mapped, or it begins or ends inside a mapping", "unmap what was mapped",
        "drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_unmap_dma()").or(IOMMUFD_UNMAP_RANGE.row)),

    // Container requests to an iommufd
    IOMMUFD_NO_COMPATIBLE(refusal(SOURCE, VFIO_IOMMU, ENODEV, NO_COMPATIBLE, COMPATIBLE,
        "drivers/iommu/iommufd/vfio_compat.c get_compat_ioas()").also(VFIO_MAP, VFIO_UNMAP)),
    IOMMUFD_NO_COMPATIBLE_DEVICE(refusal(UNTESTED, VFIO_DEVICE_FD, ENODEV, NO_COMPATIBLE, COMPATIBLE,
        "drivers/iommu/iommufd/vfio_compat.c"
        + " get_compat_ioas()").also(IOMMU_REQUEST).unless(TYPED_CALL).or(IOMMUFD_NO_COMPATIBLE.row)),
    IOMMUFD_TYPE(refusal(SOURCE, VFIO_IOMMU, EINVAL, "an iommufd supports only type 1 and type 1 version 2",
        "VFIO_TYPE1v2_IOMMU", "drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_set_iommu()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    IommufdAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
