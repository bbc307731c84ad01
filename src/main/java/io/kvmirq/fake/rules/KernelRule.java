/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import static io.kvmirq.fake.rules.Grade.INFERRED;
import static io.kvmirq.fake.rules.Grade.LAB;
import static io.kvmirq.fake.rules.Grade.MEASURED;
import static io.kvmirq.fake.rules.Grade.SOURCE;

import io.kvmirq.Errno;
import io.kvmirq.explain.ArmCause;
import io.kvmirq.explain.Cause;
import io.kvmirq.explain.FileCause;
import io.kvmirq.explain.InterruptCause;
import io.kvmirq.explain.IrqfdCause;
import io.kvmirq.explain.VfioCause;
import io.kvmirq.explain.VgicCause;
import io.kvmirq.explain.VmCause;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The decisions of the fake kernel, one constant each: the errno if the kernel refuses the call, the grade of evidence,
 * and the place in the kernel's source. MEASURED means on 6.18, x86-64, unless the rule is about another kernel.
 */
public enum KernelRule {
    // Descriptors and memory of the process
    FD_NOT_OPEN(MEASURED, FileCause.FD_NOT_OPEN),
    FD_TABLE_FULL(SOURCE, FileCause.FD_TABLE_FULL),
    FD_LOWEST(MEASURED, "a new descriptor is the lowest free one", "fs/file.c alloc_fd()"),
    FD_DUP_LIMIT(MEASURED, FileCause.FD_DUP_LIMIT),
    FD_LAST_CLOSE(MEASURED, "a file is released when its last descriptor is closed", "fs/file_table.c fput()"),
    FAULT(MEASURED, FileCause.FAULT, FileCause.EPOLL_WAIT_FAULT),
    NO_SUCH_FILE(MEASURED, FileCause.NO_SUCH_FILE),
    MAP_LENGTH(SOURCE, FileCause.MAP_LENGTH),
    MAP_NOT_A_VCPU(MEASURED, FileCause.MAP_NOT_A_VCPU),
    UNMAP_ALIGNMENT(MEASURED, FileCause.UNMAP_ALIGNMENT),
    FD_CLOSED_ON_EXEC(MEASURED, "every descriptor that a Libc creates is closed on exec", "O_CLOEXEC of each call"),
    NEGATIVE_OFFSET(MEASURED, FileCause.NEGATIVE_OFFSET_READ, FileCause.NEGATIVE_OFFSET_WRITE),
    NO_OFFSET(MEASURED, FileCause.NO_OFFSET_READ, FileCause.NO_OFFSET_WRITE),
    NOT_READABLE(MEASURED, FileCause.NOT_READABLE_READ, FileCause.NOT_READABLE_WRITE),
    FOREIGN_PROCESS(MEASURED, FileCause.FOREIGN_PROCESS),

