/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.like;
import static io.kvmirq.explain.Row.refusal;
import static io.kvmirq.explain.Text.*;

/** Refusals and behaviours of VFIO's containers, groups, DMA mappings and devices. Source: drivers/vfio. */
public enum VfioAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // Groups and containers
    VFIO_GROUP_BUSY(refusal(LAB, VFIO_GROUP, EBUSY, "a process, maybe this one, has the group open, or one of its"
        + " devices through a cdev: open a group's devices through one VfioGroup",
        "ls -l /proc/*/fd | grep vfio", "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    GROUP_NOT_THERE(refusal(UNTESTED, VFIO_GROUP, ENOENT, "no device of this group is bound to a VFIO driver, this"
        + " kernel has no VFIO groups, or a container lacks the file",
        "the device's driver link in sysfs, and ls /dev/vfio", "drivers/vfio/group.c vfio_create_group()")),
    GROUP_PERMISSION(refusal(UNTESTED, VFIO_GROUP, EACCES, PERMISSION,
        "ls -l /dev/vfio: chown the group's node to USER, and leave /dev/vfio/vfio open to all", "fs/namei.c may_open()")),
    GROUP_NO_IOMMU(refusal(UNTESTED, VFIO_GROUP, EPERM,
        "the group has no IOMMU and needs CAP_SYS_RAWIO, or a container forbids the node",
        "/sys/kernel/iommu_groups, and the container's device list", "drivers/vfio/group.c vfio_group_fops_open()")),
    DEVICE_GONE(refusal(UNTESTED, VFIO_GROUP, ENODEV, "the device was removed, or its driver is gone",
        "the device's driver link in sysfs", "drivers/vfio/group.c vfio_group_fops_open(), drivers/vfio/device_cdev.c"
        + " vfio_device_fops_cdev_open()").also(VFIO_CDEV)),
    CDEV_NOT_THERE(refusal(UNTESTED, VFIO_CDEV, ENOENT,
        "the device is not bound to a VFIO driver, or the kernel has no VFIO device files (CONFIG_VFIO_DEVICE_CDEV)",
        "ls /dev/vfio/devices, and vfio-dev below the device in sysfs", "drivers/vfio/device_cdev.c")),
    CDEV_PERMISSION(refusal(UNTESTED, VFIO_CDEV, EACCES, PERMISSION, "ls -l /dev/vfio/devices",
        "fs/namei.c may_open()")),
    CONTAINER_NOT_THERE(refusal(UNTESTED, VFIO_CONTAINER_OPEN, ENOENT,
        "VFIO is not loaded or was built without containers, or a container lacks the file",
        "modprobe vfio-pci, and ls /dev/vfio", "drivers/vfio/container.c vfio_container_init()")),
    CONTAINER_PERMISSION(refusal(UNTESTED, VFIO_CONTAINER_OPEN, EACCES, PERMISSION,
        "ls -l /dev/vfio/vfio: mode 666 is safe, because access to the groups decides", "fs/namei.c may_open()")),
    VFIO_GROUP_GONE(refusal(SOURCE, VFIO_INFO, ENODEV, "the host removed all devices of the group",
        "close the group, and look for the device in sysfs",
        "group.c vfio_group_ioctl_get_status(), vfio_group_ioctl_set_container()").also(VFIO_CONTAINER)),
    VFIO_GROUP_NOT_VIABLE(refusal(SOURCE, VFIO_CONTAINER, EPERM, OWNER, GROUP,
        "iommu.c iommu_group_claim_dma_owner()")),
    GROUP_HAS_DOMAIN(refusal(UNTESTED, VFIO_CONTAINER, EBUSY, "a host driver has attached the group, or one of"
        + " its PASIDs, to its own IOMMU domain", "unbind the host's drivers from all devices of the group",
        "drivers/iommu/iommu.c __iommu_take_dma_ownership()").also(VFIO_DEVICE_FD)),
    GROUP_NO_REMAPPING(refusal(UNTESTED, VFIO_CONTAINER, EPERM, "the IOMMU does not remap interrupts: enable that in"
        + " firmware, or, if all guests are trusted, load vfio_iommu_type1 with allow_unsafe_interrupts=1",
        "dmesg | grep -i remapping", "vfio_iommu_type1.c vfio_iommu_type1_attach_group()").also(VFIO_IOMMU)),
    VFIO_CONTAINER_FD(refusal(LAB, VFIO_CONTAINER, EBADF, "the container is not open",
        "the descriptor behind the argument", "group.c vfio_group_ioctl_set_container()")),
    VFIO_CONTAINER_SET(refusal(LAB, VFIO_CONTAINER, EINVAL, "the group has a container already",
        "UNSET_CONTAINER first", "group.c vfio_group_ioctl_set_container()")),
    VFIO_NOT_A_CONTAINER(refusal(SOURCE, VFIO_CONTAINER, EBADFD, "the file is neither a VFIO container nor an iommufd",
        "the descriptor behind the argument: /dev/vfio/vfio", "group.c vfio_group_ioctl_set_container()")),
    VFIO_NOT_A_CONTAINER_BEFORE(refusal(LAB, VFIO_CONTAINER, EINVAL,
        "the file is not a VFIO container, on a kernel before 6.2",
        "the descriptor behind the argument: /dev/vfio/vfio", "vfio_main.c vfio_group_ioctl_set_container()")),
    VFIO_NO_CONTAINER(refusal(LAB, VFIO_CONTAINER_UNSET, EINVAL, "the group has no container",
        "GROUP_GET_STATUS, which shows it", "group.c vfio_group_ioctl_unset_container()")),
    VFIO_CONTAINER_IN_USE(refusal(LAB, VFIO_CONTAINER_UNSET, EBUSY, "a device of the group is open",
        "close the files of its devices first", "group.c vfio_group_ioctl_unset_container()")),
    VFIO_IOMMU_STATE(refusal(LAB, VFIO_IOMMU, EINVAL, "no group has this container, or its IOMMU type is set already",
        "SET_CONTAINER of a group first, then SET_IOMMU once", "container.c vfio_ioctl_set_iommu()")),
    VFIO_IOMMU_TYPE(refusal(LAB, VFIO_IOMMU, ENODEV, "no IOMMU driver has this type",
        "VFIO_CHECK_EXTENSION of the type", "container.c vfio_ioctl_set_iommu()")),
    VFIO_IOMMU_NO_TYPE(refusal(LAB, VFIO_IOMMU, EINVAL, "an extension of the IOMMU driver that is not an IOMMU type",
        "VFIO_TYPE1v2_IOMMU", "vfio_iommu_type1.c vfio_iommu_type1_open()")),
    VFIO_IOMMU_NESTING(refusal(SOURCE, VFIO_IOMMU, EINVAL, "a group's IOMMU does not support nesting", "VFIO_TYPE1v2_IOMMU",
        "vfio_iommu_type1.c vfio_iommu_type1_attach_group()")),
    VFIO_EXTENSIONS(behaviour(LAB, "an extension that the IOMMU driver lacks reads 0",
        "container.c VFIO_CHECK_EXTENSION")),

    // DMA mappings
    VFIO_CONTAINER_WITHOUT_IOMMU(refusal(LAB, VFIO_MAP, EINVAL, "the container has no IOMMU type yet",
        "SET_CONTAINER of a group, then SET_IOMMU, come first",
        "container.c vfio_fops_unl_ioctl()").also(VFIO_IOMMU_INFO).or(FileAnswer.KVM_UNKNOWN_REQUEST.row())),
    VFIO_MAP_ARGUMENTS(refusal(LAB, VFIO_MAP, EINVAL, "argsz is below 32, or a flag is unknown", "argsz and flags",
        "vfio_iommu_type1.c vfio_iommu_type1_map_dma()")),
    VFIO_MAP_RANGE(refusal(LAB, VFIO_MAP, EINVAL,
        "size is 0, READ and WRITE are missing, or a number is not a multiple of the page size",
        "flags, vaddr, iova and size", "vfio_iommu_type1.c vfio_dma_do_map()")),
    VFIO_MAP_WRAPS_BEFORE(like(LAB, VFIO_MAP_RANGE.row)),
    VFIO_MAP_WRAPS(refusal(SOURCE, VFIO_MAP, EOVERFLOW, "the range ends beyond 2^64",
        "vaddr, iova and size; before 6.18 this is EINVAL", "vfio_iommu_type1.c vfio_dma_do_map()")),
    VFIO_MAP_EXISTS(refusal(LAB, VFIO_MAP, EEXIST, "a part of the range is mapped already", "unmap it first",
        "vfio_iommu_type1.c vfio_dma_do_map()")),
    VFIO_MAP_LIMIT(refusal(SOURCE, VFIO_MAP, ENOSPC, "the container has reached its mapping limit",
        "the dma_entry_limit parameter of vfio_iommu_type1", "vfio_iommu_type1.c vfio_dma_do_map()")),
    DMA_MAP_LOCKED(refusal(SOURCE, VFIO_MAP, ENOMEM, "RLIMIT_MEMLOCK is too low for this much DMA memory: raise it,"
        + " or give the process CAP_IPC_LOCK", "ulimit -l, and VmPin and VmLck in /proc/PID/status",
        "vfio_iommu_type1.c vfio_pin_pages_remote(), drivers/iommu/iommufd/pages.c do_update_pinned()").also(IOAS_MAP, VFIO_ATTACH)),
    VFIO_MAP_RESERVED(refusal(LAB, VFIO_MAP, EINVAL, "the IOMMU reserves a part of the range",
        "/sys/kernel/iommu_groups/N/reserved_regions; on x86 0xfee00000 is for messages",
        "vfio_iommu_type1.c vfio_dma_do_map()")),
    MAP_ABOVE_WIDTH(refusal(UNTESTED, VFIO_MAP, EINVAL, "the range is above the addresses that the IOMMU translates:"
        + " with 39 bits they end at 512 GiB, and a guest may place large BARs higher",
        "VFIO_IOMMU_GET_INFO, which lists the ranges; QEMU: -cpu host,host-phys-bits-limit=39",
        "vfio_iommu_type1.c vfio_iommu_iova_dma_valid()").also(IOAS_MAP)),
    MAP_ABOVE_WIDTH_OF_DOMAIN(refusal(UNTESTED, VFIO_MAP, EFAULT, "the range is above the addresses that the IOMMU"
        + " domain translates", "dmesg | grep 'iommu width'", "drivers/iommu/intel/iommu.c intel_iommu_map()")),
    MAP_NOT_PINNED(refusal(UNTESTED, VFIO_MAP, EFAULT, "the memory at vaddr cannot be pinned: nothing is mapped there, it"
        + " is read-only, or it is a BAR of a device that sleeps or has memory space off",
        "/proc/PID/maps at vaddr", "vfio_iommu_type1.c vaddr_get_pfns()").also(IOAS_MAP)),
    MAP_OF_EACH_DEVICE(refusal(UNTESTED, VFIO_MAP, ENOMEM, "behind a virtual IOMMU each device has its own container,"
        + " and RLIMIT_MEMLOCK must cover the guest's memory once for each of them",
        "VmLck in /proc/PID/status, and ulimit -l; libvirt: hard_limit of memtune", "vfio_iommu_type1.c vfio_lock_acct()")),
    VFIO_IOMMU_INFO_ARGUMENTS(refusal(LAB, VFIO_IOMMU_INFO, EINVAL, "argsz is below 16", "argsz: if it is below the"
        + " returned value, the capabilities are left out",
        "vfio_iommu_type1.c vfio_iommu_type1_get_info()").unless(TYPED_CALL)),
    VFIO_UNMAP_ARGUMENTS(refusal(LAB, VFIO_UNMAP, EINVAL,
        "argsz is below 24, or the flags are unknown or mutually exclusive",
        "argsz and flags", "vfio_iommu_type1.c vfio_iommu_type1_unmap_dma()")),
    VFIO_UNMAP_RANGE(refusal(LAB, VFIO_UNMAP, EINVAL,
        "size is 0 or a number is not a multiple of the page size, or with FLAG_ALL one is not 0",
        "iova and size", "vfio_iommu_type1.c vfio_dma_do_unmap()")),
    VFIO_UNMAP_WRAPS_BEFORE(like(LAB, VFIO_UNMAP_RANGE.row)),
    VFIO_UNMAP_WRAPS(refusal(SOURCE, VFIO_UNMAP, EOVERFLOW, "the range ends beyond 2^64",
        "iova and size; before 6.18 this is EINVAL", "vfio_iommu_type1.c vfio_dma_do_unmap()")),
    VFIO_UNMAP_SPLITS(refusal(LAB, VFIO_UNMAP, EINVAL,
        "the range begins or ends inside a mapping, which type 1 version 2 does not split",
        "unmap exactly what was mapped", "vfio_iommu_type1.c vfio_dma_do_unmap()")),

    // Devices
    VFIO_DEVICE_NAME(refusal(LAB, VFIO_DEVICE_FD, ENODEV,
        "no device of that name is in the group, or its driver is gone", "/sys/kernel/iommu_groups/N/devices, and the"
        + " device's driver link", "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    VFIO_DEVICE_NO_IOMMU(refusal(LAB, VFIO_DEVICE_FD, EINVAL,
        "the group has no container, or the device file is bound already", "SET_CONTAINER and SET_IOMMU, or"
        + " BIND_IOMMUFD, in order and once", "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    VF_TOKEN(refusal(UNTESTED, VFIO_DEVICE_FD, EACCES, "vfio-pci also has this VF's PF, so a VF token is"
        + " needed, but this caller gave none or a wrong one; a PF whose VFs are in use also needs it",
        "dmesg | grep 'VF token'; QEMU: vf-token=UUID, the same for the PF and its VFs",
        "vfio_pci_core.c vfio_pci_core_match_token_uuid()")),
    VF_TOKEN_UNUSED(refusal(UNTESTED, VFIO_DEVICE_FD, EINVAL, "the caller gave a VF token, but the device is neither PF nor"
        + " VF, or vfio-pci does not have its PF", "dmesg | grep 'VF token'; QEMU: leave vf-token out",
        "vfio_pci_core.c vfio_pci_core_match_token_uuid()")),
    BIND_NO_REMAPPING(refusal(UNTESTED, VFIO_DEVICE_FD, EPERM, "the IOMMU does not remap interrupts: enable that in"
        + " firmware, or, if all guests are trusted, load iommufd with allow_unsafe_interrupts=1",
        "dmesg | grep -i remapping", "drivers/iommu/iommufd/device.c iommufd_device_bind()")),
    VFIO_UNKNOWN_REQUEST(like(LAB, FileAnswer.VM_UNKNOWN_REQUEST.row())),
    VFIO_REMOVE_WAITS(behaviour(SOURCE,
        "the host asks for a device back through its request interrupt, and removes it after the last close",
        "vfio_main.c vfio_unregister_group_dev()")),
    INFO_OF_ANOTHER_KIND(refusal(UNTESTED, VFIO_INFO, EINVAL, "the file is not an open VFIO device: it is of another"
        + " kind, or not bound to an iommufd", "readlink /proc/PID/fd/N: /dev/kvm, vCPUs and empty containers return"
        + " it too", "vfio_main.c vfio_device_fops_unl_ioctl()")),
    REGION_ABSENT(refusal(UNTESTED, VFIO_REGION_INFO, EINVAL, "the device has no such region",
        "num_regions of VFIO_DEVICE_GET_INFO", "vfio_pci_core.c vfio_pci_ioctl_get_region_info()")),
    VFIO_INFO_ARGUMENTS(refusal(LAB, VFIO_INFO, EINVAL, "argsz is too short", "argsz",
        "vfio_pci_core.c vfio_pci_ioctl_get_info(),"
        + " vfio_pci_ioctl_get_region_info()").also(VFIO_REGION_INFO).unless(TYPED_CALL).or(REGION_ABSENT.row)),
    NOT_A_VFIO_DEVICE(refusal(UNTESTED, VFIO_INFO, ENOTTY, "the file is of another kind",
        "readlink /proc/PID/fd/N: anon_inode:[vfio-device], or /dev/vfio/devices/vfioN", "fs/ioctl.c")),
    REGION_READ_DISABLED(refusal(LAB, VFIO_READ, EIO,
        "the device's memory or I/O space is off, or it is powered down",
        "bits 0 and 1 of COMMAND in configuration space", "vfio_pci_rdwr.c vfio_pci_bar_rw()").also(VFIO_WRITE)),
    VFIO_ROM_OFF(refusal(UNTESTED, VFIO_READ, ENOMEM, "the expansion ROM has no valid content, or memory space is off",
        "bit 1 of COMMAND in configuration space", "vfio_pci_rdwr.c vfio_pci_bar_rw(), drivers/pci/rom.c")),
    VFIO_REGION_EMPTY(refusal(LAB, VFIO_READ, EINVAL,
        "the access is outside the region, or the region has another size or no access",
        "VFIO_DEVICE_GET_REGION_INFO: size and flags", "vfio_pci_core.c vfio_pci_rw()").also(VFIO_WRITE)),
    VFIO_REGION_MAP(refusal(LAB, MMAP, EINVAL,
        "only a BAR of whole pages can be mapped, as shared and through a bound file",
        "VFIO_REGION_INFO_FLAG_MMAP of the region", "vfio_pci_core.c vfio_pci_core_mmap()")),
    VFIO_PLATFORM_REGION(like(SOURCE, VFIO_REGION_EMPTY.row)),
    VFIO_CONFIG_RANGE(refusal(LAB, VFIO_READ, EFAULT,
        "the access is outside the device's configuration space", "VFIO_DEVICE_GET_REGION_INFO of the"
        + " configuration space: its size is 256 or 4096", "vfio_pci_config.c vfio_config_do_rw()").also(VFIO_WRITE)),
    VFIO_RESET_IMPOSSIBLE(refusal(LAB, VFIO_RESET, EINVAL, "the device has no function reset",
        "bit 0 of the flags of VFIO_DEVICE_GET_INFO; a hot reset resets the whole bus",
        "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    RESET_BUSY(refusal(SOURCE, VFIO_RESET, EAGAIN, "another host thread holds the device's lock, such as one that"
        + " removes the device and waits until it is closed", "retry, or close the device if the host asked for it",
        "drivers/pci/pci.c pci_try_reset_function(), pci_reset_bus()").also(VFIO_HOT_RESET, VFIO_DEVICE_FD)),
    RESET_FAILED(refusal(UNTESTED, VFIO_RESET, ENOTTY, "the device did not come back from its reset, or none of its reset"
        + " methods works any longer", "dmesg | grep 'not ready', and reset_method below the device in sysfs",
        "drivers/pci/pci.c pci_dev_wait(), __pci_reset_function_locked()")),
    VFIO_LAST_CLOSE(behaviour(LAB, "the last close of a device disables its interrupts and forgets its eventfds",
        "vfio_pci_core.c vfio_pci_core_disable()")),
    VFIO_BUS_MASTER(behaviour(LAB, "a device with bus mastering off sends no messages", "PCI 3.0, Bus Master Enable")),
    VFIO_HOT_RESET_ARGUMENTS(refusal(LAB, VFIO_HOT_RESET, EINVAL, "argsz is too short, flags is not 0, or count is 0"
        + " or above the number of devices on the bus", "count: the files of all groups with a device on the bus; 0"
        + " for a device that was opened through its cdev", "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset()")),
    VFIO_HOT_RESET_ROOT_BUS(refusal(LAB, VFIO_HOT_RESET, ENODEV,
        "neither a bridge nor a slot can reset the device's bus, as for all devices on a root bus",
        "VFIO_DEVICE_RESET, if the device has a function reset", "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset()")),
    VFIO_HOT_RESET_ROOM(refusal(LAB, VFIO_HOT_RESET, ENOSPC,
        "argsz is too short for all devices on the bus; count now holds their number",
        "call again with 12 + 8 * count bytes", "vfio_pci_core.c vfio_pci_ioctl_get_pci_hot_reset_info()")),
    VFIO_HOT_RESET_FD(refusal(LAB, VFIO_HOT_RESET, EBADF, "one of the groups is not open",
        "the descriptors after the header", "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset_groups()")),
    VFIO_HOT_RESET_NOT_A_GROUP(refusal(LAB, VFIO_HOT_RESET, EINVAL, "one of the files is not a VFIO group",
        "the descriptors after the header: /dev/vfio/N", "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset_groups()")),
    VFIO_HOT_RESET_OWNER(refusal(LAB, VFIO_HOT_RESET, EINVAL, "a device on the bus is not the caller's: another"
        + " driver has it, or its group is not among the files", "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, which lists the"
        + " devices and their groups", "vfio_pci_core.c vfio_pci_dev_set_hot_reset()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    VfioAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
