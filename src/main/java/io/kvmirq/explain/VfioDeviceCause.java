/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;

import io.kvmirq.Errno;

/** Of the requests to VFIO devices that concern no interrupt: drivers/vfio/vfio_main.c, drivers/vfio/pci/vfio_pci_core.c. */
public enum VfioDeviceCause implements Cause {
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
