/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.Grade.INFERRED;
import static io.kvmirq.fake.Grade.LAB;
import static io.kvmirq.fake.Grade.MEASURED;
import static io.kvmirq.fake.Grade.SOURCE;

import io.kvmirq.Errno;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What the fake kernel decides, one constant a decision: the errno where it refuses, how sure we are of it, and where in
 * the kernel it is made. Measured means on 6.18, x86-64, unless the rule is about another kernel.
 */
public enum Rule {
    // Descriptors and memory of the process
    FD_NOT_OPEN(Errno.EBADF, MEASURED, "the descriptor is not open", "fs/file.c fdget()"),
    FD_TABLE_FULL(Errno.EMFILE, SOURCE, "every descriptor up to the limit is open", "fs/file.c alloc_fd()"),
    FD_LOWEST(MEASURED, "a new descriptor is the lowest free one", "fs/file.c alloc_fd()"),
    FD_DUP_LIMIT(Errno.EINVAL, MEASURED, "F_DUPFD from beyond the limit", "fs/fcntl.c do_fcntl()"),
    FD_LAST_CLOSE(MEASURED, "the last descriptor of a file releases it, no earlier one", "fs/file_table.c fput()"),
    FAULT(Errno.EFAULT, MEASURED, "an address outside the caller's memory", "copy_from_user(), copy_to_user()"),
    NO_SUCH_FILE(Errno.ENOENT, MEASURED, "there is /dev/kvm, and no other file", "fs/namei.c"),
    MAP_LENGTH(Errno.EINVAL, SOURCE, "mmap of nothing", "mm/mmap.c do_mmap()"),
    MAP_NOT_A_VCPU(Errno.ENODEV, MEASURED, "mmap of a file without memory", "mm/mmap.c do_mmap()"),
    UNMAP_ALIGNMENT(Errno.EINVAL, MEASURED, "munmap off a page, or of nothing", "mm/mmap.c do_munmap()"),
    FD_CLOSED_ON_EXEC(MEASURED, "all that a Libc makes is closed on exec", "O_CLOEXEC of each call"),
    NEGATIVE_OFFSET(
            Errno.EINVAL, MEASURED, "an offset below 0, seen before the file", "fs/read_write.c ksys_pread64()"),
    NO_OFFSET(Errno.ESPIPE, MEASURED, "pread or pwrite of a file without places", "fs/read_write.c ksys_pread64()"),
    NOT_READABLE(Errno.EINVAL, MEASURED, "read from or write to a file without such an operation", "fs/read_write.c"),
    FOREIGN_PROCESS(
            Errno.EIO, MEASURED, "a VM, vCPU or device of another process, whatever is asked", "kvm_main.c kvm->mm"),

    // eventfd
    EVENTFD_FLAGS(Errno.EINVAL, MEASURED, "eventfd with unknown flags", "fs/eventfd.c do_eventfd()"),
    EVENTFD_LENGTH(Errno.EINVAL, MEASURED, "read or write of fewer than 8 bytes", "fs/eventfd.c"),
    EVENTFD_LONG_WRITE(
            Errno.EINVAL, MEASURED, "since 6.9: a write of more than 8 bytes", "fs/eventfd.c eventfd_write()"),
    EVENTFD_LONG_WRITE_TAKEN(LAB, "before 6.9 a longer write counts as one of 8 bytes", "fs/eventfd.c eventfd_write()"),
    EVENTFD_ALL_ONES(Errno.EINVAL, MEASURED, "2^64-1 cannot be added", "fs/eventfd.c eventfd_write()"),
    EVENTFD_FULL(Errno.EAGAIN, MEASURED, "the count would pass 2^64-2", "fs/eventfd.c eventfd_write()"),
    EVENTFD_EMPTY(Errno.EAGAIN, MEASURED, "the count is 0", "fs/eventfd.c eventfd_read()"),
    EVENTFD_SEMAPHORE(MEASURED, "a semaphore gives one at a time", "fs/eventfd.c eventfd_ctx_do_read()"),
    EVENTFD_SATURATES(
            MEASURED,
            "a signal of the kernel's saturates the count at 2^64-1, which poll calls an error",
            "fs/eventfd.c eventfd_signal_mask()"),
    EVENTFD_NOWAIT_NOTHING(MEASURED, "a vector of no bytes is read without looking", "fs/read_write.c"),
    NOT_AN_EVENTFD_NOWAIT(Errno.EINVAL, MEASURED, "preadv2 on a file without read_iter", "fs/read_write.c"),
    UNKNOWN_IOCTL_OF_FILE(Errno.ENOTTY, MEASURED, "a request that the file has no operation for", "fs/ioctl.c"),
    EPOLL_UNKNOWN_IOCTL(Errno.EINVAL, MEASURED, "since 6.9 an epoll set knows two requests", "fs/eventpoll.c"),
    EPOLL_UNKNOWN_IOCTL_BEFORE(Errno.ENOTTY, LAB, "before 6.9 an epoll set knows none", "fs/eventpoll.c"),

