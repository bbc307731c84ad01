/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import static io.kvmirq.fake.rules.Grade.INFERRED;
import static io.kvmirq.fake.rules.Grade.LAB;
import static io.kvmirq.fake.rules.Grade.SOURCE;

import io.kvmirq.explain.Cause;
import io.kvmirq.explain.FileCause;
import io.kvmirq.explain.IommufdCause;
import io.kvmirq.explain.VfioCause;
import io.kvmirq.explain.VfioDeviceCause;
import io.kvmirq.explain.VfioFileCause;

/**
 * Rules of VFIO: containers, groups, devices and their interrupts. LAB means Debian's kernels in
 * QEMU; SOURCE means Linux 7.1, or a commit that changed the rule before.
 */
public enum VfioRule implements KernelRule {
    // Containers and groups
    VFIO_UNKNOWN_REQUEST(LAB, FileCause.VM_UNKNOWN_REQUEST),
    VFIO_CONTAINER_WITHOUT_IOMMU(LAB, VfioCause.DMA_NO_IOMMU, FileCause.KVM_UNKNOWN_REQUEST),
    VFIO_EXTENSIONS(LAB, "an extension that the IOMMU driver does not have is 0", "container.c VFIO_CHECK_EXTENSION"),
    VFIO_IOMMU_STATE(LAB, VfioCause.IOMMU_STATE),
    VFIO_IOMMU_TYPE(LAB, VfioCause.IOMMU_TYPE),
    VFIO_MAP_ARGUMENTS(LAB, VfioCause.DMA_MAP_ARGUMENTS),
    VFIO_MAP_RANGE(LAB, VfioCause.DMA_MAP_RANGE),
    VFIO_MAP_WRAPS(SOURCE, VfioCause.DMA_MAP_WRAPS),
    VFIO_MAP_WRAPS_BEFORE(LAB, VfioCause.DMA_MAP_RANGE),
    VFIO_MAP_EXISTS(LAB, VfioCause.DMA_MAP_EXISTS),
    VFIO_MAP_LIMIT(SOURCE, VfioCause.DMA_MAP_LIMIT),
    VFIO_MAP_RESERVED(LAB, VfioCause.DMA_MAP_RESERVED),
    VFIO_UNMAP_ARGUMENTS(LAB, VfioCause.DMA_UNMAP_ARGUMENTS),
    VFIO_UNMAP_RANGE(LAB, VfioCause.DMA_UNMAP_RANGE),
    VFIO_UNMAP_WRAPS(SOURCE, VfioCause.DMA_UNMAP_WRAPS),
    VFIO_UNMAP_WRAPS_BEFORE(LAB, VfioCause.DMA_UNMAP_RANGE),
    VFIO_UNMAP_SPLITS(LAB, VfioCause.DMA_UNMAP_SPLITS),
    VFIO_GROUP_BUSY(LAB, VfioCause.GROUP_BUSY),
    VFIO_GROUP_NOT_VIABLE(SOURCE, VfioCause.GROUP_NOT_VIABLE),
    VFIO_CONTAINER_FD(LAB, VfioCause.CONTAINER_FD),
    VFIO_CONTAINER_SET(LAB, VfioCause.CONTAINER_SET),
    VFIO_NOT_A_CONTAINER(SOURCE, VfioCause.NOT_A_CONTAINER),
    VFIO_NOT_A_CONTAINER_BEFORE(LAB, VfioCause.NOT_A_CONTAINER_BEFORE),
    VFIO_NO_CONTAINER(LAB, VfioCause.NO_CONTAINER),
    VFIO_CONTAINER_IN_USE(LAB, VfioCause.CONTAINER_IN_USE),
    VFIO_DEVICE_NAME(LAB, VfioCause.GROUP_NO_DEVICE),
    VFIO_DEVICE_NO_IOMMU(LAB, VfioCause.GROUP_NO_CONTAINER),
    VFIO_GROUP_GONE(SOURCE, VfioDeviceCause.GROUP_GONE_STATUS, VfioDeviceCause.GROUP_GONE_CONTAINER),
    VFIO_REMOVE_WAITS(
            SOURCE,
            "the host asks for a device by its request interrupt, and removes it after the last close of its files",
            "vfio_main.c vfio_unregister_group_dev()"),