    // eventfd
    EVENTFD_FLAGS(MEASURED, FileCause.EVENTFD_FLAGS),
    EVENTFD_LENGTH(MEASURED, FileCause.EVENTFD_LENGTH_WRITE, FileCause.EVENTFD_LENGTH_READ),
    EVENTFD_LONG_WRITE(MEASURED, FileCause.EVENTFD_LONG_WRITE),
    EVENTFD_LONG_WRITE_TAKEN(LAB, "before 6.9 a write of more than 8 bytes writes 8", "fs/eventfd.c eventfd_write()"),
    EVENTFD_ALL_ONES(MEASURED, FileCause.EVENTFD_ALL_ONES),
    EVENTFD_FULL(MEASURED, FileCause.EVENTFD_FULL),
    EVENTFD_EMPTY(MEASURED, FileCause.EVENTFD_EMPTY),
    EVENTFD_SEMAPHORE(MEASURED, "a read of a semaphore takes 1 from the count", "fs/eventfd.c eventfd_ctx_do_read()"),
    EVENTFD_SATURATES(
            MEASURED,
            "a signal from the kernel saturates the count at 2^64-1; poll then reports EPOLLERR",
            "fs/eventfd.c eventfd_signal_mask()"),
    EVENTFD_NOWAIT_NOTHING(MEASURED, "preadv2() of 0 bytes returns 0 without reading the eventfd", "fs/read_write.c"),
    NOT_AN_EVENTFD_NOWAIT(MEASURED, FileCause.NOT_AN_EVENTFD_NOWAIT),
    UNKNOWN_IOCTL_OF_FILE(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    EPOLL_FLAGS(MEASURED, FileCause.EPOLL_FLAGS),
    EPOLL_NO_POLL(MEASURED, FileCause.EPOLL_NO_POLL),
    EPOLL_ITSELF(MEASURED, FileCause.EPOLL_ITSELF),
    EPOLL_NOT_A_SET(MEASURED, FileCause.EPOLL_CTL_NOT_A_SET, FileCause.EPOLL_WAIT_NOT_A_SET),
    EPOLL_LOOP(MEASURED, FileCause.EPOLL_LOOP),
    EPOLL_EXISTS(MEASURED, FileCause.EPOLL_EXISTS),
    EPOLL_ABSENT(MEASURED, FileCause.EPOLL_ABSENT),
    EPOLL_OPERATION(MEASURED, FileCause.EPOLL_OPERATION),
    EPOLL_ROOM(MEASURED, FileCause.EPOLL_ROOM),
    EPOLL_KERNEL_ADDRESS(MEASURED, FileCause.EPOLL_KERNEL_ADDRESS),
    EPOLL_ROOM_FIRST_BEFORE(
            SOURCE, "before 6.15 maxevents and address are checked before epfd", "fs/eventpoll.c do_epoll_wait()"),
    EPOLL_LEVEL(MEASURED, "without EPOLLET every wait reports a ready entry", "fs/eventpoll.c ep_send_events()"),
    EPOLL_EDGE(MEASURED, "with EPOLLET an entry is reported once for each wake-up", "fs/eventpoll.c ep_send_events()"),
    EPOLL_ONE_SHOT(
            MEASURED,
            "with EPOLLONESHOT an entry is reported once, then not until it is modified",
            "fs/eventpoll.c ep_send_events()"),
    EPOLL_LAST_CLOSE(
            MEASURED,
            "closing the last descriptor of a file removes its entries; closing the one used to add it does not",
            "fs/eventpoll.c eventpoll_release_file()"),
    EPOLL_UNKNOWN_IOCTL(MEASURED, FileCause.KVM_UNKNOWN_REQUEST),
    EPOLL_UNKNOWN_IOCTL_BEFORE(LAB, FileCause.VM_UNKNOWN_REQUEST),

    // /dev/kvm
    KVM_UNKNOWN_REQUEST(MEASURED, FileCause.KVM_UNKNOWN_REQUEST),
    KVM_ARGUMENT(MEASURED, FileCause.KVM_ARGUMENT),
    KVM_VM_TYPE(MEASURED, VmCause.KVM_VM_TYPE),
    KVM_CPUID_ROOM(MEASURED, VmCause.KVM_CPUID_ROOM),
    KVM_ATTRIBUTE(MEASURED, InterruptCause.KVM_ATTRIBUTE),
    CAPABILITY_UNKNOWN(
            MEASURED, "an unknown capability returns 0, not an error", "kvm_main.c kvm_vm_ioctl_check_extension()"),

    DEVICE_CAPABILITY_BEFORE(
            LAB,
            "before 6.5 KVM_CREATE_DEVICE works on x86, but KVM_CAP_DEVICE_CTRL returns 0",
            "kvm_main.c kvm_vm_ioctl_check_extension_generic()"),

    // VM
    VM_UNKNOWN_REQUEST(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    VM_TSS_ADDRESS(MEASURED, VmCause.VM_TSS_ADDRESS),
    VCPU_ID(MEASURED, VmCause.VCPU_ID),
    VCPU_ID_HALF_BEFORE(
            LAB, "before 6.11 the upper 32 bits of a vCPU id are ignored", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    VCPU_EXISTS(MEASURED, VmCause.VCPU_EXISTS),
    IRQCHIP_EXISTS(MEASURED, VmCause.IRQCHIP_EXISTS),
    IRQCHIP_AFTER_VCPU(MEASURED, VmCause.IRQCHIP_AFTER_VCPU),
    IRQCHIP_NOT_BUILT_IN(SOURCE, VmCause.IRQCHIP_NOT_BUILT_IN),
    SPLIT_PINS(MEASURED, VmCause.SPLIT_PINS),
    SPLIT_PINS_KEPT(MEASURED, "the pin count is kept in 8 bits: 4096 becomes 0", "kvm_host.h nr_reserved_ioapic_pins"),
    SPLIT_EXISTS(MEASURED, VmCause.SPLIT_EXISTS),
    CAP_FLAGS(MEASURED, VmCause.CAP_FLAGS),
    CAP_UNKNOWN(MEASURED, VmCause.CAP_UNKNOWN),
    X2APIC_BITS(MEASURED, VmCause.X2APIC_BITS),
    X2APIC_TWO_BITS_BEFORE(LAB, VmCause.X2APIC_TWO_BITS_BEFORE),
    X2APIC_BOTH_SUPPRESS(MEASURED, VmCause.X2APIC_BOTH_SUPPRESS),
    X2APIC_SUPPRESS_SPLIT(MEASURED, VmCause.X2APIC_SUPPRESS_SPLIT),
    BOOT_VCPU_AFTER_VCPU(MEASURED, VmCause.BOOT_VCPU_AFTER_VCPU),
    BOOT_VCPU_ID(MEASURED, VmCause.BOOT_VCPU_ID),
    PIT_EXISTS(MEASURED, VmCause.PIT_EXISTS),
    PIT_WITHOUT_PIC_BEFORE(LAB, "on 6.1 KVM_CREATE_PIT2 needs no in-kernel PIC", "x86.c KVM_CREATE_PIT2"),
    PIT_NEEDS_PIC(MEASURED, VmCause.PIT_NEEDS_PIC),
    CHIP_NEEDS_FULL(MEASURED, VmCause.CHIP_NEEDS_FULL),
    CHIP_UNKNOWN(MEASURED, VmCause.CHIP_UNKNOWN),

    // Memory slots, in the order of __kvm_set_memory_region()
    MEMORY_FLAGS(MEASURED, VmCause.MEMORY_FLAGS),
    MEMORY_ALIGNMENT(MEASURED, VmCause.MEMORY_ALIGNMENT),
    MEMORY_SLOT(MEASURED, VmCause.MEMORY_SLOT),
    MEMORY_SPACES(
            LAB,
            "with System Management Mode built in, slots from 65536 on belong to the address space of that mode",
            "kvm_main.c kvm_set_memory_region()"),
    MEMORY_ABSENT(MEASURED, VmCause.MEMORY_ABSENT),
    MEMORY_CHANGED(MEASURED, VmCause.MEMORY_CHANGED),
    MEMORY_OVERLAP(MEASURED, VmCause.MEMORY_OVERLAP),
    MEMORY_BEYOND(INFERRED, VmCause.MEMORY_BEYOND),

    MEMORY_MEMFD(MEASURED, VmCause.MEMORY_MEMFD),
    MEMORY_NOT_A_MEMFD(MEASURED, VmCause.MEMORY_NOT_A_MEMFD),

    // Statistics
    STATS_READ_ONLY(MEASURED, FileCause.STATS_READ_ONLY),
    STATS_NONE(INFERRED, "the fake keeps no statistics: the file lists no descriptors", "binary_stats.c"),

    // vCPU
    VCPU_HALT_LEAVES(MEASURED, "without an in-kernel LAPIC, HLT exits to the VMM", "x86.c kvm_emulate_halt()"),
    VCPU_INTERRUPT_VECTOR(MEASURED, VmCause.VCPU_INTERRUPT_VECTOR),
    VCPU_INTERRUPT_PIC(MEASURED, VmCause.VCPU_INTERRUPT_PIC),
    VCPU_INTERRUPT_PENDING(MEASURED, VmCause.VCPU_INTERRUPT_PENDING),
    VCPU_STATE_WITHOUT_LAPIC(MEASURED, VmCause.VCPU_STATE_WITHOUT_LAPIC),
    VCPU_STATE_UNKNOWN(MEASURED, VmCause.VCPU_STATE_UNKNOWN),
    VCPU_STATE_FIRST(
            MEASURED,
            "the boot vCPU starts runnable; with in-kernel LAPICs the other vCPUs wait for INIT",
            "x86.c kvm_arch_vcpu_create()"),
    VCPU_UNKNOWN_REQUEST(MEASURED, FileCause.KVM_UNKNOWN_REQUEST),
    VCPU_ONE_CALL(MEASURED, "a vCPU ioctl waits until KVM_RUN returns, also during HLT", "kvm_main.c kvm_vcpu_ioctl()"),
    VCPU_CPUID_AFTER_RUN(MEASURED, "after the first KVM_RUN, KVM_SET_CPUID2 only compares", "cpuid.c kvm_set_cpuid()"),
    VCPU_CPUID_OTHER(MEASURED, VmCause.VCPU_CPUID_OTHER),
    VCPU_CPUID_LEAVES(MEASURED, VmCause.VCPU_CPUID_LEAVES),
    VCPU_RUN_ARGUMENT(MEASURED, VmCause.VCPU_RUN_ARGUMENT),
    VCPU_IMMEDIATE_EXIT(MEASURED, VmCause.VCPU_IMMEDIATE_EXIT),
    VCPU_CAP(MEASURED, VmCause.VCPU_CAP),
    VCPU_ATTRIBUTE(MEASURED, InterruptCause.VCPU_ATTRIBUTE),
    LAPIC_X2APIC_ID_BEFORE(LAB, "on 6.1 KVM_SET_LAPIC in x2APIC mode accepts any id", "lapic.c kvm_apic_state_fixup()"),
    LAPIC_X2APIC_ID(MEASURED, VmCause.LAPIC_X2APIC_ID),
    LAPIC_NONE(MEASURED, VmCause.LAPIC_NONE),

    // Routes, in the order of kvm_set_irq_routing()
    ROUTES_NEED_IRQCHIP(MEASURED, InterruptCause.ROUTES_NEED_IRQCHIP),
    ROUTES_TOO_MANY(MEASURED, InterruptCause.ROUTES_TOO_MANY),
    ROUTES_FLAGS(MEASURED, InterruptCause.ROUTES_FLAGS),
    ROUTE_GSI(MEASURED, InterruptCause.ROUTE_GSI),
    ROUTE_FLAGS(MEASURED, InterruptCause.ROUTE_FLAGS),
    ROUTE_CONFLICT(MEASURED, InterruptCause.ROUTE_CONFLICT),
    ROUTE_TYPE(MEASURED, InterruptCause.ROUTE_TYPE),
    ROUTE_PIN(MEASURED, InterruptCause.ROUTE_PIN),
    ROUTE_HIGH_ADDRESS(MEASURED, InterruptCause.ROUTE_HIGH_ADDRESS),
    ROUTE_SYNTHETIC(
            LAB,
            "with Hyper-V built in a route may be a synthetic interrupt; a vCPU without SynIC does not accept it",
            "hyperv.c kvm_hv_set_sint()"),
    ROUTES_REPLACED(MEASURED, "the whole table is replaced, or nothing on an error", "irqchip.c kvm_set_irq_routing()"),

    // irqfd, in the order of kvm_irqfd()
    IRQFD_FLAGS(MEASURED, IrqfdCause.IRQFD_FLAGS, IrqfdCause.IRQFD_FLAGS_DEASSIGN),
    IRQFD_NEEDS_IRQCHIP(MEASURED, IrqfdCause.IRQFD_NEEDS_IRQCHIP),
    IRQFD_RESAMPLE_NEEDS_FULL(MEASURED, IrqfdCause.IRQFD_RESAMPLE_NEEDS_FULL),
    IRQFD_FD(MEASURED, IrqfdCause.IRQFD_FD, IrqfdCause.IRQFD_FD_DEASSIGN),
    IRQFD_NOT_AN_EVENTFD(MEASURED, IrqfdCause.IRQFD_NOT_AN_EVENTFD, IrqfdCause.IRQFD_NOT_AN_EVENTFD_DEASSIGN),
    IRQFD_BUSY_HOST(MEASURED, IrqfdCause.IRQFD_BUSY_HOST),
    IRQFD_BUSY_VM(LAB, IrqfdCause.IRQFD_BUSY_VM),
    IRQFD_DEASSIGN(
            MEASURED, "deassign removes matching irqfds and succeeds without one", "eventfd.c kvm_irqfd_deassign()"),
    IRQFD_CONSUMES(MEASURED, "a signal is consumed from the count and injected once", "eventfd.c irqfd_wakeup()"),
    IRQFD_FIRST_TAKES(LAB, "before 6.17, of two VMs on an eventfd the first gets a signal", "eventfd.c irqfd_wakeup()"),
    IRQFD_PRE_SIGNALLED(
            MEASURED, "an earlier signal is injected once and stays in the count", "eventfd.c kvm_irqfd_assign()"),
    IRQFD_DETACH_DRAINS(
            MEASURED, "detaching an irqfd reads the eventfd", "fs/eventfd.c eventfd_ctx_remove_wait_queue()"),
    IRQFD_GONE_WITH_EVENTFD(
            MEASURED,
            "the last close() of the eventfd removes the irqfd, asynchronously",
            "eventfd.c irqfd_wakeup() EPOLLHUP"),
    IRQFD_GONE_WITH_VM(
            MEASURED, "the last close() of the VM removes its irqfds, synchronously", "eventfd.c kvm_irqfd_release()"),
    RESAMPLE_SOURCE(MEASURED, "resampling irqfds share one interrupt source of the line", "eventfd.c irqfd_inject()"),
    RESAMPLE_ON_EOI(
            MEASURED,
            "the guest's EOI lowers the line and signals every resamplefd of the GSI",
            "eventfd.c irqfd_resampler_ack()"),
    RESAMPLE_LAST_LOWERS(
            MEASURED,
            "removing the last resampling irqfd of a GSI lowers its line; so does a first one refused with EBUSY",
            "eventfd.c irqfd_resampler_shutdown()"),

    // ioeventfd, in the order of kvm_assign_ioeventfd()
    IOEVENTFD_ARGUMENTS(MEASURED, IrqfdCause.IOEVENTFD_ARGUMENTS),
    IOEVENTFD_FD(MEASURED, IrqfdCause.IOEVENTFD_FD, IrqfdCause.IOEVENTFD_FD_DEASSIGN),
    IOEVENTFD_NOT_AN_EVENTFD(
            MEASURED, IrqfdCause.IOEVENTFD_NOT_AN_EVENTFD, IrqfdCause.IOEVENTFD_NOT_AN_EVENTFD_DEASSIGN),
    IOEVENTFD_COLLIDES(MEASURED, IrqfdCause.IOEVENTFD_COLLIDES),
    IOEVENTFD_NONE(MEASURED, IrqfdCause.IOEVENTFD_NONE),
    IOEVENTFD_TAKES(
            MEASURED, "a matching guest write signals the eventfd without an exit", "eventfd.c ioeventfd_write()"),

    // Messages and lines
    MSI_NEEDS_IRQCHIP(MEASURED, InterruptCause.MSI_NEEDS_IRQCHIP),
    MSI_FLAGS(MEASURED, InterruptCause.MSI_FLAGS),
    MSI_HIGH_ADDRESS(MEASURED, InterruptCause.MSI_HIGH_ADDRESS),
    MSI_NOBODY(MEASURED, InterruptCause.MSI_NO_VCPU, InterruptCause.MSI_NOBODY),
    MSI_BY_MAP(
            MEASURED,
            "with an APIC map, the result is 0 if no enabled LAPIC has the id",
            "lapic.c kvm_irq_delivery_to_apic_fast()"),
    MSI_LOGICAL(
            MEASURED,
            "a logical destination is looked up in the APIC map if all LAPICs use one format",
            "lapic.c kvm_apic_map_get_logical_dest()"),
    MSI_LOGICAL_NOBODY_BEFORE(
            LAB,
            "before 6.3, if no LAPIC has a logical id, every LAPIC is compared with a logical destination",
            "lapic.c kvm_apic_map_get_logical_dest()"),
    MSI_MAP_FIRST_BEFORE(
            LAB, "before 6.3 the APIC map holds the first of LAPICs with one id", "lapic.c kvm_recalculate_apic_map()"),
    MSI_BROADCAST(
            MEASURED, "a broadcast reaches all LAPICs, or one by redirection hint", "irq.c kvm_irq_delivery_to_apic()"),
    LINE_NEEDS_IRQCHIP(MEASURED, InterruptCause.LINE_NEEDS_IRQCHIP),
    LINE_UNROUTED(MEASURED, "the status of a GSI without a route is -1", "irqchip.c kvm_set_irq()"),
    LINE_STATUS_SUM(MEASURED, "the status is the sum of all route results except -1", "irqchip.c kvm_set_irq()"),

    // Devices
    DEVICE_TYPE(MEASURED, InterruptCause.DEVICE_TYPE),
    DEVICE_TEST(
            MEASURED, "TEST creates no device and leaves the fd field alone", "kvm_main.c kvm_ioctl_create_device()"),
    DEVICE_SECOND(MEASURED, InterruptCause.DEVICE_SECOND),
    DEVICE_UNKNOWN_REQUEST(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    DEVICE_NO_GETTER(MEASURED, InterruptCause.DEVICE_NO_GETTER),
    VFIO_ATTRIBUTE(MEASURED, InterruptCause.VFIO_ATTRIBUTE),
    VFIO_FILE_FD(MEASURED, InterruptCause.VFIO_FILE_FD),
    VFIO_NOT_A_VFIO_FILE(MEASURED, InterruptCause.VFIO_NOT_A_VFIO_FILE),
    VFIO_FILE_UNKNOWN(MEASURED, InterruptCause.VFIO_FILE_UNKNOWN),
    VFIO_FILE_TWICE(SOURCE, InterruptCause.VFIO_FILE_TWICE),

    // Containers and groups of VFIO. The lab has no VFIO device yet, so that all of VFIO is graded by its source.
    VFIO_UNKNOWN_REQUEST(SOURCE, FileCause.VM_UNKNOWN_REQUEST),
    VFIO_CONTAINER_WITHOUT_IOMMU(SOURCE, VfioCause.DMA_NO_IOMMU, FileCause.KVM_UNKNOWN_REQUEST),
    VFIO_EXTENSIONS(
            SOURCE, "an extension that the IOMMU driver does not have is 0", "container.c VFIO_CHECK_EXTENSION"),
    VFIO_IOMMU_STATE(SOURCE, VfioCause.IOMMU_STATE),
    VFIO_IOMMU_TYPE(SOURCE, VfioCause.IOMMU_TYPE),
    VFIO_MAP_ARGUMENTS(SOURCE, VfioCause.DMA_MAP_ARGUMENTS),
    VFIO_MAP_RANGE(SOURCE, VfioCause.DMA_MAP_RANGE),
    VFIO_MAP_WRAPS(SOURCE, VfioCause.DMA_MAP_WRAPS),
    VFIO_MAP_WRAPS_BEFORE(SOURCE, VfioCause.DMA_MAP_RANGE),
    VFIO_MAP_EXISTS(SOURCE, VfioCause.DMA_MAP_EXISTS),
    VFIO_MAP_LIMIT(SOURCE, VfioCause.DMA_MAP_LIMIT),
    VFIO_MAP_RESERVED(SOURCE, VfioCause.DMA_MAP_RESERVED),
    VFIO_UNMAP_ARGUMENTS(SOURCE, VfioCause.DMA_UNMAP_ARGUMENTS),
    VFIO_UNMAP_RANGE(SOURCE, VfioCause.DMA_UNMAP_RANGE),
    VFIO_UNMAP_WRAPS(SOURCE, VfioCause.DMA_UNMAP_WRAPS),
    VFIO_UNMAP_WRAPS_BEFORE(SOURCE, VfioCause.DMA_UNMAP_RANGE),
    VFIO_UNMAP_SPLITS(SOURCE, VfioCause.DMA_UNMAP_SPLITS),
    VFIO_GROUP_BUSY(SOURCE, VfioCause.GROUP_BUSY),
    VFIO_GROUP_NOT_VIABLE(SOURCE, VfioCause.GROUP_NOT_VIABLE),
    VFIO_CONTAINER_FD(SOURCE, VfioCause.CONTAINER_FD),
    VFIO_CONTAINER_SET(SOURCE, VfioCause.CONTAINER_SET),
    VFIO_NOT_A_CONTAINER(SOURCE, VfioCause.NOT_A_CONTAINER),
    VFIO_NO_CONTAINER(SOURCE, VfioCause.NO_CONTAINER),
    VFIO_CONTAINER_IN_USE(SOURCE, VfioCause.CONTAINER_IN_USE),
    VFIO_DEVICE_NAME(SOURCE, VfioCause.GROUP_NO_DEVICE),
    VFIO_DEVICE_NO_IOMMU(SOURCE, VfioCause.GROUP_NO_CONTAINER),

    // Devices of VFIO; the lab is QEMU with the kernels of Debian
    VFIO_INFO_ARGUMENTS(SOURCE, VfioCause.INFO_ARGUMENTS),
    VFIO_IRQ_INFO_ARGUMENTS(SOURCE, VfioCause.IRQ_INFO_INDEX),
    VFIO_IRQ_FLAGS(
            SOURCE,
            "INTx is maskable and automasked; the others are NORESIZE, except the vectors of MSI-X since 6.5",
            "vfio_pci_core.c vfio_pci_ioctl_get_irq_info()"),
    VFIO_RESET_IMPOSSIBLE(SOURCE, VfioCause.RESET_IMPOSSIBLE),
    VFIO_LAST_CLOSE(
            SOURCE,
            "the last close of a device disables its interrupts and forgets its eventfds",
            "vfio_pci_core.c vfio_pci_core_disable()"),
    VFIO_BUS_MASTER(INFERRED, "a device that is no bus master sends no message", "PCI 3.0, Bus Master Enable"),
    VFIO_MSIX_PENDING(
            INFERRED, "a message of an MSI-X vector without an eventfd is sent when it gets one", "PCI 3.0, MSI-X PBA"),

    // VFIO_DEVICE_SET_IRQS, in its order
    VFIO_IRQS_INDEX(SOURCE, VfioCause.SET_IRQS_ARGUMENTS),
    VFIO_IRQS_HEADER(SOURCE, VfioCause.SET_IRQS_ARGUMENTS),
    VFIO_IRQS_RANGE(SOURCE, VfioCause.SET_IRQS_RANGE),
    VFIO_IRQS_DATA(SOURCE, VfioCause.SET_IRQS_ARGUMENTS),
    VFIO_IRQS_ACTION(SOURCE, VfioCause.SET_IRQS_ACTION),
    VFIO_IRQS_MSI_MASK(SOURCE, VfioCause.SET_IRQS_MSI_MASK),
    VFIO_IRQS_ERR_REQ(SOURCE, VfioCause.SET_IRQS_ERR_REQ),
    VFIO_IRQS_OTHER_MODE(SOURCE, VfioCause.SET_IRQS_OTHER_MODE),
    VFIO_IRQS_INACTIVE(SOURCE, VfioCause.SET_IRQS_INACTIVE),
    VFIO_IRQS_COUNT(SOURCE, VfioCause.SET_IRQS_COUNT),
    VFIO_IRQS_INTX_MASK_EVENTFD(SOURCE, VfioCause.SET_IRQS_INTX_MASK_EVENTFD),
    VFIO_IRQS_FD(SOURCE, VfioCause.SET_IRQS_FD),
    VFIO_IRQS_NOT_AN_EVENTFD(SOURCE, VfioCause.SET_IRQS_NOT_AN_EVENTFD),
    VFIO_IRQS_UNMASK_EVENTFD(SOURCE, VfioCause.SET_IRQS_UNMASK_EVENTFD),
    VFIO_IRQS_SHARED(SOURCE, VfioCause.SET_IRQS_SHARED),
    VFIO_INTX_WITHOUT_TRIGGER(
            SOURCE, "INTx with descriptor -1 stays enabled without a trigger", "vfio_pci_intrs.c vfio_intx_enable()"),
    VFIO_UNMASK_READS(
            SOURCE, "a signal of the unmask eventfd is consumed and unmasks INTx", "virqfd.c virqfd_wakeup()"),
    VFIO_IRQS_NO_VECTOR(SOURCE, VfioCause.SET_IRQS_NONE),
    VFIO_IRQS_NO_SPACE(SOURCE, VfioCause.SET_IRQS_VECTORS),
    VFIO_IRQS_SHORT(
            SOURCE,
            "with too few vectors on the host, the result is their number and nothing is enabled",
            "vfio_pci_intrs.c vfio_msi_enable()"),
    VFIO_IRQS_ALLOCATED(SOURCE, VfioCause.SET_IRQS_ALLOCATED),
    VFIO_IRQS_UNWOUND(
            SOURCE,
            "a failure detaches all vectors from start through the one that failed",
            "vfio_pci_intrs.c vfio_msi_set_block()"),
    VFIO_IRQS_SINGLE_FD(SOURCE, VfioCause.SET_IRQS_SINGLE_FD),
    VFIO_IRQS_SINGLE_FD_BEFORE(
            SOURCE,
            "before 7.1 a descriptor below -1 leaves the error and the request interrupt as they are",
            "vfio_pci_intrs.c vfio_pci_set_ctx_trigger_single()"),

    // arm64; the lab is Debian's 6.1 and 6.12 on a machine with GICv3 only, so a change is dated between these two
    ARM_VM_TYPE(LAB, ArmCause.ARM_VM_TYPE),
    ARM_MSI_DEVID_OF_VM(LAB, ArmCause.ARM_MSI_DEVID_OF_VM),
    ARM_VM_UNKNOWN_REQUEST(LAB, ArmCause.ARM_VM_UNKNOWN_REQUEST),
    ARM_VM_ATTRIBUTE(LAB, ArmCause.ARM_VCPU_ATTRIBUTE),
    ARM_CAP_FLAGS(LAB, VmCause.CAP_FLAGS),
    ARM_CAP_UNKNOWN(LAB, ArmCause.ARM_CAP_UNKNOWN),
    ARM_MEMORY_BEYOND(LAB, ArmCause.ARM_MEMORY_BEYOND),
    ARM_VCPU_ID(LAB, ArmCause.ARM_VCPU_ID),
    ARM_VCPU_ID_TRUNCATED(
            LAB, "on 6.1 the upper 32 bits of a vCPU id are ignored", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    ARM_VCPU_AFTER_INIT(LAB, ArmCause.ARM_VCPU_AFTER_INIT),
    ARM_VCPU_TARGET(LAB, ArmCause.ARM_VCPU_TARGET),
    ARM_VCPU_FEATURE(LAB, ArmCause.ARM_VCPU_FEATURE),
    ARM_VCPU_FEATURES_OF_VM(LAB, ArmCause.ARM_VCPU_FEATURES_OF_VM),
    ARM_VCPU_FEATURES_BEFORE(LAB, ArmCause.ARM_VCPU_FEATURES_BEFORE),
    ARM_VCPU_NOT_INITIALIZED(LAB, ArmCause.ARM_VCPU_NOT_INITIALIZED),
    ARM_VCPU_ATTRIBUTE(LAB, ArmCause.ARM_VCPU_ATTRIBUTE),

    ARM_ROUTES_WITHOUT_VGIC(LAB, "routes can be set without a VGIC", "kvm_main.c kvm_arch_can_set_irq_routing()"),
    ARM_ROUTE_PIN(LAB, ArmCause.ARM_ROUTE_PIN),
    ARM_PIN_NOWHERE(
            LAB,
            "a signal to a pin beyond the VGIC's interrupts is lost without an error",
            "vgic-irqfd.c vgic_irqfd_set_irq()"),
    ARM_MESSAGE_LOST(LAB, "a routed message is lost without an ITS that is enabled", "vgic-irqfd.c kvm_set_msi()"),
    ARM_IRQFD_BEFORE_INIT(LAB, ArmCause.ARM_IRQFD_BEFORE_INIT),
    ARM_IRQFD_STAYS_UP(
            LAB, "an irqfd's signal raises a pin and does not lower it", "vgic-irqfd.c kvm_arch_set_irq_inatomic()"),

    ARM_LINE_KIND(LAB, ArmCause.ARM_LINE_KIND),
    ARM_LINE_HAS_VGIC(LAB, ArmCause.ARM_LINE_HAS_VGIC),
    ARM_LINE_NEEDS_VGIC(LAB, ArmCause.ARM_LINE_NEEDS_VGIC),
    ARM_LINE_NUMBER(LAB, ArmCause.ARM_LINE_NUMBER),
    ARM_LINE_BEFORE_INIT(LAB, ArmCause.ARM_LINE_BEFORE_INIT),
    ARM_LINE_VCPU_BY_INDEX(LAB, "on 6.1 the line names a vCPU by creation order", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_VCPU_TWICE(LAB, ArmCause.ARM_LINE_VCPU_TWICE),
    ARM_LINE_NO_STATUS(LAB, "KVM_IRQ_LINE_STATUS returns its argument unchanged", "kvm_main.c KVM_IRQ_LINE_STATUS"),
    ARM_MSI_NEEDS_VGIC(LAB, ArmCause.ARM_MSI_NEEDS_VGIC),
    ARM_MSI_NEEDS_ITS(LAB, ArmCause.ARM_MSI_NEEDS_ITS),
    ARM_MSI_NEEDS_DEVICE(LAB, ArmCause.ARM_MSI_NEEDS_DEVICE),
    ARM_MSI_DOORBELL(LAB, ArmCause.ARM_MSI_DOORBELL),
    ARM_MSI_ITS_OFF(LAB, ArmCause.ARM_MSI_ITS_OFF),
    ARM_MSI_UNMAPPED(SOURCE, "a message whose event is not mapped returns 0", "vgic-its.c vgic_its_inject_msi()"),

    ARM_DEVICE_TYPE(LAB, ArmCause.ARM_DEVICE_TYPE),
    ARM_NO_GICV2(LAB, ArmCause.ARM_NO_GICV2),
    VGIC_SECOND(LAB, VgicCause.VGIC_SECOND),
    VGIC_ATTRIBUTE(LAB, VgicCause.VGIC_ATTRIBUTE),
    VGIC_PLACE_SET(LAB, VgicCause.VGIC_PLACE_SET),
    VGIC_PLACE_ALIGNMENT(LAB, VgicCause.VGIC_PLACE_ALIGNMENT),
    VGIC_PLACE_BEYOND(LAB, VgicCause.VGIC_PLACE_BEYOND),
    VGIC_REGION_WORD(LAB, VgicCause.VGIC_REGION_WORD),
    VGIC_REGION_INDEX(LAB, VgicCause.VGIC_REGION_INDEX),
    VGIC_REGION_OVERLAP(LAB, VgicCause.VGIC_REGION_OVERLAP, ArmCause.ARM_VCPU_REDISTRIBUTOR),
    VGIC_NO_REGION(LAB, VgicCause.VGIC_NO_REGION),
    VGIC_INTERRUPTS(LAB, VgicCause.VGIC_INTERRUPTS),
    VGIC_INTERRUPTS_SET(LAB, VgicCause.VGIC_INTERRUPTS_SET),
    VGIC_DEFAULT_ROUTES(
            LAB,
            "init replaces the routes: GSI 0 goes to SPI 32, GSI 1 to SPI 33, and so on",
            "vgic-irqfd.c kvm_vgic_setup_default_irq_routing()"),
    VGIC_NO_VCPU(LAB, VgicCause.VGIC_NO_VCPU),
    VGIC_REGISTER_BEFORE_INIT(LAB, VgicCause.VGIC_REGISTER_BEFORE_INIT),
    VGIC_PENDING_IS_LATCHED(
            LAB,
            "an access of the VMM to ISPENDR reads or replaces the latch of edges; ICPENDR reads 0, writes do nothing",
            "vgic-mmio.c __read_pending()"),
    VGIC_LEVEL_INFO(LAB, VgicCause.VGIC_LEVEL_INFO),
    VGIC_EDGE(LAB, "a rising edge is latched, a falling is not; SPIs start as edges", "vgic.c kvm_vgic_inject_irq()"),
    VGIC_LEVEL(LAB, "a level follows the last value that any source gave its line", "vgic.c kvm_vgic_inject_irq()"),

    ITS_ATTRIBUTE(LAB, VgicCause.ITS_ATTRIBUTE),
    ITS_PLACE_TYPE(LAB, VgicCause.ITS_PLACE_TYPE),
    ITS_CONTROL_IGNORED(LAB, "an unknown control attribute does nothing and returns 0", "vgic-its.c vgic_its_ctrl()"),
    ITS_REGISTER_ALIGNMENT(LAB, VgicCause.ITS_REGISTER_ALIGNMENT),
    ITS_NO_REGISTER(LAB, VgicCause.ITS_NO_REGISTER),
    ITS_TARGET(
            SOURCE,
            "the target of a collection is a vCPU's index before 6.7, and its id since then",
            "vgic-its.c vgic_its_cmd_handle_mapc()"),
    ITS_COMMANDS(
            SOURCE,
            "a write to GITS_CWRITER, or one that enables the ITS, handles the commands that wait",
            "vgic-its.c vgic_its_process_commands()"),
    ITS_TABLES(
            SOURCE,
            "saving writes the devices, events and collections of an ITS to guest memory, restoring reads them",
            "vgic-its.c vgic_its_save_tables_v0()"),
    ITS_TABLES_CONTRADICT(SOURCE, VgicCause.ITS_TABLES_CONTRADICT),
    ITS_COLLECTION_EXISTS(SOURCE, VgicCause.ITS_COLLECTION_EXISTS),
    ITS_VERSION(SOURCE, VgicCause.ITS_VERSION),
    ITS_READER_ENABLED(SOURCE, VgicCause.ITS_READER_ENABLED),
    ITS_READER_BEYOND(SOURCE, VgicCause.ITS_READER_BEYOND),
    VGIC_LPI_TABLES(
            SOURCE,
            "enabled LPIs take their pending bits from the guest's table; saving writes them there",
            "vgic-v3.c vgic_v3_save_pending_tables()"),

    // Chips
    PIC_EDGE(MEASURED, "an edge is coalesced if its IRR bit is set; a masked pin returns -1", "i8259.c pic_set_irq1()"),
    PIC_CASCADE(MEASURED, "a request of the slave pulses pin 2 of the master", "i8259.c pic_update_irq()"),
    IOAPIC_EDGE(MEASURED, "an edge is coalesced if its IRR bit is set", "ioapic.c ioapic_set_irq()"),
    IOAPIC_LEVEL(MEASURED, "a level is delivered once until its EOI clears remote IRR", "ioapic.c ioapic_service()"),
    IOAPIC_MASKED(MEASURED, "a masked pin, or a level with remote IRR set, returns -1", "ioapic.c ioapic_service()"),
    IOAPIC_CLOCK(MEASURED, "a clock tick is coalesced until the EOI of the tick before", "ioapic.c rtc_irq_eoi()"),
    LAPIC_ACCEPTS(
            MEASURED,
            "an enabled LAPIC accepts a vector into IRR, also if its bit is set already",
            "lapic.c __apic_accept_irq()"),
    LAPIC_EOI(
            MEASURED,
            "an EOI clears the highest vector in ISR; it is forwarded if a pin of the IOAPIC waits for it",
            "lapic.c apic_set_eoi()"),
    LAPIC_PRIORITY(
            MEASURED,
            "a vector is delivered if its class is above the task priority and the vectors in ISR",
            "lapic.c apic_has_interrupt_for_ppr()"),
    NMI_TWO_KEPT(MEASURED, "two NMIs at once are kept, or one while an NMI is handled", "x86.c process_nmi()"),
    INIT_RESETS_LAPIC(
            MEASURED,
            "INIT is pending until the vCPU processes its events, then resets the LAPIC",
            "lapic.c kvm_apic_accept_events()"),
    EOI_TOLD_TO_VMM(
            MEASURED,
            "with the split irqchip, the EOI of a level interrupt routed from a reserved pin exits to the VMM",
            "lapic.c kvm_ioapic_send_eoi()"),
    LAPIC_RESTORED(MEASURED, "KVM_SET_LAPIC ignores version and processor priority", "lapic.c kvm_apic_set_state()");

    private final Grade grade;

    /** The causes of the refusal, the most likely first; empty if the rule refuses nothing. */
    @SuppressWarnings("ImmutableEnumChecker") // made by List.of
    private final List<Cause> causes;

    private final String text;
    private final String source;

    /** A decision that refuses nothing. */
    KernelRule(Grade grade, String text, String source) {
        this.grade = grade;
        this.causes = List.of();
        this.text = text;
        this.source = source;
    }

    /**
     * A refusal.
     *
     * @param more causes of the same refusal in other calls, with the same errno
     */
    KernelRule(Grade grade, Cause cause, Cause... more) {
        this.grade = grade;
        List<Cause> all = new ArrayList<>(List.of(cause));
        all.addAll(List.of(more));
        this.causes = List.copyOf(all);
        this.text = cause.text();
        this.source = cause.source();
    }

    /** The errno of a call that the rule refuses; empty if the rule refuses nothing. */
    public Optional<Errno> errno() {
        return causes.stream().findFirst().map(cause -> new Errno(cause.errno()));
    }

    /** The evidence for the rule. */
    public Grade grade() {
        return grade;
    }

    /** The causes of the refusal, several if calls differ in the explanation; empty if the rule refuses nothing. */
    public List<Cause> causes() {
        return causes;
    }

    /** The rule as a sentence that starts in lower case. */
    public String text() {
        return text;
    }

    /** The kernel's file and function, or the macro or request handled there. */
    public String source() {
        return source;
    }

    /** The result of a call that the rule refuses, a negative errno. */
    public int refusal() {
        if (causes.isEmpty()) {
            throw new IllegalStateException(this + " refuses nothing");
        }
        return -causes.get(0).errno();
    }
}
