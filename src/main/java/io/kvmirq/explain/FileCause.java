/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Fact.FOREIGN;
import static io.kvmirq.explain.Fact.OWN;
import static io.kvmirq.explain.Fact.OWN_EVENTFD;
import static io.kvmirq.explain.Fact.TYPED_CALL;

import io.kvmirq.Errno;

/** Of descriptors, memory, eventfds and the device node, and what any request may be answered. */
public enum FileCause implements Cause {
    NOT_AN_EVENTFD_NOWAIT(refusal(
                    KernelCall.EVENTFD_READ,
                    Errno.EINVAL,
                    "the descriptor is not an eventfd",
                    Text.LOOK_AT_FDS,
                    "fs/read_write.c")
            .unless(OWN_EVENTFD)),
    NOT_READABLE_READ(refusal(
                    KernelCall.EVENTFD_READ,
                    Errno.EINVAL,
                    "the descriptor is a file that cannot be read",
                    Text.LOOK_AT_FDS,
                    "fs/read_write.c")
            .unless(OWN_EVENTFD)),
    NOT_READABLE_WRITE(refusal(
                    KernelCall.EVENTFD_WRITE,
                    Errno.EINVAL,
                    "the descriptor is not an eventfd",
                    Text.LOOK_AT_FDS,
                    "fs/read_write.c")
            .unless(OWN_EVENTFD)),
    EVENTFD_ALL_ONES(refusal(
            KernelCall.EVENTFD_WRITE,
            Errno.EINVAL,
            "2^64-1 cannot be added",
            "the value written; 1 is enough for an interrupt",
            "fs/eventfd.c eventfd_write()")),
    NEGATIVE_OFFSET_READ(refusal(
                    KernelCall.EVENTFD_READ,
                    Errno.EINVAL,
                    "an offset below 0",
                    "the offset passed to pread",
                    "fs/read_write.c ksys_pread64()")
            .unless(TYPED_CALL)),
    NO_OFFSET_READ(refusal(
                    KernelCall.EVENTFD_READ,
                    Errno.ESPIPE,
                    "the file has no places: pread and pwrite are not for it",
                    "read instead",
                    "fs/read_write.c ksys_pread64()")
            .unless(TYPED_CALL)),
    NEGATIVE_OFFSET_WRITE(refusal(
                    KernelCall.EVENTFD_WRITE,
                    Errno.EINVAL,
                    "an offset below 0",
                    "the offset passed to pwrite",
                    "fs/read_write.c ksys_pread64()")
            .unless(TYPED_CALL)),
    NO_OFFSET_WRITE(refusal(
                    KernelCall.EVENTFD_WRITE,
                    Errno.ESPIPE,
                    "the file has no places: pread and pwrite are not for it",
                    "write instead",
                    "fs/read_write.c ksys_pread64()")
            .unless(TYPED_CALL)),
    STATS_READ_ONLY(refusal(
                    KernelCall.EVENTFD_WRITE,
                    Errno.EBADF,
                    "the descriptor is open for reading only, such as that of statistics",
                    "/proc/PID/fdinfo of it",
                    "kvm_main.c kvm_vm_ioctl_get_stats_fd()")
            .unless(OWN_EVENTFD)),
    NO_SUCH_FILE(refusal(
            KernelCall.OPEN,
            Errno.ENOENT,
            "no KVM here: load kvm_intel or kvm_amd, or enable virtualisation in firmware",
            Text.LOAD,
            "fs/namei.c")),
    OPEN_PERMISSION(refusal(
            KernelCall.OPEN,
            Errno.EACCES,
            "this user may not open it: join the group that owns it, usually kvm",
            "ls -l the node, and id",
            "fs/namei.c may_open()")),
    OPEN_FORBIDDEN(refusal(
            KernelCall.OPEN,
            Errno.EPERM,
            "a container or LSM rule forbids it: pass the device in",
            "the container's device list, and the audit log",
            "security/device_cgroup.c")),
    OPEN_HYPERVISOR(refusal(
            KernelCall.OPEN,
            Errno.EBUSY,
            VmCause.Text.OTHER_HYPERVISOR,
            "lsmod | grep -e vbox -e vmmon",
            "virt/kvm/kvm_main.c kvm_create_vm() hardware_enable_all()")),
    OPEN_NO_DRIVER_ENXIO(
            refusal(KernelCall.OPEN, Errno.ENXIO, Text.NO_DRIVER, Text.LOAD, "fs/char_dev.c chrdev_open()")),
    OPEN_NO_DRIVER_ENODEV(
            refusal(KernelCall.OPEN, Errno.ENODEV, Text.NO_DRIVER, Text.LOAD, "fs/char_dev.c chrdev_open()")),
    VERSION_NOT_KVM(refusal(
            KernelCall.KVM_VERSION,
            Errno.ENOTTY,
            "the node is not a KVM device",
            "ls -l the node: KVM's is character device 10:232",
            "fs/ioctl.c")),
    KVM_ARGUMENT(refusal(
                    KernelCall.KVM_VERSION,
                    Errno.EINVAL,
                    "these two take no argument",
                    "pass 0 as the third argument of ioctl",
                    "kvm_main.c kvm_dev_ioctl()")
            .unless(TYPED_CALL)),
    FOREIGN_PROCESS(refusal(
                    KernelCall.ANY_IOCTL,
                    Errno.EIO,
                    "the VM belongs to another process, and KVM serves only the one that created it",
                    "compare with the creating process: after fork or over a socket a VM descriptor only keeps the VM"
                            + " alive",
                    "kvm_main.c kvm->mm")
            .certainWhen(FOREIGN)),
    VM_DEAD(refusal(
                    KernelCall.ANY_IOCTL,
                    Errno.EIO,
                    "KVM has marked the VM dead",
                    "dmesg, which shows why KVM gave it up",
                    "kvm_main.c kvm->vm_dead")
            .needs(OWN)),
    FD_NOT_OPEN(refusal(
            KernelCall.ANY_IOCTL, Errno.EBADF, "a descriptor is not open", Text.LOOK_AT_FDS, "fs/file.c fdget()")),
    FAULT(refusal(
            KernelCall.ANY_IOCTL,
            Errno.EFAULT,
            "the structure, or what it points to, is not in this process's memory",
            "the address, and whether the request number has the size of the structure",
            "copy_from_user(), copy_to_user()")),
    FD_TABLE_FULL(refusal(
            KernelCall.ANY_IOCTL,
            Errno.EMFILE,
            "this process has no descriptor left: raise RLIMIT_NOFILE",
            "ls /proc/PID/fd | wc -l against ulimit -n",
            "fs/file.c alloc_fd()")),
    VM_UNKNOWN_REQUEST(refusal(
            KernelCall.ANY_IOCTL,
            Errno.ENOTTY,
            "the request is for another kind of file than this one, or this kernel does not have it",
            Text.KINDS,
            "x86.c kvm_arch_vm_ioctl(), kvm_main.c kvm_device_ioctl(), fs/ioctl.c, fs/eventpoll.c")),
    KVM_UNKNOWN_REQUEST(refusal(
            KernelCall.ANY_IOCTL,
            Errno.EINVAL,
            "the request is for another kind of file than this one: /dev/kvm, a vCPU and (since 6.9) an epoll"
                    + " set say EINVAL to what they do not know, never ENOTTY",
            Text.KINDS,
            "kvm_main.c kvm_dev_ioctl(), kvm_main.c kvm_vcpu_ioctl(), fs/eventpoll.c")),
    EVENTFD_FLAGS(refusal(
                    KernelCall.EVENTFD_CREATE,
                    Errno.EINVAL,
                    "flags other than EFD_CLOEXEC, EFD_NONBLOCK and EFD_SEMAPHORE",
                    "the flags",
                    "fs/eventfd.c do_eventfd()")
            .unless(TYPED_CALL)),
    EVENTFD_LENGTH_WRITE(refusal(
                    KernelCall.EVENTFD_WRITE,
                    Errno.EINVAL,
                    "a write has 8 bytes",
                    "the length passed to write",
                    "fs/eventfd.c")
            .unless(TYPED_CALL)),
    EVENTFD_LONG_WRITE(refusal(
                    KernelCall.EVENTFD_WRITE,
                    Errno.EINVAL,
                    "since 6.9 a write of more than 8 bytes is refused",
                    "the length passed to write",
                    "fs/eventfd.c eventfd_write()")
            .unless(TYPED_CALL)),
    EVENTFD_FULL(refusal(
            KernelCall.EVENTFD_WRITE,
            Errno.EAGAIN,
            "the count would pass 2^64-2: no reader drains it",
            "which thread drains it; eventfd-count in /proc/PID/fdinfo",
            "fs/eventfd.c eventfd_write()")),
    EVENTFD_LENGTH_READ(refusal(
                    KernelCall.EVENTFD_READ,
                    Errno.EINVAL,
                    "a read has at least 8 bytes",
                    "the length passed to read",
                    "fs/eventfd.c")
            .unless(TYPED_CALL)),
    EVENTFD_EMPTY(refusal(
            KernelCall.EVENTFD_READ,
            Errno.EAGAIN,
            "the count is 0: nothing was signalled, or an irqfd has taken it",
            "whether the eventfd is assigned: the kernel drains those of irqfds",
            "fs/eventfd.c eventfd_read()")),
    EPOLL_FLAGS(refusal(
            KernelCall.EPOLL_CREATE,
            Errno.EINVAL,
            "flags other than EPOLL_CLOEXEC",
            "the flags",
            "fs/eventpoll.c do_epoll_create()")),
    EPOLL_NO_POLL(refusal(
            KernelCall.EPOLL_CTL,
            Errno.EPERM,
            "the file cannot be waited for: a VM, a vCPU and /dev/kvm have no poll operation",
            Text.KINDS,
            "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_EXISTS(refusal(
            KernelCall.EPOLL_CTL,
            Errno.EEXIST,
            "the set already holds this file under this descriptor",
            "EPOLL_CTL_MOD changes what an entry waits for",
            "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_ABSENT(refusal(
            KernelCall.EPOLL_CTL,
            Errno.ENOENT,
            "the set does not hold this file under this descriptor: it was never added, or the last descriptor of the file was closed, which removes the entry",
            "tfd: lines in /proc/PID/fdinfo of the set",
            "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_LOOP(refusal(
            KernelCall.EPOLL_CTL,
            Errno.ELOOP,
            "the file is an epoll set that holds this one",
            "tfd: lines in /proc/PID/fdinfo of both sets",
            "fs/eventpoll.c ep_loop_check()")),
    EPOLL_CTL_NOT_A_SET(refusal(
            KernelCall.EPOLL_CTL,
            Errno.EINVAL,
            "the first descriptor is not an epoll set",
            Text.LOOK_AT_FDS,
            "fs/eventpoll.c is_file_epoll()")),
    EPOLL_ITSELF(refusal(
            KernelCall.EPOLL_CTL,
            Errno.EINVAL,
            "an epoll set cannot hold itself",
            Text.LOOK_AT_FDS,
            "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_OPERATION(refusal(
            KernelCall.EPOLL_CTL,
            Errno.EINVAL,
            "the operation is not EPOLL_CTL_ADD, EPOLL_CTL_MOD or EPOLL_CTL_DEL",
            "the operation",
            "fs/eventpoll.c do_epoll_ctl()")),
    EPOLL_WAIT_NOT_A_SET(refusal(
            KernelCall.EPOLL_WAIT,
            Errno.EINVAL,
            "the descriptor is not an epoll set",
            Text.LOOK_AT_FDS,
            "fs/eventpoll.c is_file_epoll()")),
    EPOLL_ROOM(refusal(
            KernelCall.EPOLL_WAIT,
            Errno.EINVAL,
            "room for no event, or for more than 2 GiB of events",
            "the number of events",
            "fs/eventpoll.c ep_check_params()")),
    EPOLL_WAIT_FAULT(refusal(
            KernelCall.EPOLL_WAIT,
            Errno.EFAULT,
            "the first event that is ready cannot be written to this process's memory",
            "the address of the events",
            "fs/eventpoll.c ep_send_events()")),
    EPOLL_KERNEL_ADDRESS(refusal(
            KernelCall.EPOLL_WAIT,
            Errno.EFAULT,
            "the room for events reaches into the kernel's addresses",
            "the address and the number of events",
            "fs/eventpoll.c ep_check_params()")),
    FD_DUP_LIMIT(refusal(
            KernelCall.DUP,
            Errno.EINVAL,
            "the lowest number asked for is beyond RLIMIT_NOFILE",
            "the number against ulimit -n",
            "fs/fcntl.c do_fcntl()")),
    MAP_LENGTH(refusal(
            KernelCall.MMAP,
            Errno.EINVAL,
            "a mapping has at least one page and begins at a page",
            "length, address and offset",
            "mm/mmap.c do_mmap()")),
    MAP_NOT_A_VCPU(refusal(
            KernelCall.MMAP,
            Errno.ENODEV,
            "only a vCPU's descriptor can be mapped",
            Text.LOOK_AT_FDS,
            "mm/mmap.c do_mmap()")),
    UNMAP_ALIGNMENT(refusal(
            KernelCall.MUNMAP,
            Errno.EINVAL,
            "address off a page, or a length of 0",
            "address and length",
            "mm/mmap.c do_munmap()"));

    /** What several say. */
    private static final class Text {
        static final String LOAD = "ls /sys/module/kvm_intel /sys/module/kvm_amd; modprobe the one of this CPU";
        static final String LOOK_AT_FDS = "look at /proc/PID/fd of the process";
        static final String KINDS =
                LOOK_AT_FDS + ": anon_inode:kvm-vm is a VM, kvm-vcpu:N a vCPU, kvm-vfio a device, [eventfd] an eventfd";
        static final String NO_DRIVER = "the node exists but no driver answers: load kvm_intel or kvm_amd";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    FileCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