    // Devices
    VFIO_INFO_ARGUMENTS(LAB, VfioCause.INFO_ARGUMENTS, VfioCause.REGION_ARGUMENTS, VfioCause.REGION_ABSENT),
    VFIO_IRQ_INFO_ARGUMENTS(LAB, VfioCause.IRQ_INFO_INDEX),
    VFIO_IRQ_FLAGS(
            LAB,
            "INTx is maskable and automasked; the others are NORESIZE, except the vectors of MSI-X on x86 since 6.5",
            "vfio_pci_core.c vfio_pci_ioctl_get_irq_info()"),
    VFIO_RESET_IMPOSSIBLE(LAB, VfioCause.RESET_IMPOSSIBLE),
    VFIO_HOT_RESET_ARGUMENTS(LAB, VfioDeviceCause.HOT_RESET_ARGUMENTS),
    VFIO_HOT_RESET_ROOT_BUS(LAB, VfioDeviceCause.HOT_RESET_ROOT_BUS),
    VFIO_HOT_RESET_ROOM(SOURCE, VfioDeviceCause.HOT_RESET_ROOM),
    VFIO_HOT_RESET_FD(SOURCE, VfioDeviceCause.HOT_RESET_FD),
    VFIO_HOT_RESET_NOT_A_GROUP(SOURCE, VfioDeviceCause.HOT_RESET_NOT_A_GROUP),
    VFIO_HOT_RESET_OWNER(SOURCE, VfioDeviceCause.HOT_RESET_OWNER),
    VFIO_REGION_EMPTY(SOURCE, VfioFileCause.REGION_READ_RANGE, VfioFileCause.REGION_WRITE_RANGE),
    VFIO_CONFIG_RANGE(SOURCE, VfioDeviceCause.CONFIG_READ_RANGE, VfioDeviceCause.CONFIG_WRITE_RANGE),
    VFIO_IOEVENTFD_RANGE(SOURCE, VfioDeviceCause.IOEVENTFD_RANGE),
    VFIO_FEATURE_ARGUMENTS(LAB, VfioDeviceCause.FEATURE_ARGUMENTS),
    VFIO_FEATURE_UNKNOWN(LAB, VfioDeviceCause.FEATURE_UNKNOWN),
    VFIO_FEATURE_OPERATION(LAB, VfioDeviceCause.FEATURE_OPERATION),
    VFIO_LAST_CLOSE(
            LAB,
            "the last close of a device disables its interrupts and forgets its eventfds",
            "vfio_pci_core.c vfio_pci_core_disable()"),
    VFIO_BUS_MASTER(LAB, "a device that is no bus master sends no message", "PCI 3.0, Bus Master Enable"),
    VFIO_MSIX_PENDING(
            LAB, "a message of an MSI-X vector without an eventfd is sent when it gets one", "PCI 3.0, MSI-X PBA"),

