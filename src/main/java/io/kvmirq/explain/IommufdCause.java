/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Fact.TYPED_CALL;

import io.kvmirq.Errno;

/** Of iommufds, and of the files of VFIO devices that are bound to them: drivers/iommu/iommufd, drivers/vfio/device_cdev.c. */
public enum IommufdCause implements Cause {
    NOT_BOUND(refusal(
            KernelCall.ANY_IOCTL,
            Errno.EINVAL,
            "the file of the VFIO device is not bound to an iommufd yet",
            "VFIO_DEVICE_BIND_IOMMUFD comes first",
            "drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()")),
    NOT_BOUND_READ(refusal(
            KernelCall.VFIO_READ,
            Errno.EINVAL,
            "the file of the device is not bound to an iommufd yet",
            "VFIO_DEVICE_BIND_IOMMUFD comes first",
            "drivers/vfio/vfio_main.c vfio_device_fops_read()")),
    NOT_BOUND_WRITE(refusal(
            KernelCall.VFIO_WRITE,
            Errno.EINVAL,
            "the file of the device is not bound to an iommufd yet",
            "VFIO_DEVICE_BIND_IOMMUFD comes first",
            "drivers/vfio/vfio_main.c vfio_device_fops_write()")),
    BIND_ARGUMENTS(refusal(
            KernelCall.VFIO_BIND,
            Errno.EINVAL,
            "argsz is below 16, a flag is unknown, or the descriptor of the iommufd is negative",
            "argsz, flags and iommufd",
            "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    BIND_OF_GROUP(refusal(
            KernelCall.VFIO_BIND,
            Errno.EINVAL,
            "a group opened the file; only files of /dev/vfio/devices are bound",
            "open /dev/vfio/devices/vfioN instead of the group",
            "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    BIND_TWICE(refusal(
            KernelCall.VFIO_BIND,
            Errno.EINVAL,
            "the file is bound already, or the device is open through another file",
            "one file and one BIND_IOMMUFD for a device",
            "drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()")),
    BIND_TOKEN(refusal(
            KernelCall.VFIO_BIND,
            Errno.EINVAL,
            "the device is no virtual function and has no token",
            "flags without VFIO_DEVICE_BIND_FLAG_TOKEN",
            "drivers/vfio/pci/vfio_pci_core.c vfio_pci_validate_vf_token()")),
    BIND_NOT_OPEN(refusal(
            KernelCall.VFIO_BIND,
            Errno.EBADF,
            "the iommufd is not open",
            "the descriptor: /dev/iommu",
            "drivers/iommu/iommufd/main.c iommufd_ctx_from_fd()")),
    ATTACH_ARGUMENTS(refusal(
            KernelCall.VFIO_ATTACH,
            Errno.EINVAL,
            "argsz is below 12 (8 of DETACH), or a flag is unknown",
            "argsz and flags",
            "drivers/vfio/device_cdev.c vfio_df_ioctl_attach_pt()")),
    ATTACH_PASID(refusal(
            KernelCall.VFIO_ATTACH,
            Errno.EOPNOTSUPP,
            "the device's driver attaches no PASID",
            "flags: without VFIO_DEVICE_ATTACH_PASID",
            "drivers/vfio/device_cdev.c vfio_df_ioctl_attach_pt()")),
    ATTACH_MAPPED(refusal(
            KernelCall.VFIO_ATTACH,
            Errno.EADDRINUSE,
            "the address space has a mapping that the IOMMU of the device reserves, or that is not of whole pages",
            "unmap it first: /sys/kernel/iommu_groups/N/reserved_regions",
            "drivers/iommu/iommufd/io_pagetable.c iopt_table_enforce_dev_resv_regions()")),
    DEVICE_MAPPED(refusal(
            KernelCall.VFIO_DEVICE_FD,
            Errno.EADDRINUSE,
            "the iommufd of the group has a mapping that the IOMMU of the device reserves",
            "unmap it first: /sys/kernel/iommu_groups/N/reserved_regions",
            "drivers/iommu/iommufd/io_pagetable.c iopt_table_enforce_dev_resv_regions()")),
    GROUP_OWNER(refusal(
            KernelCall.VFIO_DEVICE_FD,
            Errno.EPERM,
            "a driver of the host, or another iommufd, has a device of the group",
            "/sys/kernel/iommu_groups/N/devices: bind each one to vfio-pci or to no driver",
            "iommu.c iommu_device_claim_dma_owner()")),
    IOMMUFD_SIZE(refusal(
            KernelCall.IOMMU_REQUEST,
            Errno.EINVAL,
            "the size that the structure begins with is too short",
            "size: that of the structure in linux/iommufd.h",
            "drivers/iommu/iommufd/main.c iommufd_fops_ioctl()")),
    IOMMUFD_TRAILING(refusal(
            KernelCall.ANY_IOCTL,
            Errno.E2BIG,
            "the structure is longer than this kernel knows, and the rest is not 0",
            "size or argsz, and zeros after what the kernel knows",
            "include/linux/uaccess.h copy_struct_from_user()")),
    IOMMUFD_FLAGS(refusal(
            KernelCall.IOMMU_REQUEST,
            Errno.EOPNOTSUPP,
            "a flag or an operation is unknown, or a reserved field is not 0",
            "flags, op and reserved fields",
            "drivers/iommu/iommufd/ioas.c")),
    IOMMUFD_NO_OBJECT(refusal(
            KernelCall.IOMMU_REQUEST,
            Errno.ENOENT,
            "the iommufd has no such object, or it is of another kind",
            "the number that the request returned that created it",
            "drivers/iommu/iommufd/main.c iommufd_get_object()")),
    IOMMUFD_OBJECT_USED(refusal(
            KernelCall.IOMMU_REQUEST,
            Errno.EBUSY,
            "another object uses it: a device is attached to the address space, or is bound",
            "detach and close the devices first",
            "drivers/iommu/iommufd/main.c iommufd_object_remove()")),
    IOMMUFD_RANGES_ROOM(refusal(
            KernelCall.IOMMU_REQUEST,
            Errno.EMSGSIZE,
            "there are more ranges than the caller has room for; num_iovas says how many",
            "call again with that many",
            "drivers/iommu/iommufd/ioas.c iommufd_ioas_iova_ranges()")),
    IOAS_MAP_WRAPS(refusal(
            KernelCall.IOAS_MAP,
            Errno.EOVERFLOW,
            "the range ends beyond 2^64",
            "user_va, iova and length",
            "drivers/iommu/iommufd/ioas.c iommufd_ioas_map()")),
    IOAS_UNMAP_EMPTY(refusal(
            KernelCall.IOAS_UNMAP,
            Errno.EINVAL,
            "length is 0",
            "iova and length; iova 0 and length 2^64-1 unmap all",
            "drivers/iommu/iommufd/io_pagetable.c iopt_unmap_iova()")),
    IOAS_UNMAP_WRAPS(refusal(
            KernelCall.IOAS_UNMAP,
            Errno.EOVERFLOW,
            "the range ends beyond 2^64",
            "iova and length",
            "drivers/iommu/iommufd/io_pagetable.c iopt_unmap_iova()")),
    COMPATIBLE_UNMAP_RANGE(refusal(
            KernelCall.VFIO_UNMAP,
            Errno.ENOENT,
            "of an iommufd: nothing of the range is mapped, or it begins or ends inside a mapping",
            "unmap what was mapped",
            "drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_unmap_dma()")),
    IOMMUFD_NO_COMPATIBLE(refusal(
            KernelCall.VFIO_IOMMU,
            Errno.ENODEV,
            Text.NO_COMPATIBLE,
            Text.COMPATIBLE,
            "drivers/iommu/iommufd/vfio_compat.c get_compat_ioas()")),
    IOMMUFD_NO_COMPATIBLE_MAP(refusal(
            KernelCall.VFIO_MAP,
            Errno.ENODEV,
            Text.NO_COMPATIBLE,
            Text.COMPATIBLE,
            "drivers/iommu/iommufd/vfio_compat.c get_compat_ioas()")),
    IOMMUFD_NO_COMPATIBLE_UNMAP(refusal(
            KernelCall.VFIO_UNMAP,
            Errno.ENODEV,
            Text.NO_COMPATIBLE,
            Text.COMPATIBLE,
            "drivers/iommu/iommufd/vfio_compat.c get_compat_ioas()")),
    IOMMUFD_NO_COMPATIBLE_DEVICE(refusal(
                    KernelCall.VFIO_DEVICE_FD,
                    Errno.ENODEV,
                    Text.NO_COMPATIBLE,
                    Text.COMPATIBLE,
                    "drivers/iommu/iommufd/vfio_compat.c get_compat_ioas()")
            .unless(TYPED_CALL)),
    IOMMUFD_NO_COMPATIBLE_REQUEST(refusal(
                    KernelCall.IOMMU_REQUEST,
                    Errno.ENODEV,
                    Text.NO_COMPATIBLE,
                    Text.COMPATIBLE,
                    "drivers/iommu/iommufd/vfio_compat.c get_compat_ioas()")
            .unless(TYPED_CALL)),
    COMPATIBLE_TYPE(refusal(
            KernelCall.VFIO_IOMMU,
            Errno.EINVAL,
            "an iommufd has type 1 and type 1 version 2 only",
            "VFIO_TYPE1v2_IOMMU",
            "drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_set_iommu()"));

    /** What several say. */
    private static final class Text {
        static final String NO_COMPATIBLE = "the iommufd has no address space for requests of containers";
        static final String COMPATIBLE =
                "VFIO_GROUP_SET_CONTAINER of a group with the iommufd first, or IOMMU_VFIO_IOAS";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    IommufdCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