    // /dev/kvm
    KVM_UNKNOWN_REQUEST(Errno.EINVAL, MEASURED, "a request /dev/kvm does not know", "kvm_main.c kvm_dev_ioctl()"),
    KVM_ARGUMENT(Errno.EINVAL, MEASURED, "an argument where none belongs", "kvm_main.c kvm_dev_ioctl()"),
    KVM_VM_TYPE(Errno.EINVAL, MEASURED, "a VM type that is not supported", "x86.c kvm_arch_init_vm()"),
    KVM_CPUID_ROOM(Errno.E2BIG, MEASURED, "no room for any CPUID leaf", "cpuid.c kvm_dev_ioctl_get_cpuid()"),
    KVM_ATTRIBUTE(Errno.ENXIO, MEASURED, "an attribute the system does not have", "x86.c kvm_x86_dev_get_attr()"),
    CAPABILITY_UNKNOWN(
            MEASURED, "an unknown capability is 0, not an error", "kvm_main.c kvm_vm_ioctl_check_extension()"),

    DEVICE_CAPABILITY_BEFORE(
            LAB,
            "before 6.5 x86 has KVM_CREATE_DEVICE without its capability",
            "kvm_main.c kvm_vm_ioctl_check_extension_generic()"),

    // VM
    VM_UNKNOWN_REQUEST(Errno.ENOTTY, MEASURED, "a request a VM does not know", "x86.c kvm_arch_vm_ioctl()"),
    VM_TSS_ADDRESS(
            Errno.EINVAL,
            MEASURED,
            "three pages for the TSS must lie below 4 GiB",
            "x86.c kvm_vm_ioctl_set_tss_addr()"),
    VCPU_ID(
            Errno.EINVAL,
            MEASURED,
            "a vCPU id of KVM_CAP_MAX_VCPU_ID or more",
            "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    VCPU_ID_HALF_BEFORE(
            LAB, "before 6.11 the upper half of a vCPU id is not looked at", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    VCPU_EXISTS(
            Errno.EEXIST,
            MEASURED,
            "the id is taken, seen after the vCPU was made",
            "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    IRQCHIP_EXISTS(Errno.EEXIST, MEASURED, "there is an irqchip, full or split", "x86.c KVM_CREATE_IRQCHIP"),
    IRQCHIP_AFTER_VCPU(
            Errno.EINVAL, MEASURED, "a full irqchip comes before the first vCPU", "x86.c KVM_CREATE_IRQCHIP"),
    IRQCHIP_NOT_BUILT_IN(
            Errno.ENOTTY, SOURCE, "a kernel built without CONFIG_KVM_IOAPIC (since 6.17)", "x86.c KVM_CREATE_IRQCHIP"),
    SPLIT_PINS(Errno.EINVAL, MEASURED, "more than 4096 pins", "x86.c KVM_CAP_SPLIT_IRQCHIP"),
    SPLIT_PINS_KEPT(MEASURED, "of the number of pins 8 bits are kept: 4096 is 0", "kvm_host.h nr_reserved_ioapic_pins"),
    SPLIT_EXISTS(Errno.EEXIST, MEASURED, "there is an irqchip or a vCPU", "x86.c KVM_CAP_SPLIT_IRQCHIP"),
    CAP_FLAGS(Errno.EINVAL, MEASURED, "flags of KVM_ENABLE_CAP", "x86.c kvm_vm_ioctl_enable_cap()"),
    CAP_UNKNOWN(Errno.EINVAL, MEASURED, "a capability that cannot be enabled", "x86.c kvm_vm_ioctl_enable_cap()"),
    X2APIC_BITS(
            Errno.EINVAL,
            MEASURED,
            "bits of KVM_CAP_X2APIC_API this kernel does not know",
            "x86.c KVM_X2APIC_API_VALID_FLAGS"),
    X2APIC_TWO_BITS_BEFORE(Errno.EINVAL, LAB, "before 6.18 it knows two of them", "x86.c KVM_X2APIC_API_VALID_FLAGS"),
    X2APIC_BOTH_SUPPRESS(
            Errno.EINVAL, MEASURED, "EOI broadcast suppressed and not suppressed", "x86.c KVM_CAP_X2APIC_API"),
    X2APIC_SUPPRESS_SPLIT(
            Errno.EINVAL, MEASURED, "suppressing EOI broadcasts needs the split irqchip", "x86.c KVM_CAP_X2APIC_API"),
    BOOT_VCPU_AFTER_VCPU(
            Errno.EBUSY, MEASURED, "the boot vCPU is chosen before there is any", "x86.c KVM_SET_BOOT_CPU_ID"),
    BOOT_VCPU_ID(
            Errno.EINVAL, MEASURED, "since 6.11: a boot vCPU beyond the ids there may be", "x86.c KVM_SET_BOOT_CPU_ID"),
    PIT_EXISTS(Errno.EEXIST, MEASURED, "there is a timer", "x86.c KVM_CREATE_PIT2"),
    PIT_WITHOUT_PIC_BEFORE(LAB, "on 6.1 a timer needs no PICs", "x86.c KVM_CREATE_PIT2"),
    PIT_NEEDS_PIC(Errno.ENOENT, MEASURED, "a timer without PICs in the kernel", "x86.c KVM_CREATE_PIT2"),
    CHIP_NEEDS_FULL(Errno.ENXIO, MEASURED, "chip state without the full irqchip", "x86.c KVM_GET_IRQCHIP"),
    CHIP_UNKNOWN(Errno.EINVAL, MEASURED, "a chip that is none of the three", "irq.c kvm_vm_ioctl_get_irqchip()"),

    // Memory slots, in the order of __kvm_set_memory_region()
    MEMORY_FLAGS(Errno.EINVAL, MEASURED, "unknown flags of a slot", "kvm_main.c check_memory_region_flags()"),
    MEMORY_ALIGNMENT(
            Errno.EINVAL,
            MEASURED,
            "size or addresses off a page, or beyond user memory",
            "kvm_main.c kvm_set_memory_region()"),
    MEMORY_SLOT(Errno.EINVAL, MEASURED, "slot 32764 or later, or too many pages", "kvm_main.c kvm_set_memory_region()"),
    MEMORY_SPACES(
            LAB,
            "with System Management Mode built in, slots from 65536 on are that mode's memory",
            "kvm_main.c kvm_set_memory_region()"),
    MEMORY_ABSENT(Errno.EINVAL, MEASURED, "nothing to delete", "kvm_main.c kvm_set_memory_region()"),
    MEMORY_CHANGED(
            Errno.EINVAL,
            MEASURED,
            "size, user address or READONLY of a live slot",
            "kvm_main.c kvm_set_memory_region()"),
    MEMORY_OVERLAP(Errno.EEXIST, MEASURED, "another slot lies there", "kvm_main.c kvm_check_memslot_overlap()"),
    MEMORY_BEYOND(
            Errno.EINVAL,
            INFERRED,
            "beyond the processor's physical addresses, here 52 bits",
            "x86.c kvm_arch_prepare_memory_region()"),

    MEMORY_MEMFD(
            Errno.EBADF, MEASURED, "the file of a slot's private memory is not open", "guest_memfd.c kvm_gmem_bind()"),
    MEMORY_NOT_A_MEMFD(
            Errno.EINVAL, MEASURED, "the file of a slot's private memory is another", "guest_memfd.c kvm_gmem_bind()"),

    // Statistics
    STATS_READ_ONLY(Errno.EBADF, MEASURED, "statistics are not written", "kvm_main.c kvm_vm_ioctl_get_stats_fd()"),
    STATS_NONE(INFERRED, "the fake counts nothing: its statistics have no descriptors", "binary_stats.c"),

    // vCPU
    VCPU_HALT_LEAVES(MEASURED, "without LAPIC in the kernel HLT leaves for the VMM", "x86.c kvm_emulate_halt()"),
    VCPU_INTERRUPT_VECTOR(
            Errno.EINVAL, MEASURED, "KVM_INTERRUPT beyond vector 255", "x86.c kvm_vcpu_ioctl_interrupt()"),
    VCPU_INTERRUPT_PIC(
            Errno.ENXIO,
            MEASURED,
            "KVM_INTERRUPT where the PICs are in the kernel",
            "x86.c kvm_vcpu_ioctl_interrupt()"),
    VCPU_INTERRUPT_PENDING(
            Errno.EEXIST,
            MEASURED,
            "with the split irqchip one KVM_INTERRUPT waits at a time",
            "x86.c kvm_vcpu_ioctl_interrupt()"),
    VCPU_STATE_WITHOUT_LAPIC(
            Errno.EINVAL,
            MEASURED,
            "a vCPU without LAPIC in the kernel is always runnable",
            "x86.c kvm_arch_vcpu_ioctl_set_mpstate()"),
    VCPU_STATE_UNKNOWN(Errno.EINVAL, MEASURED, "a state that is not x86's", "x86.c kvm_arch_vcpu_ioctl_set_mpstate()"),
    VCPU_STATE_FIRST(
            MEASURED,
            "the boot vCPU is runnable, others wait for INIT where LAPICs are in the kernel",
            "x86.c kvm_arch_vcpu_create()"),
    VCPU_UNKNOWN_REQUEST(Errno.EINVAL, MEASURED, "a request a vCPU does not know", "kvm_main.c kvm_vcpu_ioctl()"),
    VCPU_ONE_CALL(
            MEASURED, "a call on a vCPU waits while the guest runs, halted or not", "kvm_main.c kvm_vcpu_ioctl()"),
    VCPU_CPUID_AFTER_RUN(MEASURED, "once it has run, a vCPU's CPUID is only compared", "cpuid.c kvm_set_cpuid()"),
    VCPU_CPUID_OTHER(Errno.EINVAL, MEASURED, "another CPUID for a vCPU that has run", "cpuid.c kvm_set_cpuid()"),
    VCPU_CPUID_LEAVES(Errno.E2BIG, MEASURED, "more than 256 CPUID leaves", "cpuid.c kvm_vcpu_ioctl_set_cpuid2()"),
    VCPU_RUN_ARGUMENT(Errno.EINVAL, MEASURED, "KVM_RUN with an argument", "kvm_main.c kvm_vcpu_ioctl()"),
    VCPU_IMMEDIATE_EXIT(Errno.EINTR, MEASURED, "immediate_exit is set", "x86.c kvm_arch_vcpu_ioctl_run()"),
    VCPU_CAP(Errno.EINVAL, MEASURED, "a capability a vCPU does not have", "x86.c kvm_vcpu_ioctl_enable_cap()"),
    VCPU_ATTRIBUTE(Errno.ENXIO, MEASURED, "an attribute other than the TSC offset", "x86.c kvm_arch_tsc_has_attr()"),
    LAPIC_X2APIC_ID_BEFORE(
            LAB, "on 6.1 restored registers may have another id in x2APIC mode", "lapic.c kvm_apic_state_fixup()"),
    LAPIC_X2APIC_ID(
            Errno.EINVAL,
            MEASURED,
            "another id in x2APIC mode with long APIC ids, after the SVR was taken",
            "lapic.c kvm_apic_state_fixup()"),
    LAPIC_NONE(Errno.EINVAL, MEASURED, "no LAPIC in the kernel, seen before the address", "x86.c KVM_GET_LAPIC"),

    // Routes, in the order of kvm_set_irq_routing()
    ROUTES_NEED_IRQCHIP(Errno.EINVAL, MEASURED, "routes without irqchip", "x86 kvm_arch_can_set_irq_routing()"),
    ROUTES_TOO_MANY(Errno.EINVAL, MEASURED, "more than 4096 entries", "kvm_main.c KVM_SET_GSI_ROUTING"),
    ROUTES_FLAGS(Errno.EINVAL, MEASURED, "flags of the table", "kvm_main.c KVM_SET_GSI_ROUTING"),
    ROUTE_GSI(Errno.EINVAL, MEASURED, "a GSI of 4096 or more", "irqchip.c kvm_set_irq_routing()"),
    ROUTE_FLAGS(Errno.EINVAL, MEASURED, "flags an entry of that type has not", "irqchip.c kvm_set_irq_routing()"),
    ROUTE_CONFLICT(
            Errno.EINVAL,
            MEASURED,
            "two entries of a GSI that are not pins of two chips",
            "irqchip.c setup_routing_entry()"),
    ROUTE_TYPE(Errno.EINVAL, MEASURED, "a type of entry this kernel does not have", "irq.c kvm_set_routing_entry()"),
    ROUTE_PIN(Errno.EINVAL, MEASURED, "no such chip or pin, or no full irqchip", "irq.c kvm_set_routing_entry()"),
    ROUTE_HIGH_ADDRESS(
            Errno.EINVAL, MEASURED, "the low byte of address_hi with the long APIC ids", "irq.c kvm_route_invalid()"),
    ROUTE_SYNTHETIC(
            LAB,
            "with Hyper-V built in a route may be a synthetic interrupt; without SynIC nobody listens",
            "hyperv.c kvm_hv_set_sint()"),
    ROUTES_REPLACED(MEASURED, "a table is replaced whole or not at all", "irqchip.c kvm_set_irq_routing()"),

    // irqfd, in the order of kvm_irqfd()
    IRQFD_FLAGS(Errno.EINVAL, MEASURED, "flags other than DEASSIGN and RESAMPLE", "eventfd.c kvm_irqfd()"),
    IRQFD_NEEDS_IRQCHIP(Errno.EINVAL, MEASURED, "an irqfd without irqchip", "irq.c kvm_arch_irqfd_allowed()"),
    IRQFD_RESAMPLE_NEEDS_FULL(
            Errno.EINVAL, MEASURED, "RESAMPLE without the full irqchip", "irq.c kvm_arch_irqfd_allowed()"),
    IRQFD_FD(Errno.EBADF, MEASURED, "the eventfd or resamplefd is not open", "eventfd.c kvm_irqfd_assign()"),
    IRQFD_NOT_AN_EVENTFD(
            Errno.EINVAL,
            MEASURED,
            "the eventfd or resamplefd is something else",
            "fs/eventfd.c eventfd_ctx_fileget()"),
    IRQFD_BUSY_HOST(
            Errno.EBUSY, MEASURED, "since 6.17: the eventfd feeds a GSI of any VM", "eventfd.c kvm_irqfd_register()"),
    IRQFD_BUSY_VM(Errno.EBUSY, LAB, "before 6.17: the eventfd feeds a GSI of this VM", "eventfd.c kvm_irqfd_assign()"),
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
    IOEVENTFD_ARGUMENTS(
            Errno.EINVAL,
            MEASURED,
            "length, wrap, flags, or a match without length",
            "eventfd.c kvm_assign_ioeventfd()"),
    IOEVENTFD_FD(Errno.EBADF, MEASURED, "the eventfd is not open", "eventfd.c kvm_assign_ioeventfd_idx()"),
    IOEVENTFD_NOT_AN_EVENTFD(
            Errno.EINVAL, MEASURED, "the eventfd is something else", "fs/eventfd.c eventfd_ctx_fdget()"),
    IOEVENTFD_COLLIDES(
            Errno.EEXIST, MEASURED, "another takes some of the same writes", "eventfd.c ioeventfd_check_collision()"),
    IOEVENTFD_NONE(Errno.ENOENT, MEASURED, "none is exactly like it", "eventfd.c kvm_deassign_ioeventfd_idx()"),
    IOEVENTFD_TAKES(
            MEASURED, "a matching write of the guest signals instead of leaving", "eventfd.c ioeventfd_write()"),

    // Messages and lines
    MSI_NEEDS_IRQCHIP(Errno.EINVAL, MEASURED, "a message without irqchip", "irqchip.c kvm_send_userspace_msi()"),
    MSI_FLAGS(Errno.EINVAL, MEASURED, "flags other than VALID_DEVID", "irqchip.c kvm_send_userspace_msi()"),
    MSI_HIGH_ADDRESS(
            Errno.EINVAL, MEASURED, "the low byte of address_hi with the long APIC ids", "irq.c kvm_set_msi()"),
    MSI_NOBODY(
            Errno.EPERM, MEASURED, "-1: every LAPIC was asked and it was for none", "irq.c kvm_irq_delivery_to_apic()"),
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
    LINE_NEEDS_IRQCHIP(Errno.ENXIO, MEASURED, "a line without irqchip", "x86.c kvm_vm_ioctl_irq_line()"),
    LINE_UNROUTED(MEASURED, "a line without route has status -1", "irqchip.c kvm_set_irq()"),
    LINE_STATUS_SUM(MEASURED, "the status is the sum over the routes that listened", "irqchip.c kvm_set_irq()"),

    // Devices
    DEVICE_TYPE(Errno.ENODEV, MEASURED, "a device type x86 does not have", "kvm_main.c kvm_ioctl_create_device()"),
    DEVICE_TEST(MEASURED, "TEST makes nothing and leaves the fd field alone", "kvm_main.c kvm_ioctl_create_device()"),
    DEVICE_SECOND(Errno.EBUSY, MEASURED, "a VM has one KVM-VFIO device", "vfio.c kvm_vfio_create()"),
    DEVICE_UNKNOWN_REQUEST(Errno.ENOTTY, MEASURED, "a request a device does not know", "kvm_main.c kvm_device_ioctl()"),
    DEVICE_NO_GETTER(
            Errno.EPERM,
            MEASURED,
            "KVM-VFIO has nothing to get, seen before the address",
            "kvm_main.c kvm_device_ioctl_attr()"),
    VFIO_ATTRIBUTE(
            Errno.ENXIO, MEASURED, "an attribute other than FILE_ADD and FILE_DEL", "vfio.c kvm_vfio_set_attr()"),
    VFIO_FILE_FD(Errno.EBADF, MEASURED, "the file is not open", "vfio.c kvm_vfio_file_add()"),
    VFIO_NOT_A_VFIO_FILE(Errno.EINVAL, MEASURED, "the file is not VFIO's", "vfio.c kvm_vfio_file_add()"),
    VFIO_FILE_UNKNOWN(Errno.ENOENT, MEASURED, "the file was not added", "vfio.c kvm_vfio_file_del()"),

    // arm64; the lab is Debian's 6.1 and 6.12 on a machine with GICv3 alone, what changed did so between them
    ARM_VM_TYPE(
            Errno.EINVAL,
            LAB,
            "fewer than 32 bits of guest addresses, more than the host has, or not only bits",
            "arm64 mmu.c kvm_init_ipa_range()"),
    ARM_MSI_DEVID_OF_VM(
            Errno.EINVAL, LAB, "whether messages need a device is asked of a VM", "arm.c KVM_CAP_MSI_DEVID"),
    ARM_VM_UNKNOWN_REQUEST(Errno.EINVAL, LAB, "a request a VM on arm64 does not know", "arm.c kvm_arch_vm_ioctl()"),
    ARM_VM_ATTRIBUTE(Errno.ENXIO, LAB, "on 6.12: an attribute a VM on arm64 does not have", "arm.c kvm_vm_has_attr()"),
    ARM_CAP_FLAGS(Errno.EINVAL, LAB, "flags of KVM_ENABLE_CAP", "arm.c kvm_vm_ioctl_enable_cap()"),
    ARM_CAP_UNKNOWN(Errno.EINVAL, LAB, "a capability that cannot be enabled", "arm.c kvm_vm_ioctl_enable_cap()"),
    ARM_MEMORY_BEYOND(
            Errno.EFAULT, LAB, "memory beyond the VM's addresses", "arm64 mmu.c kvm_arch_prepare_memory_region()"),
    ARM_VCPU_ID(Errno.EINVAL, LAB, "a vCPU id of 512 or more", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    ARM_VCPU_ID_TRUNCATED(
            LAB, "on 6.1 only 32 bits of a vCPU id are looked at", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    ARM_VCPU_AFTER_INIT(
            Errno.EBUSY, LAB, "a vCPU comes before the VGIC is initialized", "arm.c kvm_arch_vcpu_precreate()"),
    ARM_VCPU_TARGET(Errno.EINVAL, LAB, "a target that is not the preferred one", "arm.c kvm_vcpu_set_target()"),
    ARM_VCPU_FEATURE(Errno.ENOENT, LAB, "a feature there is none of", "arm.c kvm_vcpu_init_check_features()"),
    ARM_VCPU_FEATURES_OF_VM(
            Errno.EINVAL,
            LAB,
            "on 6.12: other features than the VM's first vCPU, but for power-off",
            "arm.c kvm_vcpu_init_changed()"),
    ARM_VCPU_FEATURES_BEFORE(
            Errno.EINVAL, LAB, "on 6.1: other features than this vCPU had", "arm.c kvm_vcpu_set_target()"),
    ARM_VCPU_NOT_INITIALIZED(Errno.ENOEXEC, LAB, "registers before KVM_ARM_VCPU_INIT", "arm.c kvm_arch_vcpu_ioctl()"),
    ARM_VCPU_ATTRIBUTE(
            Errno.ENXIO, LAB, "an attribute a vCPU does not have", "arm64 guest.c kvm_arm_vcpu_arch_has_attr()"),

    ARM_ROUTES_WITHOUT_VGIC(LAB, "routes need no VGIC", "kvm_main.c kvm_arch_can_set_irq_routing()"),
    ARM_ROUTE_PIN(Errno.EINVAL, LAB, "a chip but 0, or pin 988 or later", "vgic-irqfd.c kvm_set_routing_entry()"),
    ARM_PIN_NOWHERE(
            LAB,
            "a pin beyond the VGIC's interrupts takes what is sent, silently",
            "vgic-irqfd.c vgic_irqfd_set_irq()"),
    ARM_MESSAGE_LOST(LAB, "a routed message without ITS, or to one that is off, is lost", "vgic-irqfd.c kvm_set_msi()"),
    ARM_IRQFD_BEFORE_INIT(
            Errno.EAGAIN,
            LAB,
            "an irqfd before the VGIC is initialized, whatever its descriptors",
            "vgic-init.c kvm_arch_intc_initialized()"),
    ARM_IRQFD_STAYS_UP(
            LAB, "an irqfd's signal drives a pin up and not down", "vgic-irqfd.c kvm_arch_set_irq_inatomic()"),

    ARM_LINE_KIND(Errno.EINVAL, LAB, "neither CPU, SPI nor PPI", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_HAS_VGIC(Errno.ENXIO, LAB, "a CPU's own pins beside a VGIC", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_NEEDS_VGIC(
            Errno.ENXIO, LAB, "an SPI or PPI without VGIC, before its number", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_NUMBER(Errno.EINVAL, LAB, "no such vCPU or interrupt", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_BEFORE_INIT(
            Errno.EBUSY,
            LAB,
            "before the VGIC is initialized, after the vCPU and the private numbers",
            "vgic-init.c vgic_lazy_init()"),
    ARM_LINE_VCPU_BY_INDEX(LAB, "on 6.1 a vCPU is the index of its making", "arm.c kvm_vm_ioctl_irq_line()"),
    ARM_LINE_VCPU_TWICE(
            Errno.EINVAL,
            LAB,
            "on 6.1 the id of that vCPU is looked up as an index again",
            "vgic.c kvm_vgic_inject_irq()"),
    ARM_LINE_NO_STATUS(LAB, "KVM_IRQ_LINE_STATUS gives back what it was given", "kvm_main.c KVM_IRQ_LINE_STATUS"),
    ARM_MSI_NEEDS_VGIC(Errno.EINVAL, LAB, "a message without VGIC, ITS or not", "irqchip.c kvm_send_userspace_msi()"),
    ARM_MSI_NEEDS_ITS(Errno.ENODEV, LAB, "a message without ITS", "vgic-irqfd.c kvm_set_msi()"),
    ARM_MSI_NEEDS_DEVICE(Errno.EINVAL, LAB, "a message without VALID_DEVID", "vgic-its.c vgic_msi_to_its()"),
    ARM_MSI_DOORBELL(Errno.EINVAL, LAB, "a message to where no ITS is", "vgic-its.c __vgic_doorbell_to_its()"),
    ARM_MSI_ITS_OFF(
            Errno.EBUSY, LAB, "a message to an ITS the guest has not turned on", "vgic-its.c vgic_its_resolve_lpi()"),

    ARM_DEVICE_TYPE(
            Errno.ENODEV,
            LAB,
            "a device type this host does not have, GICv2 among them",
            "kvm_main.c kvm_ioctl_create_device()"),
    ARM_NO_GICV2(
            Errno.ENODEV,
            LAB,
            "KVM_CREATE_IRQCHIP makes a GICv2, which this host has not",
            "vgic-init.c kvm_vgic_create()"),
    VGIC_SECOND(Errno.EEXIST, LAB, "a VM has one VGIC for ever", "vgic-init.c kvm_vgic_create()"),
    VGIC_ATTRIBUTE(Errno.ENXIO, LAB, "an attribute a VGICv3 does not have", "vgic-kvm-device.c vgic_v3_has_attr()"),
    VGIC_PLACE_SET(Errno.EEXIST, LAB, "a place is set once", "vgic-kvm-device.c vgic_check_iorange()"),
    VGIC_PLACE_ALIGNMENT(
            Errno.EINVAL, LAB, "a place off 64 KiB, or that wraps", "vgic-kvm-device.c vgic_check_iorange()"),
    VGIC_PLACE_BEYOND(Errno.E2BIG, LAB, "a place beyond the VM's addresses", "vgic-kvm-device.c vgic_check_iorange()"),
    VGIC_REGION_WORD(
            Errno.EINVAL, LAB, "a region of no redistributors, or with flags", "vgic-kvm-device.c kvm_vgic_addr()"),
    VGIC_REGION_INDEX(
            Errno.EINVAL,
            LAB,
            "a region out of turn, or one of all after regions",
            "vgic-mmio-v3.c vgic_v3_alloc_redist_region()"),
    VGIC_REGION_OVERLAP(
            Errno.EINVAL,
            LAB,
            "redistributors over others or over the distributor, seen when they are taken",
            "vgic-mmio-v3.c vgic_v3_alloc_redist_region()"),
    VGIC_NO_REGION(Errno.ENOENT, LAB, "no region of that index", "vgic-kvm-device.c kvm_vgic_addr()"),
    VGIC_INTERRUPTS(
            Errno.EINVAL,
            LAB,
            "fewer than 64 interrupts, more than 992, or no multiple of 32",
            "vgic-kvm-device.c KVM_DEV_ARM_VGIC_GRP_NR_IRQS"),
    VGIC_INTERRUPTS_SET(
            Errno.EBUSY,
            LAB,
            "their number is set once, and by init",
            "vgic-kvm-device.c KVM_DEV_ARM_VGIC_GRP_NR_IRQS"),
    VGIC_DEFAULT_ROUTES(
            LAB,
            "init replaces the routes: GSIs from 0 to the SPIs from 32",
            "vgic-irqfd.c kvm_vgic_setup_default_irq_routing()"),
    VGIC_NO_VCPU(Errno.EINVAL, LAB, "registers without that vCPU", "vgic-kvm-device.c vgic_v3_parse_attr()"),
    VGIC_REGISTER_BEFORE_INIT(
            Errno.EBUSY, LAB, "registers before init", "vgic-kvm-device.c vgic_v3_attr_regs_access()"),
    VGIC_PENDING_IS_LATCHED(
            LAB,
            "the host's ISPENDR is the latch of edges, whole; its ICPENDR is nothing",
            "vgic-mmio.c __read_pending()"),
    VGIC_LEVEL_INFO(
            Errno.EINVAL,
            LAB,
            "levels from no multiple of 32, or something else about them",
            "vgic-mmio-v3.c vgic_v3_line_level_info_uaccess()"),
    VGIC_EDGE(LAB, "an edge up is latched, one down is nothing; SPIs begin as edges", "vgic.c kvm_vgic_inject_irq()"),
    VGIC_LEVEL(LAB, "a level follows its line, whoever drove it last", "vgic.c kvm_vgic_inject_irq()"),

    ITS_ATTRIBUTE(Errno.ENXIO, LAB, "an attribute an ITS does not have", "vgic-its.c vgic_its_has_attr()"),
    ITS_PLACE_TYPE(
            Errno.ENODEV, LAB, "a place of something else, before its address", "vgic-its.c vgic_its_set_attr()"),
    ITS_CONTROL_IGNORED(LAB, "an unknown control of an ITS does nothing and succeeds", "vgic-its.c vgic_its_ctrl()"),
    ITS_REGISTER_ALIGNMENT(Errno.EINVAL, LAB, "off a register's size", "vgic-its.c vgic_its_attr_regs_access()"),
    ITS_NO_REGISTER(
            Errno.ENXIO,
            LAB,
            "no such register, or registers of an ITS without a place",
            "vgic-its.c vgic_its_attr_regs_access()"),

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

    /** 0 for none. */
    private final int errno;

    private final Grade grade;
    private final String text;
    private final String source;

    Rule(@Nullable Errno errno, Grade grade, String text, String source) {
        this.errno = errno == null ? 0 : errno.number();
        this.grade = grade;
        this.text = text;
        this.source = source;
    }

    Rule(Grade grade, String text, String source) {
        this(null, grade, text, source);
    }

    /** What a call that breaks it gets; absent for what is no refusal. */
    public Optional<Errno> errno() {
        return errno == 0 ? Optional.empty() : Optional.of(new Errno(errno));
    }

    public Grade grade() {
        return grade;
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
    int refusal() {
        if (errno == 0) {
            throw new IllegalStateException(this + " refuses nothing");
        }
        return -errno;
    }
}