    // The files of devices, and iommufd
    VFIO_NOT_BOUND(SOURCE, IommufdCause.NOT_BOUND, IommufdCause.NOT_BOUND_READ, IommufdCause.NOT_BOUND_WRITE),
    VFIO_BIND_ARGUMENTS(SOURCE, IommufdCause.BIND_ARGUMENTS),
    VFIO_BIND_OF_GROUP(SOURCE, IommufdCause.BIND_OF_GROUP),
    VFIO_BIND_GROUP_OPEN(SOURCE, VfioFileCause.BIND_BUSY),
    VFIO_BIND_TWICE(SOURCE, IommufdCause.BIND_TWICE),
    VFIO_BIND_TOKEN(SOURCE, IommufdCause.BIND_TOKEN),
    VFIO_BIND_FD(SOURCE, IommufdCause.BIND_NOT_OPEN),
    VFIO_BIND_NOT_AN_IOMMUFD(SOURCE, VfioFileCause.BIND_FD),
    VFIO_ATTACH_ARGUMENTS(SOURCE, IommufdCause.ATTACH_ARGUMENTS),
    VFIO_ATTACH_PASID(SOURCE, IommufdCause.ATTACH_PASID),
    IOMMUFD_SIZE(SOURCE, IommufdCause.IOMMUFD_SIZE),
    IOMMUFD_TRAILING(SOURCE, IommufdCause.IOMMUFD_TRAILING),
    IOMMUFD_FLAGS(SOURCE, IommufdCause.IOMMUFD_FLAGS),
    IOMMUFD_NO_OBJECT(SOURCE, IommufdCause.IOMMUFD_NO_OBJECT, VfioFileCause.ATTACH_NO_SPACE),
    IOMMUFD_OBJECT_USED(SOURCE, IommufdCause.IOMMUFD_OBJECT_USED),
    IOMMUFD_RANGES_ROOM(SOURCE, IommufdCause.IOMMUFD_RANGES_ROOM),
    IOMMUFD_BIND_OWNER(SOURCE, VfioFileCause.BIND_NOT_VIABLE, IommufdCause.GROUP_OWNER),
    IOMMUFD_ATTACH_INCOMPATIBLE(SOURCE, VfioFileCause.ATTACH_INCOMPATIBLE),
    IOMMUFD_ATTACH_MAPPED(SOURCE, IommufdCause.ATTACH_MAPPED, IommufdCause.DEVICE_MAPPED),
    IOMMUFD_MAP_RANGE(SOURCE, VfioFileCause.IOAS_MAP_RANGE, VfioCause.DMA_MAP_RANGE),
    IOMMUFD_MAP_WRAPS(SOURCE, IommufdCause.IOAS_MAP_WRAPS, VfioCause.DMA_MAP_WRAPS),
    IOMMUFD_MAP_EXISTS(SOURCE, VfioFileCause.IOAS_MAP_EXISTS, VfioCause.DMA_MAP_EXISTS),
    IOMMUFD_UNMAP_RANGE(SOURCE, VfioFileCause.IOAS_UNMAP_RANGE, IommufdCause.COMPATIBLE_UNMAP_RANGE),
    IOMMUFD_UNMAP_EMPTY(SOURCE, IommufdCause.IOAS_UNMAP_EMPTY, VfioCause.DMA_UNMAP_RANGE),
    IOMMUFD_UNMAP_WRAPS(SOURCE, IommufdCause.IOAS_UNMAP_WRAPS, VfioCause.DMA_UNMAP_WRAPS),
    IOMMUFD_UNMAP_NOTHING(
            SOURCE,
            "VFIO_IOMMU_UNMAP_DMA of nothing succeeds on an iommufd",
            "drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_unmap_dma()"),
    IOMMUFD_NO_COMPATIBLE(
            SOURCE,
            IommufdCause.IOMMUFD_NO_COMPATIBLE,
            IommufdCause.IOMMUFD_NO_COMPATIBLE_MAP,
            IommufdCause.IOMMUFD_NO_COMPATIBLE_UNMAP,
            IommufdCause.IOMMUFD_NO_COMPATIBLE_DEVICE,
            IommufdCause.IOMMUFD_NO_COMPATIBLE_REQUEST),
    IOMMUFD_TYPE(SOURCE, IommufdCause.COMPATIBLE_TYPE),

