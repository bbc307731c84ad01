/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Fact.PLATFORM;
import static io.kvmirq.explain.Fact.TYPED_CALL;

import io.kvmirq.Errno;

/** Of platform devices, of devices that are removed, of hot reset and features: drivers/vfio. */
public enum VfioDeviceCause implements Cause {
    PLATFORM_ONE(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "an index of a platform device has one interrupt",
                    "start 0 and count 1; count 0 is for TRIGGER with DATA_NONE, which disables",
                    "vfio_platform_irq.c vfio_platform_set_irq_trigger()")
            .needs(PLATFORM)
            .unless(TYPED_CALL)),
    PLATFORM_EDGE(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "the interrupt of the platform device is an edge, which cannot be masked",
                    "VFIO_IRQ_INFO_MASKABLE of VFIO_DEVICE_GET_IRQ_INFO",
                    "vfio_platform_irq.c vfio_platform_set_irq_mask()")
            .needs(PLATFORM)
            .unless(TYPED_CALL)),
    PLATFORM_EVENTFD(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EBUSY,
                    "the interrupt has an eventfd already that masks it, or that unmasks it",
                    "clear it with -1 before setting another",
                    "vfio_platform_irq.c vfio_platform_set_irq_unmask()")
            .needs(PLATFORM)),
    PLATFORM_SHARED(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EBUSY,
                    "another driver has the line of the platform device's interrupt",
                    "/proc/interrupts for the line's other users",
                    "vfio_platform_irq.c vfio_set_trigger()")
            .needs(PLATFORM)),
    GROUP_GONE_STATUS(refusal(
            KernelCall.VFIO_INFO,
            Errno.ENODEV,
            "the host removed all devices of the group",
            "close the group, and look for the device in sysfs",
            "group.c vfio_group_ioctl_get_status()")),
    GROUP_GONE_CONTAINER(refusal(
            KernelCall.VFIO_CONTAINER,
            Errno.ENODEV,
            "the host removed all devices of the group",
            "close the group, and look for the device in sysfs",
            "group.c vfio_group_ioctl_set_container()")),
    CONFIG_READ_RANGE(refusal(
            KernelCall.VFIO_READ,
            Errno.EFAULT,
            "the access is outside of the configuration space of the device",
            "VFIO_DEVICE_GET_REGION_INFO of the configuration space: its size is 256 or 4096",
            "vfio_pci_config.c vfio_config_do_rw()")),
    CONFIG_WRITE_RANGE(refusal(
            KernelCall.VFIO_WRITE,
            Errno.EFAULT,
            "the access is outside of the configuration space of the device",
            "VFIO_DEVICE_GET_REGION_INFO of the configuration space: its size is 256 or 4096",
            "vfio_pci_config.c vfio_config_do_rw()")),
    IOEVENTFD_RANGE(refusal(
            KernelCall.VFIO_IOEVENTFD,
            Errno.EINVAL,
            "argsz is below 28, flags are not one width, or the range is not in a BAR or is in the MSI-X table",
            "offset: that of a BAR from VFIO_DEVICE_GET_REGION_INFO, and one width",
            "vfio_pci_rdwr.c vfio_pci_ioeventfd()")),
    HOT_RESET_ARGUMENTS(refusal(
            KernelCall.VFIO_HOT_RESET,
            Errno.EINVAL,
            "argsz is too short, flags is not 0, or count is 0 or above the number of devices on the bus",
            "count: the files of all groups with a device on the bus; 0 for a device that was opened through its cdev",
            "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset()")),
    HOT_RESET_ROOT_BUS(refusal(
            KernelCall.VFIO_HOT_RESET,
            Errno.ENODEV,
            "no bridge and no slot can reset the bus of the device, as for all devices of a root bus",
            "VFIO_DEVICE_RESET, if the device has a function reset",
            "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset()")),
    HOT_RESET_ROOM(refusal(
            KernelCall.VFIO_HOT_RESET,
            Errno.ENOSPC,
            "argsz is too short for all devices on the bus; count says how many there are",
            "call again with 12 + 8 * count bytes",
            "vfio_pci_core.c vfio_pci_ioctl_get_pci_hot_reset_info()")),
    HOT_RESET_FD(refusal(
            KernelCall.VFIO_HOT_RESET,
            Errno.EBADF,
            "one of the groups is not open",
            "the descriptors after the header",
            "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset_groups()")),
    HOT_RESET_NOT_A_GROUP(refusal(
            KernelCall.VFIO_HOT_RESET,
            Errno.EINVAL,
            "one of the files is not a VFIO group",
            "the descriptors after the header: /dev/vfio/N",
            "vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset_groups()")),
    HOT_RESET_OWNER(refusal(
            KernelCall.VFIO_HOT_RESET,
            Errno.EINVAL,
            "a device on the bus is not the caller's: another driver has it, or its group is not among the files",
            "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, which lists the devices and their groups",
            "vfio_pci_core.c vfio_pci_dev_set_hot_reset()")),
    FEATURE_ARGUMENTS(refusal(
            KernelCall.VFIO_FEATURE,
            Errno.EINVAL,
            "argsz is below 8, a flag is unknown, or GET and SET are given without PROBE",
            "argsz and flags",
            "vfio_main.c vfio_ioctl_device_feature()")),
    FEATURE_UNKNOWN(refusal(
            KernelCall.VFIO_FEATURE,
            Errno.ENOTTY,
            "the device does not have this feature",
            "the low 16 bits of flags; PROBE asks without doing anything",
            "vfio_main.c vfio_ioctl_device_feature()")),
    FEATURE_OPERATION(refusal(
            KernelCall.VFIO_FEATURE,
            Errno.EINVAL,
            "the feature does not have this operation, neither GET nor SET is given, or argsz is too short for it",
            "PROBE with GET or SET, which asks for one operation",
            "include/linux/vfio.h vfio_check_feature()"));

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    VfioDeviceCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
