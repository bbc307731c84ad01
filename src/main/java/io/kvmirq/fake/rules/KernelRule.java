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
import io.kvmirq.explain.VmCause;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What the fake kernel decides, one constant a decision: the errno where it refuses, how sure we are of it, and where in
 * the kernel it is made. Measured means on 6.18, x86-64, unless the rule is about another kernel.
 */
public enum KernelRule {
    // Descriptors and memory of the process
    FD_NOT_OPEN(MEASURED, FileCause.FD_NOT_OPEN),
    FD_TABLE_FULL(SOURCE, FileCause.FD_TABLE_FULL),
    FD_LOWEST(MEASURED, "a new descriptor is the lowest free one", "fs/file.c alloc_fd()"),
    FD_DUP_LIMIT(MEASURED, FileCause.FD_DUP_LIMIT),
    FD_LAST_CLOSE(MEASURED, "the last descriptor of a file releases it, no earlier one", "fs/file_table.c fput()"),
    FAULT(MEASURED, FileCause.FAULT, FileCause.EPOLL_WAIT_FAULT),
    NO_SUCH_FILE(MEASURED, FileCause.NO_SUCH_FILE),
    MAP_LENGTH(SOURCE, FileCause.MAP_LENGTH),
    MAP_NOT_A_VCPU(MEASURED, FileCause.MAP_NOT_A_VCPU),
    UNMAP_ALIGNMENT(MEASURED, FileCause.UNMAP_ALIGNMENT),
    FD_CLOSED_ON_EXEC(MEASURED, "all that a Libc makes is closed on exec", "O_CLOEXEC of each call"),
    NEGATIVE_OFFSET(MEASURED, FileCause.NEGATIVE_OFFSET_READ, FileCause.NEGATIVE_OFFSET_WRITE),
    NO_OFFSET(MEASURED, FileCause.NO_OFFSET_READ, FileCause.NO_OFFSET_WRITE),
    NOT_READABLE(MEASURED, FileCause.NOT_READABLE_READ, FileCause.NOT_READABLE_WRITE),
    FOREIGN_PROCESS(MEASURED, FileCause.FOREIGN_PROCESS),