    // VFIO_DEVICE_SET_IRQS, in its order
    VFIO_IRQS_INDEX(LAB, VfioCause.SET_IRQS_ARGUMENTS),
    VFIO_IRQS_HEADER(LAB, VfioCause.SET_IRQS_ARGUMENTS),
    VFIO_IRQS_RANGE(LAB, VfioCause.SET_IRQS_RANGE),
    VFIO_IRQS_DATA(LAB, VfioCause.SET_IRQS_ARGUMENTS),
    VFIO_IRQS_ACTION(LAB, VfioCause.SET_IRQS_ACTION),
    VFIO_IRQS_MSI_MASK(LAB, VfioCause.SET_IRQS_MSI_MASK),
    VFIO_IRQS_ERR_REQ(LAB, VfioCause.SET_IRQS_ERR_REQ),
    VFIO_IRQS_OTHER_MODE(LAB, VfioCause.SET_IRQS_OTHER_MODE),
    VFIO_IRQS_INACTIVE(LAB, VfioCause.SET_IRQS_INACTIVE),
    VFIO_IRQS_COUNT(LAB, VfioCause.SET_IRQS_COUNT),
    VFIO_IRQS_INTX_MASK_EVENTFD(LAB, VfioCause.SET_IRQS_INTX_MASK_EVENTFD),
    VFIO_IRQS_FD(LAB, VfioCause.SET_IRQS_FD),
    VFIO_IRQS_NOT_AN_EVENTFD(LAB, VfioCause.SET_IRQS_NOT_AN_EVENTFD),
    VFIO_IRQS_UNMASK_EVENTFD(LAB, VfioCause.SET_IRQS_UNMASK_EVENTFD),
    VFIO_IRQS_SHARED(SOURCE, VfioCause.SET_IRQS_SHARED),
    VFIO_INTX_WITHOUT_TRIGGER(
            LAB, "INTx with descriptor -1 stays enabled without a trigger", "vfio_pci_intrs.c vfio_intx_enable()"),
    VFIO_INTX_DIRECT(
            INFERRED,
            "the historic profile forwards a level: its handler signals, masks nothing and claims every interrupt",
            "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler, May 2017"),
    VFIO_CLOSE_DISINTX(
            SOURCE,
            "the last close restores the configuration: DisINTx is clear, and a device that is not reset may assert its line",
            "vfio_pci_core.c vfio_pci_core_disable()"),
    HOST_LINE_POLLED(
            SOURCE,
            "a shared line that is disabled since no handler claims its interrupts is polled ten times a second",
            "kernel/irq/spurious.c poll_spurious_irqs()"),
    VFIO_UNMASK_READS(LAB, "a signal of the unmask eventfd is consumed and unmasks INTx", "virqfd.c virqfd_wakeup()"),
    VFIO_UNMASK_DETACH_DRAINS(
            LAB, "removing the unmask eventfd of INTx reads the eventfd", "virqfd.c virqfd_shutdown()"),
    VFIO_IRQS_NO_VECTOR(LAB, VfioCause.SET_IRQS_NONE),
    VFIO_IRQS_NO_SPACE(LAB, VfioCause.SET_IRQS_VECTORS),
    VFIO_IRQS_SHORT(
            LAB,
            "with too few vectors on the host, the result is their number and nothing is enabled",
            "vfio_pci_intrs.c vfio_msi_enable()"),
    VFIO_IRQS_ALLOCATED(LAB, VfioCause.SET_IRQS_ALLOCATED),
    VFIO_IRQS_UNWOUND(
            LAB,
            "a failure detaches all vectors from start through the one that failed",
            "vfio_pci_intrs.c vfio_msi_set_block()"),
    VFIO_PLATFORM_ONE(SOURCE, VfioDeviceCause.PLATFORM_ONE),
    VFIO_PLATFORM_EDGE(SOURCE, VfioDeviceCause.PLATFORM_EDGE),
    VFIO_PLATFORM_EVENTFD(SOURCE, VfioDeviceCause.PLATFORM_EVENTFD),
    VFIO_PLATFORM_REGION(SOURCE, VfioFileCause.REGION_READ_RANGE, VfioFileCause.REGION_WRITE_RANGE),
    VFIO_PLATFORM_EDGE_LATCHED(
            INFERRED,
            "an edge that comes while the interrupt has no eventfd is delivered when it gets one",
            "kernel/irq/resend.c check_irq_resend()"),
    VFIO_IRQS_SINGLE_FD(SOURCE, VfioCause.SET_IRQS_SINGLE_FD),
    VFIO_IRQS_SINGLE_FD_BEFORE(
            LAB,
            "on 6.1 a descriptor below -1 leaves the error and the request interrupt as they are",
            "vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()");

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Decision decision;

    VfioRule(Grade grade, String text, String source) {
        decision = new Decision(grade, text, source);
    }

    VfioRule(Grade grade, Cause cause, Cause... more) {
        decision = new Decision(grade, cause, more);
    }

    @Override
    public Decision decision() {
        return decision;
    }
}
