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

/** Refusals and behaviours of descriptors, process memory, eventfds, epoll sets, {@code /dev/kvm} and any request. */
public enum FileAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // Any request
    FOREIGN_PROCESS(refusal(MEASURED, ANY_IOCTL, EIO, "the VM belongs to another process, and KVM serves only the one"
        + " that created it", "compare with the creating process: after fork or over a socket a VM descriptor only"
        + " keeps the VM alive", "kvm_main.c kvm->mm").certainWhen(FOREIGN)),
    VM_DEAD(refusal(UNTESTED, ANY_IOCTL, EIO, "KVM has marked the VM dead", "dmesg, which shows why KVM gave up the VM",
        "kvm_main.c kvm->vm_dead").needs(OWN)),
    FD_NOT_OPEN(refusal(MEASURED, ANY_IOCTL, EBADF, "a descriptor is not open", FDS, "fs/file.c fdget()")
        .also(CLOSE, DUP, EPOLL_CTL, EPOLL_WAIT, MMAP, TRUNCATE, SEALS)),
    FAULT(refusal(MEASURED, ANY_IOCTL, EFAULT, "the structure, or what it points to, is not in this process's memory",
        "the address, and whether the request number has the size of the structure",
        "copy_from_user(), copy_to_user()")),
    VM_UNKNOWN_REQUEST(refusal(MEASURED, ANY_IOCTL, ENOTTY,
        "the request is for another kind of file, or this kernel does not have it",
        KINDS, "x86.c kvm_arch_vm_ioctl(), kvm_main.c kvm_device_ioctl(), fs/ioctl.c, fs/eventpoll.c")),
    NO_SIGNALS_OF_FILE(like(MEASURED, VM_UNKNOWN_REQUEST.row)),
    UNKNOWN_IOCTL_OF_FILE(like(MEASURED, VM_UNKNOWN_REQUEST.row)),
    EPOLL_UNKNOWN_IOCTL_BEFORE(like(LAB, VM_UNKNOWN_REQUEST.row)),
    KVM_UNKNOWN_REQUEST(refusal(MEASURED, ANY_IOCTL, EINVAL, "the request is for another kind of file:"
        + " /dev/kvm, a vCPU and (since 6.9) an epoll set return EINVAL for unknown requests, never ENOTTY",
        KINDS, "kvm_main.c kvm_dev_ioctl(), kvm_main.c kvm_vcpu_ioctl(), fs/eventpoll.c")),
    EPOLL_UNKNOWN_IOCTL(like(MEASURED, KVM_UNKNOWN_REQUEST.row)),

    // Descriptors and mappings
    FD_TABLE_FULL(refusal(SOURCE, OPEN, EMFILE, "this process has no descriptor left: raise RLIMIT_NOFILE",
        "ls /proc/PID/fd | wc -l against ulimit -n", "fs/file.c alloc_fd()").also(DUP).also(makersOfFiles())),
    FILES_FULL(refusal(UNTESTED, OPEN, ENFILE, "the system has no file left: raise fs.file-max",
        "/proc/sys/fs/file-nr", "fs/file_table.c alloc_empty_file()").also(makersOfFiles())),

    // Memory and signals
    NO_MEMORY(refusal(UNTESTED, OPEN, ENOMEM, "the kernel has no memory left for the call",
        "dmesg, and memory.max of the control group", "kmalloc() with GFP_KERNEL").also(makersOfFiles())
        .also(DUP, MUNMAP, MADVISE, MEMBARRIER, TRUNCATE, EPOLL_CTL, EVENTFD_WAIT)
        .also(CPUID, CPUID_OF_VCPU, CPUID_SET, CAP_ENABLE, IRQCHIP_CREATE, KernelCall.SPLIT_IRQCHIP, IRQCHIP_STATE)
        .also(PIT_CREATE, TSS, VCPU_RUN, VCPU_INIT, VCPU_FINALIZE, LAPIC_GET, SREGS_GET, SREGS_SET, REGS_GET, REGS_SET)
        .also(MSRS_GET, MSRS_SET, FPU_GET, FPU_SET, XSAVE_GET, XSAVE_SET, XCRS_GET, XCRS_SET, MEMORY)
        .also(ROUTES, IRQFD, IOEVENTFD, ATTRIBUTE, VFIO_IOMMU, VFIO_IOMMU_INFO, VFIO_CONTAINER)
        .also(VFIO_INFO, VFIO_REGION_INFO, IOMMU_REQUEST, SET_IRQS, VFIO_HOT_RESET)),
    INTERRUPTED(refusal(UNTESTED, EVENTFD_READ, EINTR, "a signal arrived while the call waited", "call again",
        "kernel/signal.c signal_pending()")
        .also(EVENTFD_WRITE, EVENTFD_WAIT, EPOLL_WAIT, SIGNAL_WAIT, OPEN, CLOSE, TRUNCATE, VM_CREATE, VCPU_CREATE)),
    NO_DIRECT(refusal(MEASURED, DUP, EINVAL, "F_SETFL with O_DIRECT on a file without direct I/O", "the flags",
        "fs/fcntl.c setfl()").unless(TYPED_CALL)),
    EVENTFD_BLOCKS(behaviour(MEASURED, "without O_NONBLOCK a read waits for a count, and a write for room",
        "fs/eventfd.c eventfd_read(), eventfd_write()")),
    FD_DUP_LIMIT(refusal(MEASURED, DUP, EINVAL, "the requested minimum number is beyond RLIMIT_NOFILE",
        "the number against ulimit -n", "fs/fcntl.c do_fcntl()")),
    ADVICE(refusal(UNTESTED, MADVISE, EINVAL, "advice that this kernel does not know, or an address that is not page-aligned",
        "the advice and the address", "mm/madvise.c do_madvise()")),
    MAP_LENGTH(refusal(MEASURED, MMAP, EINVAL, "a mapping has at least one page and begins on a page boundary",
        "length, address and offset", "mm/mmap.c do_mmap()")),
    MAP_ROOM(refusal(MEASURED, MMAP, ENOMEM, "the process's address space has no room for this length",
        "length against /proc/PID/maps", "mm/mmap.c do_mmap()")),
    MAP_ACCESS(refusal(MEASURED, MMAP, EACCES,
        "the file is not open for reading, or a shared mapping writes and the file is not open for writing",
        "flags in /proc/PID/fdinfo against PROT_WRITE", "mm/mmap.c do_mmap()")),
    MAP_KIND(refusal(MEASURED, MMAP, EINVAL, "neither MAP_SHARED nor MAP_PRIVATE, nor another type that the file supports",
        "the flags", "mm/mmap.c do_mmap()")),
    MAP_NOT_A_VCPU(refusal(MEASURED, MMAP, ENODEV, "only a vCPU's descriptor can be mapped", FDS,
        "mm/mmap.c do_mmap()")),
    MEMFD_FLAGS(refusal(MEASURED, MEMFD, EINVAL, "flags that this kernel does not know", "MFD_NOEXEC_SEAL exists since 6.3",
        "mm/memfd.c sanitize_flags()").unless(TYPED_CALL)),
    MEMFD_NAME(refusal(MEASURED, MEMFD, EINVAL, "the name has more than 249 bytes", "the name", "mm/memfd.c alloc_name()")),
    TRUNCATE_NEGATIVE(refusal(MEASURED, TRUNCATE, EINVAL, "the length is negative", "the length",
        "fs/open.c do_sys_ftruncate()")),
    TRUNCATE_KIND(refusal(MEASURED, TRUNCATE, EINVAL, "the descriptor is not a regular file open for writing", FDS,
        "fs/open.c do_sys_ftruncate()").unless(TYPED_CALL)),
    TRUNCATE_SEALED(refusal(MEASURED, TRUNCATE, EPERM, "the file is sealed against resizing", "F_GET_SEALS",
        "mm/shmem.c shmem_setattr()")),
    SEALS_KIND(refusal(MEASURED, SEALS, EINVAL, "the descriptor is not a memfd, or a seal is unknown", FDS,
        "mm/memfd.c memfd_add_seals()")),
    SEALS_SEALED(refusal(MEASURED, SEALS, EPERM, "the file accepts no more seals", "MFD_ALLOW_SEALING and F_SEAL_SEAL",
        "mm/memfd.c memfd_add_seals()")),
    UNMAP_ALIGNMENT(refusal(MEASURED, MUNMAP, EINVAL, "the address is not page-aligned, or the length is 0", "address and length",
        "mm/mmap.c do_munmap()")),
    FD_LOWEST(behaviour(MEASURED, "a new descriptor is the lowest free one", "fs/file.c alloc_fd()")),
    FD_LAST_CLOSE(behaviour(MEASURED, "a file is released when its last descriptor is closed",
        "fs/file_table.c fput()")),
    FD_CLOSED_ON_EXEC(behaviour(MEASURED, "every descriptor that a Libc creates is closed on exec",
        "O_CLOEXEC of each call")),

    // The device node
    NO_SUCH_FILE(refusal(MEASURED, OPEN, ENOENT,
        "no KVM here: load kvm_intel or kvm_amd, or enable virtualization in firmware; an arm64 host must boot at EL2",
        LOAD, "fs/namei.c")),
    OPEN_PERMISSION(refusal(UNTESTED, OPEN, EACCES,
        "this user has no permission to open it: join the group that owns it, usually kvm",
        "ls -l the node, and id", "fs/namei.c may_open()")),
    OPEN_FORBIDDEN(refusal(UNTESTED, OPEN, EPERM, "a container or LSM rule forbids it: pass the device into the container",
        "the container's device list, and the audit log", "security/device_cgroup.c")),
    OPEN_NO_DRIVER_ENXIO(refusal(UNTESTED, OPEN, ENXIO, NO_DRIVER, LOAD, "fs/char_dev.c chrdev_open()")),
    OPEN_NO_DRIVER_ENODEV(refusal(UNTESTED, OPEN, ENODEV, NO_DRIVER, LOAD, "fs/char_dev.c chrdev_open()")),
    VERSION_NOT_KVM(refusal(UNTESTED, KVM_VERSION, ENOTTY, "the node is not a KVM device",
        "ls -l the node: KVM's is character device 10:232", "fs/ioctl.c")),
    KVM_ARGUMENT(refusal(MEASURED, KVM_VERSION, EINVAL, "KVM_GET_API_VERSION and KVM_GET_VCPU_MMAP_SIZE take no argument",
        "pass 0 as the third argument of ioctl", "kvm_main.c kvm_dev_ioctl()").unless(TYPED_CALL)),

    // eventfds
    VECTOR_LENGTH(refusal(MEASURED, EVENTFD_READ, EINVAL,
        "a vector's length is negative, or there are more than 1024 vectors", "iov_len and iovcnt",
        "lib/iov_iter.c import_iovec()").unless(TYPED_CALL)),
    VECTOR_FIRST_BEFORE(behaviour(LAB, "before 6.8 preadv2() checks the vectors before the file",
        "fs/read_write.c vfs_readv()")),
    NOT_READABLE(refusal(MEASURED, EVENTFD_READ, EINVAL, "the descriptor is not an eventfd, but a file that cannot be read", FDS,
        "fs/read_write.c").unless(OWN_EVENTFD)),
    NOT_READABLE_WRITE(refusal(UNTESTED, EVENTFD_WRITE, EINVAL, "the descriptor is not an eventfd", FDS,
        "fs/read_write.c").unless(OWN_EVENTFD).or(NOT_READABLE.row)),
    EVENTFD_ALL_ONES(refusal(MEASURED, EVENTFD_WRITE, EINVAL, "2^64-1 cannot be added",
        "the value written; 1 is enough for an interrupt", "fs/eventfd.c eventfd_write()")),
    NEGATIVE_OFFSET(refusal(MEASURED, EVENTFD_READ, EINVAL, "an offset below 0, or an end beyond 2^63", "the offset passed to pread or pwrite",
        "fs/read_write.c ksys_pread64(), ksys_pwrite64()").also(EVENTFD_WRITE).unless(TYPED_CALL)),
    NO_OFFSET(refusal(MEASURED, EVENTFD_READ, ESPIPE,
        "the file is not seekable, so it does not support pread or pwrite",
        "read or write instead",
        "fs/read_write.c ksys_pread64(), ksys_pwrite64()").also(EVENTFD_WRITE).unless(TYPED_CALL)),
    NOT_FOR_WRITING(refusal(MEASURED, EVENTFD_WRITE, EBADF,
        "the descriptor is not open, or open for reading only, such as that of statistics",
        "its /proc/PID/fdinfo", "kvm_main.c kvm_vm_ioctl_get_stats_fd()").unless(OWN_EVENTFD)),
    NOT_FOR_READING(refusal(MEASURED, EVENTFD_READ, EBADF, "the descriptor is not open, or open for writing only",
        "the flags of open, and flags in /proc/PID/fdinfo", "fs/read_write.c vfs_read()").unless(OWN_EVENTFD)),
    EVENTFD_FLAGS(refusal(MEASURED, EVENTFD_CREATE, EINVAL,
        "flags other than EFD_CLOEXEC, EFD_NONBLOCK and EFD_SEMAPHORE",
        "the flags", "fs/eventfd.c do_eventfd()").unless(TYPED_CALL)),
    EVENTFD_LENGTH(refusal(MEASURED, EVENTFD_WRITE, EINVAL, "a write has 8 bytes, a read at least 8",
        "the length passed to read or write", "fs/eventfd.c").also(EVENTFD_READ).unless(TYPED_CALL)),
    EVENTFD_LONG_WRITE(refusal(MEASURED, EVENTFD_WRITE, EINVAL, "since 6.9 a write of more than 8 bytes is refused",
        "the length passed to write", "fs/eventfd.c eventfd_write()").unless(TYPED_CALL)),
    EVENTFD_FULL(refusal(MEASURED, EVENTFD_WRITE, EAGAIN, "the count would exceed 2^64-2: no reader drains it",
        "which thread drains it; eventfd-count in /proc/PID/fdinfo", "fs/eventfd.c eventfd_write()")),
    EVENTFD_EMPTY(refusal(MEASURED, EVENTFD_READ, EAGAIN,
        "the count is 0: nothing was signalled, or an irqfd has consumed it",
        "whether the eventfd is assigned: the kernel drains those of irqfds", "fs/eventfd.c eventfd_read()")),
    EVENTFD_LONG_WRITE_TAKEN(behaviour(LAB, "before 6.9 a write of more than 8 bytes writes 8",
        "fs/eventfd.c eventfd_write()")),
    EVENTFD_SEMAPHORE(behaviour(MEASURED, "reading a semaphore subtracts 1 from the count",
        "fs/eventfd.c eventfd_ctx_do_read()")),
    EVENTFD_SATURATES(behaviour(MEASURED,
        "a signal from the kernel saturates the count at 2^64-1; poll then reports EPOLLERR",
        "fs/eventfd.c eventfd_signal_mask()")),
    EVENTFD_NOWAIT_NOTHING(behaviour(MEASURED, "preadv2() of 0 bytes returns 0 without reading the eventfd",
        "fs/read_write.c")),

    // poll
    POLL_NO_TIME(refusal(MEASURED, EVENTFD_WAIT, EINVAL, "the timeout is not a time: seconds are 0 or more, nanoseconds below 10^9",
        "the timespec", "fs/select.c poll_select_set_timeout()").unless(TYPED_CALL)),
    POLL_TOO_MANY(refusal(MEASURED, EVENTFD_WAIT, EINVAL, "more files than RLIMIT_NOFILE", "nfds against ulimit -n",
        "fs/select.c do_sys_poll()")),

    // epoll sets
    EPOLL_FLAGS(refusal(MEASURED, EPOLL_CREATE, EINVAL, "flags other than EPOLL_CLOEXEC", "the flags",
        "fs/eventpoll.c do_epoll_create()")),
    EPOLL_NO_POLL(refusal(MEASURED, EPOLL_CTL, EPERM,
        "the file cannot be polled: a VM, a vCPU and /dev/kvm have no poll operation",
        KINDS, "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_EXISTS(refusal(MEASURED, EPOLL_CTL, EEXIST, "the set already contains this file under this descriptor",
        "EPOLL_CTL_MOD changes what an entry waits for", "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_ABSENT(refusal(MEASURED, EPOLL_CTL, ENOENT, "the set does not contain this file under this descriptor: it was"
        + " never added, or the last descriptor of the file was closed, which removes the entry",
        "tfd: lines in /proc/PID/fdinfo of the set", "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_LOOP(refusal(MEASURED, EPOLL_CTL, ELOOP, "the file is an epoll set that contains this one",
        "tfd: lines in /proc/PID/fdinfo of both sets", "fs/eventpoll.c ep_loop_check()")),
    EPOLL_NOT_A_SET(refusal(MEASURED, EPOLL_CTL, EINVAL, "epfd is not an epoll set", FDS,
        "fs/eventpoll.c is_file_epoll()").also(EPOLL_WAIT)),
    EPOLL_ITSELF(refusal(MEASURED, EPOLL_CTL, EINVAL, "an epoll set cannot contain itself", FDS,
        "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_OPERATION(refusal(MEASURED, EPOLL_CTL, EINVAL,
        "the operation is not EPOLL_CTL_ADD, EPOLL_CTL_MOD or EPOLL_CTL_DEL",
        "the operation", "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_EXCLUSIVE(refusal(UNTESTED, EPOLL_CTL, EINVAL, "an EPOLLEXCLUSIVE entry cannot be modified or name an epoll set,"
        + " and takes no flags but EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLWAKEUP and EPOLLET", "the events",
        "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_ROOM(refusal(MEASURED, EPOLL_WAIT, EINVAL, "no room for an event, or room for more than 2 GiB of events",
        "the number of events", "fs/eventpoll.c ep_check_params()")),
    EPOLL_WAIT_FAULT(refusal(UNTESTED, EPOLL_WAIT, EFAULT,
        "the first ready event cannot be written to this process's memory",
        "the address of the events", "fs/eventpoll.c ep_send_events()").or(FAULT.row)),
    EPOLL_KERNEL_ADDRESS(refusal(MEASURED, EPOLL_WAIT, EFAULT,
        "the event buffer reaches into kernel addresses",
        "the address and the number of events", "fs/eventpoll.c ep_check_params()")),
    EPOLL_ROOM_FIRST_BEFORE(behaviour(SOURCE, "before 6.15 maxevents and address are checked before epfd",
        "fs/eventpoll.c do_epoll_wait()")),
    EPOLL_LEVEL(behaviour(MEASURED, "without EPOLLET every wait reports a ready entry",
        "fs/eventpoll.c ep_send_events()")),
    EPOLL_EDGE(behaviour(MEASURED, "with EPOLLET an entry is reported once for each wake-up",
        "fs/eventpoll.c ep_send_events()")),
    EPOLL_LAST_CLOSE(behaviour(MEASURED,
        "closing the last descriptor of a file removes its entries; closing the one used to add it does not",
        "fs/eventpoll.c eventpoll_release_file()")),

    // membarrier
    MEMBARRIER_ABSENT(refusal(SOURCE, MEMBARRIER, ENOSYS,
        "this kernel is built without membarrier, or a system call filter hides it",
        "CONFIG_MEMBARRIER in /boot/config-*, Seccomp in /proc/self/status", "kernel/sys_ni.c"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    /** The calls other than open that create a file and its descriptor. */
    private static KernelCall[] makersOfFiles() {
        return new KernelCall[] {
            EVENTFD_CREATE,
            EPOLL_CREATE,
            MEMFD,
            VM_CREATE,
            VCPU_CREATE,
            DEVICE_CREATE,
            STATS,
            VFIO_GROUP,
            VFIO_CDEV,
            VFIO_CONTAINER_OPEN,
            IOMMUFD,
            VFIO_DEVICE_FD
        };
    }

    FileAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