    // eventfd
    EVENTFD_FLAGS(MEASURED, FileCause.EVENTFD_FLAGS),
    EVENTFD_LENGTH(MEASURED, FileCause.EVENTFD_LENGTH_WRITE, FileCause.EVENTFD_LENGTH_READ),
    EVENTFD_LONG_WRITE(MEASURED, FileCause.EVENTFD_LONG_WRITE),
    EVENTFD_LONG_WRITE_TAKEN(LAB, "before 6.9 a longer write counts as one of 8 bytes", "fs/eventfd.c eventfd_write()"),
    EVENTFD_ALL_ONES(MEASURED, FileCause.EVENTFD_ALL_ONES),
    EVENTFD_FULL(MEASURED, FileCause.EVENTFD_FULL),
    EVENTFD_EMPTY(MEASURED, FileCause.EVENTFD_EMPTY),
    EVENTFD_SEMAPHORE(MEASURED, "a semaphore gives one at a time", "fs/eventfd.c eventfd_ctx_do_read()"),
    EVENTFD_SATURATES(
            MEASURED,
            "a signal of the kernel's saturates the count at 2^64-1, which poll calls an error",
            "fs/eventfd.c eventfd_signal_mask()"),
    EVENTFD_NOWAIT_NOTHING(MEASURED, "a vector of no bytes is read without looking", "fs/read_write.c"),
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
            SOURCE, "before 6.15 room and address are checked before the descriptor", "fs/eventpoll.c do_epoll_wait()"),
    EPOLL_LEVEL(MEASURED, "an entry is reported for as long as it is ready", "fs/eventpoll.c ep_send_events()"),
    EPOLL_EDGE(MEASURED, "EPOLLET: an entry is reported once for each wake-up", "fs/eventpoll.c ep_send_events()"),
    EPOLL_ONE_SHOT(
            MEASURED,
            "EPOLLONESHOT: an entry is reported once until it is modified",
            "fs/eventpoll.c ep_send_events()"),
    EPOLL_LAST_CLOSE(
            MEASURED,
            "an entry goes with the last descriptor of its file, not with the one it was added by",
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
            MEASURED, "an unknown capability is 0, not an error", "kvm_main.c kvm_vm_ioctl_check_extension()"),

    DEVICE_CAPABILITY_BEFORE(
            LAB,
            "before 6.5 x86 has KVM_CREATE_DEVICE without its capability",
            "kvm_main.c kvm_vm_ioctl_check_extension_generic()"),

    // VM
    VM_UNKNOWN_REQUEST(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    VM_TSS_ADDRESS(MEASURED, VmCause.VM_TSS_ADDRESS),
    VCPU_ID(MEASURED, VmCause.VCPU_ID),
    VCPU_ID_HALF_BEFORE(
            LAB, "before 6.11 the upper half of a vCPU id is not looked at", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    VCPU_EXISTS(MEASURED, VmCause.VCPU_EXISTS),
    IRQCHIP_EXISTS(MEASURED, VmCause.IRQCHIP_EXISTS),
    IRQCHIP_AFTER_VCPU(MEASURED, VmCause.IRQCHIP_AFTER_VCPU),
    IRQCHIP_NOT_BUILT_IN(SOURCE, VmCause.IRQCHIP_NOT_BUILT_IN),
    SPLIT_PINS(MEASURED, VmCause.SPLIT_PINS),
    SPLIT_PINS_KEPT(MEASURED, "of the number of pins 8 bits are kept: 4096 is 0", "kvm_host.h nr_reserved_ioapic_pins"),
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
    PIT_WITHOUT_PIC_BEFORE(LAB, "on 6.1 a timer needs no PICs", "x86.c KVM_CREATE_PIT2"),
    PIT_NEEDS_PIC(MEASURED, VmCause.PIT_NEEDS_PIC),
    CHIP_NEEDS_FULL(MEASURED, VmCause.CHIP_NEEDS_FULL),
    CHIP_UNKNOWN(MEASURED, VmCause.CHIP_UNKNOWN),

    // Memory slots, in the order of __kvm_set_memory_region()
    MEMORY_FLAGS(MEASURED, VmCause.MEMORY_FLAGS),
    MEMORY_ALIGNMENT(MEASURED, VmCause.MEMORY_ALIGNMENT),
    MEMORY_SLOT(MEASURED, VmCause.MEMORY_SLOT),
    MEMORY_SPACES(
            LAB,
            "with System Management Mode built in, slots from 65536 on are that mode's memory",
            "kvm_main.c kvm_set_memory_region()"),
    MEMORY_ABSENT(MEASURED, VmCause.MEMORY_ABSENT),
    MEMORY_CHANGED(MEASURED, VmCause.MEMORY_CHANGED),
    MEMORY_OVERLAP(MEASURED, VmCause.MEMORY_OVERLAP),
    MEMORY_BEYOND(INFERRED, VmCause.MEMORY_BEYOND),

    MEMORY_MEMFD(MEASURED, VmCause.MEMORY_MEMFD),
    MEMORY_NOT_A_MEMFD(MEASURED, VmCause.MEMORY_NOT_A_MEMFD),

    // Statistics
    STATS_READ_ONLY(MEASURED, FileCause.STATS_READ_ONLY),
    STATS_NONE(INFERRED, "the fake counts nothing: its statistics have no descriptors", "binary_stats.c"),

    // vCPU
    VCPU_HALT_LEAVES(MEASURED, "without LAPIC in the kernel HLT leaves for the VMM", "x86.c kvm_emulate_halt()"),
    VCPU_INTERRUPT_VECTOR(MEASURED, VmCause.VCPU_INTERRUPT_VECTOR),
    VCPU_INTERRUPT_PIC(MEASURED, VmCause.VCPU_INTERRUPT_PIC),
    VCPU_INTERRUPT_PENDING(MEASURED, VmCause.VCPU_INTERRUPT_PENDING),
    VCPU_STATE_WITHOUT_LAPIC(MEASURED, VmCause.VCPU_STATE_WITHOUT_LAPIC),
    VCPU_STATE_UNKNOWN(MEASURED, VmCause.VCPU_STATE_UNKNOWN),
    VCPU_STATE_FIRST(
            MEASURED,
            "the boot vCPU is runnable, others wait for INIT where LAPICs are in the kernel",
            "x86.c kvm_arch_vcpu_create()"),
    VCPU_UNKNOWN_REQUEST(MEASURED, FileCause.KVM_UNKNOWN_REQUEST),
    VCPU_ONE_CALL(
            MEASURED, "a call on a vCPU waits while the guest runs, halted or not", "kvm_main.c kvm_vcpu_ioctl()"),
    VCPU_CPUID_AFTER_RUN(MEASURED, "once it has run, a vCPU's CPUID is only compared", "cpuid.c kvm_set_cpuid()"),
    VCPU_CPUID_OTHER(MEASURED, VmCause.VCPU_CPUID_OTHER),
    VCPU_CPUID_LEAVES(MEASURED, VmCause.VCPU_CPUID_LEAVES),
    VCPU_RUN_ARGUMENT(MEASURED, VmCause.VCPU_RUN_ARGUMENT),
    VCPU_IMMEDIATE_EXIT(MEASURED, VmCause.VCPU_IMMEDIATE_EXIT),
    VCPU_CAP(MEASURED, VmCause.VCPU_CAP),
    VCPU_ATTRIBUTE(MEASURED, InterruptCause.VCPU_ATTRIBUTE),
    LAPIC_X2APIC_ID_BEFORE(
            LAB, "on 6.1 restored registers may have another id in x2APIC mode", "lapic.c kvm_apic_state_fixup()"),
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
            "with Hyper-V built in a route may be a synthetic interrupt; without SynIC no vCPU takes it",
            "hyperv.c kvm_hv_set_sint()"),
    ROUTES_REPLACED(MEASURED, "a table is replaced whole or not at all", "irqchip.c kvm_set_irq_routing()"),

    // irqfd, in the order of kvm_irqfd()
    IRQFD_FLAGS(MEASURED, IrqfdCause.IRQFD_FLAGS, IrqfdCause.IRQFD_FLAGS_DEASSIGN),
    IRQFD_NEEDS_IRQCHIP(MEASURED, IrqfdCause.IRQFD_NEEDS_IRQCHIP),
    IRQFD_RESAMPLE_NEEDS_FULL(MEASURED, IrqfdCause.IRQFD_RESAMPLE_NEEDS_FULL),
    IRQFD_FD(MEASURED, IrqfdCause.IRQFD_FD, IrqfdCause.IRQFD_FD_DEASSIGN),
    IRQFD_NOT_AN_EVENTFD(MEASURED, IrqfdCause.IRQFD_NOT_AN_EVENTFD, IrqfdCause.IRQFD_NOT_AN_EVENTFD_DEASSIGN),
    IRQFD_BUSY_HOST(MEASURED, IrqfdCause.IRQFD_BUSY_HOST),
    IRQFD_BUSY_VM(LAB, IrqfdCause.IRQFD_BUSY_VM),
    IRQFD_DEASSIGN(
            MEASURED, "deassign takes what matches and never fails for an eventfd", "eventfd.c kvm_irqfd_deassign()"),
    IRQFD_CONSUMES(MEASURED, "a signal is taken from the count and injected once", "eventfd.c irqfd_wakeup()"),
    IRQFD_FIRST_TAKES(LAB, "before 6.17: of two VMs the first gets the signal", "eventfd.c irqfd_wakeup()"),
    IRQFD_PRE_SIGNALLED(
            MEASURED, "what was signalled before is injected once, the count stays", "eventfd.c kvm_irqfd_assign()"),
    IRQFD_DETACH_DRAINS(
            MEASURED, "detaching takes what is left in the count", "fs/eventfd.c eventfd_ctx_remove_wait_queue()"),
    IRQFD_GONE_WITH_EVENTFD(
            MEASURED,
            "the last descriptor of the eventfd takes the irqfd along, later",
            "eventfd.c irqfd_wakeup() EPOLLHUP"),
    IRQFD_GONE_WITH_VM(
            MEASURED, "the VM's last descriptor takes all irqfds along, at once", "eventfd.c kvm_irqfd_release()"),
    RESAMPLE_SOURCE(MEASURED, "resampling irqfds drive one source of their own", "eventfd.c irqfd_inject()"),
    RESAMPLE_ON_EOI(
            MEASURED,
            "the guest's EOI lowers the line and signals every resamplefd of the GSI",
            "eventfd.c irqfd_resampler_ack()"),
    RESAMPLE_LAST_LOWERS(
            MEASURED,
            "the last resampling irqfd of a GSI lowers its line, and so does one refused as busy",
            "eventfd.c irqfd_resampler_shutdown()"),

    // ioeventfd, in the order of kvm_assign_ioeventfd()
    IOEVENTFD_ARGUMENTS(MEASURED, IrqfdCause.IOEVENTFD_ARGUMENTS),
    IOEVENTFD_FD(MEASURED, IrqfdCause.IOEVENTFD_FD, IrqfdCause.IOEVENTFD_FD_DEASSIGN),
    IOEVENTFD_NOT_AN_EVENTFD(
            MEASURED, IrqfdCause.IOEVENTFD_NOT_AN_EVENTFD, IrqfdCause.IOEVENTFD_NOT_AN_EVENTFD_DEASSIGN),
    IOEVENTFD_COLLIDES(MEASURED, IrqfdCause.IOEVENTFD_COLLIDES),
    IOEVENTFD_NONE(MEASURED, IrqfdCause.IOEVENTFD_NONE),
    IOEVENTFD_TAKES(
            MEASURED, "a matching write of the guest signals instead of leaving", "eventfd.c ioeventfd_write()"),

    // Messages and lines
    MSI_NEEDS_IRQCHIP(MEASURED, InterruptCause.MSI_NEEDS_IRQCHIP),
    MSI_FLAGS(MEASURED, InterruptCause.MSI_FLAGS),
    MSI_HIGH_ADDRESS(MEASURED, InterruptCause.MSI_HIGH_ADDRESS),
    MSI_NOBODY(MEASURED, InterruptCause.MSI_NO_VCPU, InterruptCause.MSI_NOBODY),
    MSI_BY_MAP(
            MEASURED,
            "with a map of the LAPICs, 0 when none of that id listens",
            "lapic.c kvm_irq_delivery_to_apic_fast()"),
    MSI_LOGICAL(
            MEASURED,
            "logical destinations by the map of the LAPICs, where they agree on one format",
            "lapic.c kvm_apic_map_get_logical_dest()"),
    MSI_LOGICAL_NOBODY_BEFORE(
            LAB,
            "before 6.3: every LAPIC is asked for a logical destination while none has a logical id",
            "lapic.c kvm_apic_map_get_logical_dest()"),
    MSI_MAP_FIRST_BEFORE(
            LAB, "before 6.3: of LAPICs with the same id the map has the first", "lapic.c kvm_recalculate_apic_map()"),
    MSI_BROADCAST(MEASURED, "to everybody; by priority, to one that listens", "irq.c kvm_irq_delivery_to_apic()"),
    LINE_NEEDS_IRQCHIP(MEASURED, InterruptCause.LINE_NEEDS_IRQCHIP),
    LINE_UNROUTED(MEASURED, "a line without route has status -1", "irqchip.c kvm_set_irq()"),
    LINE_STATUS_SUM(MEASURED, "the status is the sum over the routes that listened", "irqchip.c kvm_set_irq()"),

    // Devices
    DEVICE_TYPE(MEASURED, InterruptCause.DEVICE_TYPE),
    DEVICE_TEST(MEASURED, "TEST makes nothing and leaves the fd field alone", "kvm_main.c kvm_ioctl_create_device()"),
    DEVICE_SECOND(MEASURED, InterruptCause.DEVICE_SECOND),
    DEVICE_UNKNOWN_REQUEST(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    DEVICE_NO_GETTER(MEASURED, InterruptCause.DEVICE_NO_GETTER),
    VFIO_ATTRIBUTE(MEASURED, InterruptCause.VFIO_ATTRIBUTE),
    VFIO_FILE_FD(MEASURED, InterruptCause.VFIO_FILE_FD),
    VFIO_NOT_A_VFIO_FILE(MEASURED, InterruptCause.VFIO_NOT_A_VFIO_FILE),
    VFIO_FILE_UNKNOWN(MEASURED, InterruptCause.VFIO_FILE_UNKNOWN),

    // arm64; the lab is Debian's 6.1 and 6.12 on a machine with GICv3 alone, what changed did so between them
    ARM_VM_TYPE(LAB, ArmCause.ARM_VM_TYPE),
    ARM_MSI_DEVID_OF_VM(LAB, ArmCause.ARM_MSI_DEVID_OF_VM),
    ARM_VM_UNKNOWN_REQUEST(LAB, ArmCause.ARM_VM_UNKNOWN_REQUEST),
    ARM_VM_ATTRIBUTE(LAB, ArmCause.ARM_VCPU_ATTRIBUTE),
    ARM_CAP_FLAGS(LAB, VmCause.CAP_FLAGS),
    ARM_CAP_UNKNOWN(LAB, ArmCause.ARM_CAP_UNKNOWN),
    ARM_MEMORY_BEYOND(LAB, ArmCause.ARM_MEMORY_BEYOND),
    ARM_VCPU_ID(LAB, ArmCause.ARM_VCPU_ID),
    ARM_VCPU_ID_TRUNCATED(
            LAB, "on 6.1 only 32 bits of a vCPU id are looked at", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    ARM_VCPU_AFTER_INIT(LAB, ArmCause.ARM_VCPU_AFTER_INIT),
    ARM_VCPU_TARGET(LAB, ArmCause.ARM_VCPU_TARGET),
    ARM_VCPU_FEATURE(LAB, ArmCause.ARM_VCPU_FEATURE),
    ARM_VCPU_FEATURES_OF_VM(LAB, ArmCause.ARM_VCPU_FEATURES_OF_VM),
    ARM_VCPU_FEATURES_BEFORE(LAB, ArmCause.ARM_VCPU_FEATURES_BEFORE),
    ARM_VCPU_NOT_INITIALIZED(LAB, ArmCause.ARM_VCPU_NOT_INITIALIZED),
    ARM_VCPU_ATTRIBUTE(LAB, ArmCause.ARM_VCPU_ATTRIBUTE),

    ARM_ROUTES_WITHOUT_VGIC(LAB, "routes need no VGIC", "kvm_main.c kvm_arch_can_set_irq_routing()"),
    ARM_ROUTE_PIN(LAB, ArmCause.ARM_ROUTE_PIN),
    ARM_PIN_NOWHERE(
            LAB,
            "a pin beyond the VGIC's interrupts takes what is sent, silently",
            "vgic-irqfd.c vgic_irqfd_set_irq()"),
    ARM_MESSAGE_LOST(LAB, "a routed message without ITS, or to one that is off, is lost", "vgic-irqfd.c kvm_set_msi()"),
    ARM_IRQFD_BEFORE_INIT(LAB, ArmCause.ARM_IRQFD_BEFORE_INIT),
    ARM_IRQFD_STAYS_UP(
            LAB, "an irqfd's signal drives a pin up and not down", "vgic-irqfd.c kvm_arch_set_irq_inatomic()"),

    ARM_LINE_KIND(LAB, ArmCause.ARM_LINE_KIND),
    ARM_LINE_HAS_VGIC(LAB, ArmCause.ARM_LINE_HAS_VGIC),
    ARM_LINE_NEEDS_VGIC(LAB, ArmCause.ARM_LINE_NEEDS_VGIC),
    ARM_LINE_NUMBER(LAB, ArmCause.ARM_LINE_NUMBER),
    ARM_LINE_BEFORE_INIT(LAB, ArmCause.ARM_LINE_BEFORE_INIT),
    ARM_LINE_VCPU_BY_INDEX(LAB, "on 6.1 a vCPU is the index of its making", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_VCPU_TWICE(LAB, ArmCause.ARM_LINE_VCPU_TWICE),
    ARM_LINE_NO_STATUS(LAB, "KVM_IRQ_LINE_STATUS gives back what it was given", "kvm_main.c KVM_IRQ_LINE_STATUS"),
    ARM_MSI_NEEDS_VGIC(LAB, ArmCause.ARM_MSI_NEEDS_VGIC),
    ARM_MSI_NEEDS_ITS(LAB, ArmCause.ARM_MSI_NEEDS_ITS),
    ARM_MSI_NEEDS_DEVICE(LAB, ArmCause.ARM_MSI_NEEDS_DEVICE),
    ARM_MSI_DOORBELL(LAB, ArmCause.ARM_MSI_DOORBELL),
    ARM_MSI_ITS_OFF(LAB, ArmCause.ARM_MSI_ITS_OFF),

    ARM_DEVICE_TYPE(LAB, ArmCause.ARM_DEVICE_TYPE),
    ARM_NO_GICV2(LAB, ArmCause.ARM_NO_GICV2),
    VGIC_SECOND(LAB, ArmCause.VGIC_SECOND),
    VGIC_ATTRIBUTE(LAB, ArmCause.VGIC_ATTRIBUTE),
    VGIC_PLACE_SET(LAB, ArmCause.VGIC_PLACE_SET),
    VGIC_PLACE_ALIGNMENT(LAB, ArmCause.VGIC_PLACE_ALIGNMENT),
    VGIC_PLACE_BEYOND(LAB, ArmCause.VGIC_PLACE_BEYOND),
    VGIC_REGION_WORD(LAB, ArmCause.VGIC_REGION_WORD),
    VGIC_REGION_INDEX(LAB, ArmCause.VGIC_REGION_INDEX),
    VGIC_REGION_OVERLAP(LAB, ArmCause.VGIC_REGION_OVERLAP),
    VGIC_NO_REGION(LAB, ArmCause.VGIC_NO_REGION),
    VGIC_INTERRUPTS(LAB, ArmCause.VGIC_INTERRUPTS),
    VGIC_INTERRUPTS_SET(LAB, ArmCause.VGIC_INTERRUPTS_SET),
    VGIC_DEFAULT_ROUTES(
            LAB,
            "init replaces the routes: GSIs from 0 to the SPIs from 32",
            "vgic-irqfd.c kvm_vgic_setup_default_irq_routing()"),
    VGIC_NO_VCPU(LAB, ArmCause.VGIC_NO_VCPU),
    VGIC_REGISTER_BEFORE_INIT(LAB, ArmCause.VGIC_REGISTER_BEFORE_INIT),
    VGIC_PENDING_IS_LATCHED(
            LAB,
            "the host's ISPENDR is the latch of edges, whole; its ICPENDR is nothing",
            "vgic-mmio.c __read_pending()"),
    VGIC_LEVEL_INFO(LAB, ArmCause.VGIC_LEVEL_INFO),
    VGIC_EDGE(LAB, "an edge up is latched, one down is nothing; SPIs begin as edges", "vgic.c kvm_vgic_inject_irq()"),
    VGIC_LEVEL(LAB, "a level follows its line, whoever drove it last", "vgic.c kvm_vgic_inject_irq()"),

    ITS_ATTRIBUTE(LAB, ArmCause.ITS_ATTRIBUTE),
    ITS_PLACE_TYPE(LAB, ArmCause.ITS_PLACE_TYPE),
    ITS_CONTROL_IGNORED(LAB, "an unknown control of an ITS does nothing and succeeds", "vgic-its.c vgic_its_ctrl()"),
    ITS_REGISTER_ALIGNMENT(LAB, ArmCause.ITS_REGISTER_ALIGNMENT),
    ITS_NO_REGISTER(LAB, ArmCause.ITS_NO_REGISTER),

    // Chips
    PIC_EDGE(MEASURED, "an edge that is requested already is coalesced; masked pins say -1", "i8259.c pic_set_irq1()"),
    PIC_CASCADE(MEASURED, "the slave's request pulses pin 2 of the master", "i8259.c pic_update_irq()"),
    IOAPIC_EDGE(MEASURED, "an edge that is requested already is coalesced", "ioapic.c ioapic_set_irq()"),
    IOAPIC_LEVEL(MEASURED, "a level is delivered once until its EOI clears remote IRR", "ioapic.c ioapic_service()"),
    IOAPIC_MASKED(MEASURED, "a masked pin, or one with remote IRR, says -1", "ioapic.c ioapic_service()"),
    IOAPIC_CLOCK(MEASURED, "a tick of the clock is coalesced until it was ended", "ioapic.c rtc_irq_eoi()"),
    LAPIC_ACCEPTS(
            MEASURED,
            "an enabled LAPIC takes a vector into IRR, requested already or not",
            "lapic.c __apic_accept_irq()"),
    LAPIC_EOI(
            MEASURED,
            "an EOI ends the highest vector in service and tells the IOAPIC of those its pins wait for",
            "lapic.c apic_set_eoi()"),
    LAPIC_PRIORITY(
            MEASURED,
            "a vector is taken when its class is above task priority and what is in service",
            "lapic.c apic_has_interrupt_for_ppr()"),
    NMI_TWO_KEPT(MEASURED, "of NMIs sent at once two are kept, while one is handled one", "x86.c process_nmi()"),
    INIT_RESETS_LAPIC(
            MEASURED,
            "INIT waits until the vCPU is looked at, then resets its LAPIC",
            "lapic.c kvm_apic_accept_events()"),
    EOI_TOLD_TO_VMM(
            MEASURED,
            "with the split irqchip the guest leaves after the EOI of a level routed to one of the VMM's pins",
            "lapic.c kvm_ioapic_send_eoi()"),
    LAPIC_RESTORED(
            MEASURED, "restored registers: version and priority are the kernel's", "lapic.c kvm_apic_set_state()");

    private final Grade grade;

    /** Why it refuses, likeliest first; empty for what is no refusal. */
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

    /** What a call that breaks it gets; absent for what is no refusal. */
    public Optional<Errno> errno() {
        return causes.stream().findFirst().map(cause -> new Errno(cause.errno()));
    }

    /** How the rule is known. */
    public Grade grade() {
        return grade;
    }

    /** Why it refuses; more than one where calls are explained differently. Empty for what is no refusal. */
    public List<Cause> causes() {
        return causes;
    }

    /** In words, beginning in lower case. */
    public String text() {
        return text;
    }

    /** File and function of the kernel, or the macro or request handled there. */
    public String source() {
        return source;
    }

    /** The result of a call that breaks it. */
    public int refusal() {
        if (causes.isEmpty()) {
            throw new IllegalStateException(this + " refuses nothing");
        }
        return -causes.get(0).errno();
    }
}
