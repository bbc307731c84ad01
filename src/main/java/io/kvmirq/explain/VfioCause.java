/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Fact.ERR_REQ;
import static io.kvmirq.explain.Fact.INTX;
import static io.kvmirq.explain.Fact.MSI;
import static io.kvmirq.explain.Fact.PLATFORM;
import static io.kvmirq.explain.Fact.TYPED_CALL;

import io.kvmirq.Errno;

/** Of VFIO devices: drivers/vfio/vfio_main.c, drivers/vfio/pci/vfio_pci_intrs.c. */
public enum VfioCause implements Cause {
    SET_IRQS_MSI_MASK(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOTTY,
                    "MSI and MSI-X have no MASK and UNMASK in VFIO",
                    "mask by deassigning the irqfd: signals wait in the eventfd until it is assigned again",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(MSI)),
    SET_IRQS_INTX_MASK_EVENTFD(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOTTY,
                    "INTx can be unmasked through an eventfd, not masked",
                    "MASK with DATA_NONE",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(INTX)),
    SET_IRQS_ERR_REQ(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOTTY,
                    "the error and request interrupts have TRIGGER only",
                    Text.THE_SET,
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(ERR_REQ)),
    SET_IRQS_ACTION(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOTTY,
                    "not exactly one of MASK, UNMASK and TRIGGER",
                    "flags: one action, one kind of data",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .unless(TYPED_CALL)),
    SET_IRQS_UNMASK_EVENTFD(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EBUSY,
                    "INTx has an unmask eventfd already",
                    "clear it with -1 before setting another",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(INTX)),
    SET_IRQS_NO_LINE(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENODEV,
                    "the host has no line for the pin of the device: use MSI or MSI-X",
                    "irq below the device in sysfs, which is 0 then",
                    "vfio_pci_intrs.c vfio_intx_enable()")
            .needs(INTX)),
    SET_IRQS_SHARED(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EBUSY,
                    "another handler has the line, and one of the two must be exclusive: its device cannot mask itself,"
                            + " or vfio-pci has nointxmask=1",
                    "the line's handlers in /proc/interrupts, /sys/module/vfio_pci/parameters/nointxmask",
                    "kernel/irq/manage.c __setup_irq()")
            .needs(INTX)),
    SET_IRQS_RANGE(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "start + count is beyond what the index has (an index may have none)",
                    "VFIO_DEVICE_GET_IRQ_INFO of the index",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .unless(TYPED_CALL)),
    SET_IRQS_NOT_AN_EVENTFD(refusal(
            KernelCall.SET_IRQS,
            Errno.EINVAL,
            "one of the files is not an eventfd",
            "every descriptor of the data; MSI vectors from start through that one are detached: set them again",
            "vfio_pci_intrs.c vfio_msi_set_vector_signal()")),
    SET_IRQS_OTHER_MODE(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "another of INTx, MSI and MSI-X is active: there is no implicit switch",
                    "disable the other first: TRIGGER, DATA_NONE, count 0",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .unless(ERR_REQ, PLATFORM)),
    SET_IRQS_INACTIVE(refusal(
            KernelCall.SET_IRQS,
            Errno.EINVAL,
            "the index is not active: to disable twice, or to raise or mask what is off, is refused",
            "whether TRIGGER with eventfds came before",
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_ARGUMENTS(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "the index or a flag is unknown, argsz is too short for the data, or there is not exactly one kind of data",
                    Text.THE_SET,
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .unless(TYPED_CALL)),
    SET_IRQS_FD(refusal(
            KernelCall.SET_IRQS,
            Errno.EBADF,
            "one of the eventfds is not open",
            "every descriptor of the data, -1 for none; MSI vectors from start through that one are detached: set them again",
            "drivers/vfio/pci/vfio_pci_intrs.c")),
    SET_IRQS_NONE(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ERANGE,
                    "MSI or MSI-X cannot be enabled with no vector",
                    "count: at least 1",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(MSI)),
    SET_IRQS_VECTORS(refusal(
                    KernelCall.SET_IRQS,
                    Errno.ENOSPC,
                    "the host has no interrupt vectors left (a positive result means so many would be had, and nothing"
                            + " is enabled)",
                    "fewer vectors, or spread the device's interrupts over more CPUs",
                    "drivers/vfio/pci/vfio_pci_intrs.c")
            .needs(MSI)),
    IRQ_INFO_INDEX(refusal(
            KernelCall.VFIO_IRQ_INFO,
            Errno.EINVAL,
            "no such index, argsz below 16, or the error interrupt of a device that is not PCI Express",
            "index and argsz",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    GROUP_BUSY(refusal(
            KernelCall.VFIO_GROUP,
            Errno.EBUSY,
            "a process, maybe this one, has the group open, or one of its devices through a cdev: open a group's"
                    + " devices through one VfioGroup",
            "ls -l /proc/*/fd | grep vfio",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    GROUP_NO_DEVICE(refusal(
            KernelCall.VFIO_DEVICE_FD,
            Errno.ENODEV,
            "no device of that name is in the group, or its driver is gone",
            "/sys/kernel/iommu_groups/N/devices, and the device's driver link",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    GROUP_NO_CONTAINER(refusal(
            KernelCall.VFIO_DEVICE_FD,
            Errno.EINVAL,
            "the group has no container, or the device file is bound already",
            "SET_CONTAINER and SET_IOMMU, or BIND_IOMMUFD, in order and once",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    RESET_IMPOSSIBLE(refusal(
            KernelCall.VFIO_RESET,
            Errno.EINVAL,
            "the device has no function reset",
            "bit 0 of the flags of VFIO_DEVICE_GET_INFO; a hot reset takes the whole bus",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c")),
    DMA_NO_IOMMU(refusal(
            KernelCall.VFIO_MAP,
            Errno.EINVAL,
            "the container has no IOMMU type yet",
            "SET_CONTAINER of a group, then SET_IOMMU, come first",
            "container.c vfio_fops_unl_ioctl()")),
    IOMMU_STATE(refusal(
            KernelCall.VFIO_IOMMU,
            Errno.EINVAL,
            "no group has this container, or its IOMMU type is set already",
            "SET_CONTAINER of a group first, then SET_IOMMU once",
            "container.c vfio_ioctl_set_iommu()")),
    IOMMU_TYPE(refusal(
            KernelCall.VFIO_IOMMU,
            Errno.ENODEV,
            "no IOMMU driver has this type",
            "VFIO_CHECK_EXTENSION of the type",
            "container.c vfio_ioctl_set_iommu()")),
    DMA_MAP_ARGUMENTS(refusal(
            KernelCall.VFIO_MAP,
            Errno.EINVAL,
            "argsz is below 32, or a flag is unknown",
            "argsz and flags",
            "vfio_iommu_type1.c vfio_iommu_type1_map_dma()")),
    DMA_MAP_RANGE(refusal(
            KernelCall.VFIO_MAP,
            Errno.EINVAL,
            "size is 0, READ and WRITE are missing, or a number is no multiple of the page size",
            "flags, vaddr, iova and size",
            "vfio_iommu_type1.c vfio_dma_do_map()")),
    DMA_MAP_WRAPS(refusal(
            KernelCall.VFIO_MAP,
            Errno.EOVERFLOW,
            "the range ends beyond 2^64",
            "vaddr, iova and size; before 6.18 this is EINVAL",
            "vfio_iommu_type1.c vfio_dma_do_map()")),
    DMA_MAP_EXISTS(refusal(
            KernelCall.VFIO_MAP,
            Errno.EEXIST,
            "a part of the range is mapped already",
            "unmap it first",
            "vfio_iommu_type1.c vfio_dma_do_map()")),
    DMA_MAP_LIMIT(refusal(
            KernelCall.VFIO_MAP,
            Errno.ENOSPC,
            "the container has its most mappings",
            "the parameter dma_entry_limit of vfio_iommu_type1",
            "vfio_iommu_type1.c vfio_dma_do_map()")),
    DMA_MAP_LOCKED(refusal(
            KernelCall.VFIO_MAP,
            Errno.ENOMEM,
            VfioCause.LOCKED_MEMORY,
            VfioCause.LOCKED,
            "vfio_iommu_type1.c vfio_pin_pages_remote()")),
    DMA_MAP_RESERVED(refusal(
            KernelCall.VFIO_MAP,
            Errno.EINVAL,
            "the IOMMU reserves a part of the range",
            "/sys/kernel/iommu_groups/N/reserved_regions; on x86 0xfee00000 is for messages",
            "vfio_iommu_type1.c vfio_dma_do_map()")),
    DMA_UNMAP_ARGUMENTS(refusal(
            KernelCall.VFIO_UNMAP,
            Errno.EINVAL,
            "argsz is below 24, or the flags are unknown or exclude each other",
            "argsz and flags",
            "vfio_iommu_type1.c vfio_iommu_type1_unmap_dma()")),
    DMA_UNMAP_RANGE(refusal(
            KernelCall.VFIO_UNMAP,
            Errno.EINVAL,
            "size is 0 or a number is no multiple of the page size, or with FLAG_ALL one is not 0",
            "iova and size",
            "vfio_iommu_type1.c vfio_dma_do_unmap()")),
    DMA_UNMAP_WRAPS(refusal(
            KernelCall.VFIO_UNMAP,
            Errno.EOVERFLOW,
            "the range ends beyond 2^64",
            "iova and size; before 6.18 this is EINVAL",
            "vfio_iommu_type1.c vfio_dma_do_unmap()")),
    DMA_UNMAP_SPLITS(refusal(
            KernelCall.VFIO_UNMAP,
            Errno.EINVAL,
            "the range begins or ends inside a mapping, which type 1 version 2 does not split",
            "unmap what was mapped",
            "vfio_iommu_type1.c vfio_dma_do_unmap()")),
    GROUP_NOT_VIABLE(refusal(
            KernelCall.VFIO_CONTAINER,
            Errno.EPERM,
            "a driver of the host has another device of the group",
            "/sys/kernel/iommu_groups/N/devices: bind each one to vfio-pci or to no driver",
            "iommu.c iommu_group_claim_dma_owner()")),
    GROUP_NO_REMAPPING(refusal(
            KernelCall.VFIO_CONTAINER,
            Errno.EPERM,
            Text.NO_REMAPPING,
            Text.REMAPPING,
            "vfio_iommu_type1.c vfio_iommu_type1_attach_group()")),
    IOMMU_NO_REMAPPING(refusal(
            KernelCall.VFIO_IOMMU,
            Errno.EPERM,
            Text.NO_REMAPPING,
            Text.REMAPPING,
            "vfio_iommu_type1.c vfio_iommu_type1_attach_group()")),
    CONTAINER_FD(refusal(
            KernelCall.VFIO_CONTAINER,
            Errno.EBADF,
            "the container is not open",
            "the descriptor behind the argument",
            "group.c vfio_group_ioctl_set_container()")),
    CONTAINER_SET(refusal(
            KernelCall.VFIO_CONTAINER,
            Errno.EINVAL,
            "the group has a container already",
            "UNSET_CONTAINER first",
            "group.c vfio_group_ioctl_set_container()")),
    NOT_A_CONTAINER(refusal(
            KernelCall.VFIO_CONTAINER,
            Errno.EBADFD,
            "the file is neither a VFIO container nor an iommufd",
            "the descriptor behind the argument: /dev/vfio/vfio",
            "group.c vfio_group_ioctl_set_container()")),
    NOT_A_CONTAINER_BEFORE(refusal(
            KernelCall.VFIO_CONTAINER,
            Errno.EINVAL,
            "the file is no VFIO container, on a kernel before 6.2",
            "the descriptor behind the argument: /dev/vfio/vfio",
            "vfio_main.c vfio_group_ioctl_set_container()")),
    NO_CONTAINER(refusal(
            KernelCall.VFIO_CONTAINER_UNSET,
            Errno.EINVAL,
            "the group has no container",
            "GROUP_GET_STATUS, which shows it",
            "group.c vfio_group_ioctl_unset_container()")),
    CONTAINER_IN_USE(refusal(
            KernelCall.VFIO_CONTAINER_UNSET,
            Errno.EBUSY,
            "a device of the group is open",
            "close the files of its devices first",
            "group.c vfio_group_ioctl_unset_container()")),
    INFO_OF_ANOTHER_KIND(refusal(
            KernelCall.VFIO_INFO,
            Errno.EINVAL,
            "the file is no opened VFIO device: it is of another kind, or not bound to an iommufd",
            "readlink /proc/PID/fd/N: /dev/kvm, vCPUs and empty containers answer so, too",
            "vfio_main.c vfio_device_fops_unl_ioctl()")),
    INFO_ARGUMENTS(refusal(
                    KernelCall.VFIO_INFO,
                    Errno.EINVAL,
                    "argsz is too short",
                    "argsz",
                    "vfio_pci_core.c vfio_pci_ioctl_get_info()")
            .unless(TYPED_CALL)),
    REGION_ABSENT(refusal(
            KernelCall.VFIO_REGION_INFO,
            Errno.EINVAL,
            "the device has no such region",
            "num_regions of VFIO_DEVICE_GET_INFO",
            "vfio_pci_core.c vfio_pci_ioctl_get_region_info()")),
    REGION_ARGUMENTS(refusal(
                    KernelCall.VFIO_REGION_INFO,
                    Errno.EINVAL,
                    "argsz is too short",
                    "argsz",
                    "vfio_pci_core.c vfio_pci_ioctl_get_region_info()")
            .unless(TYPED_CALL)),
    SET_IRQS_COUNT(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "count 0 is for TRIGGER with DATA_NONE alone, which disables",
                    "count: 1 for INTx, the error and the request interrupt",
                    "vfio_pci_intrs.c vfio_pci_set_intx_trigger()")
            .unless(TYPED_CALL)),
    SET_IRQS_ALLOCATED(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "the vector is beyond those that were enabled, and the index is NORESIZE",
                    "disable, then enable as many as are needed",
                    "vfio_pci_intrs.c vfio_msi_set_block()")
            .unless(TYPED_CALL)),
    SET_IRQS_SINGLE_FD(refusal(
                    KernelCall.SET_IRQS,
                    Errno.EINVAL,
                    "the descriptor is below -1",
                    "-1 to remove the eventfd",
                    "vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()")
            .unless(TYPED_CALL)),
    RESET_BUSY(refusal(
            KernelCall.VFIO_RESET,
            Errno.EAGAIN,
            "another call holds the device's lock",
            "ask again",
            "drivers/vfio/vfio_main.c, pci/vfio_pci_core.c"));

    static final String LOCKED_MEMORY =
            "RLIMIT_MEMLOCK is too low for so much memory of DMA: raise it, or give the process CAP_IPC_LOCK";
    static final String LOCKED = "ulimit -l, and VmPin and VmLck in /proc/PID/status";

    /** What several say. */
    private static final class Text {
        static final String NO_REMAPPING =
                "the IOMMU does not remap interrupts: enable that in firmware, or, if all guests"
                        + " are trusted, load vfio_iommu_type1 with allow_unsafe_interrupts=1";
        static final String REMAPPING = "dmesg | grep -i remapping";
        static final String THE_SET = "flags, index, start, count and argsz of vfio_irq_set";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    VfioCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
