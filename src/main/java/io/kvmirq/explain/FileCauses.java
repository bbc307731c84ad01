/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Cause.cause;
import static io.kvmirq.explain.Fact.FOREIGN;
import static io.kvmirq.explain.Fact.OWN;

import io.kvmirq.Errno;
import java.util.List;

/** Of descriptors, memory, eventfds and the device node, and what any request may be answered. */
final class FileCauses {
    private static final String LOAD = "ls /sys/module/kvm_intel /sys/module/kvm_amd; modprobe the one of this CPU";
    private static final String LOOK_AT_FDS = "look at /proc/PID/fd of the process";

    private static final String KINDS =
            LOOK_AT_FDS + ": anon_inode:kvm-vm is a VM, kvm-vcpu:N a vCPU, kvm-vfio a device, [eventfd] an eventfd";

    private FileCauses() {}

    static List<Cause> rows() {
        return List.of(
                cause(
                        "NEGATIVE_OFFSET",
                        KernelCall.EVENTFD_READ,
                        Errno.EINVAL,
                        "an offset below 0",
                        "the offset passed to pread"),
                cause(
                        "NO_OFFSET",
                        KernelCall.EVENTFD_READ,
                        Errno.ESPIPE,
                        "the file has no places: pread and pwrite are not for it",
                        "read instead"),
                cause(
                        "NEGATIVE_OFFSET",
                        KernelCall.EVENTFD_WRITE,
                        Errno.EINVAL,
                        "an offset below 0",
                        "the offset passed to pwrite"),
                cause(
                        "NO_OFFSET",
                        KernelCall.EVENTFD_WRITE,
                        Errno.ESPIPE,
                        "the file has no places: pread and pwrite are not for it",
                        "write instead"),
                cause(
                        "STATS_READ_ONLY",
                        KernelCall.EVENTFD_WRITE,
                        Errno.EBADF,
                        "the descriptor is open for reading only, such as that of statistics",
                        "/proc/PID/fdinfo of it"),
                cause(
                        "NO_SUCH_FILE",
                        KernelCall.OPEN,
                        Errno.ENOENT,
                        "no KVM here: load kvm_intel or kvm_amd, or enable virtualisation in firmware",
                        LOAD),
                cause(
                        "open-permission",
                        KernelCall.OPEN,
                        Errno.EACCES,
                        "this user may not open it: join the group that owns it, usually kvm",
                        "ls -l the node, and id"),
                cause(
                        "open-forbidden",
                        KernelCall.OPEN,
                        Errno.EPERM,
                        "a container or LSM rule forbids it: pass the device in",
                        "the container's device list, and the audit log"),
                cause(
                        "open-hypervisor",
                        KernelCall.OPEN,
                        Errno.EBUSY,
                        VmCauses.OTHER_HYPERVISOR,
                        "lsmod | grep -e vbox -e vmmon"),
                cause("open-no-driver", KernelCall.OPEN, Errno.ENXIO, NO_DRIVER, LOAD),
                cause("open-no-driver", KernelCall.OPEN, Errno.ENODEV, NO_DRIVER, LOAD),
                cause(
                        "version-not-kvm",
                        KernelCall.KVM_VERSION,
                        Errno.ENOTTY,
                        "the node is not a KVM device",
                        "ls -l the node: KVM's is character device 10:232"),
                cause(
                        "KVM_ARGUMENT",
                        KernelCall.KVM_VERSION,
                        Errno.EINVAL,
                        "these two take no argument",
                        "pass 0 as the third argument of ioctl"),
                cause(
                        "FOREIGN_PROCESS",
                        KernelCall.ANY_IOCTL,
                        Errno.EIO,
                        "the VM belongs to another process, and KVM serves only the one that created it",
                        "compare with the creating process: after fork or over a socket a VM descriptor only keeps the VM"
                                + " alive",
                        FOREIGN),
                cause(
                        "vm-dead",
                        KernelCall.ANY_IOCTL,
                        Errno.EIO,
                        "KVM has marked the VM dead",
                        "dmesg, which shows why KVM gave it up",
                        OWN),
                cause("FD_NOT_OPEN", KernelCall.ANY_IOCTL, Errno.EBADF, "a descriptor is not open", LOOK_AT_FDS),
                cause(
                        "FAULT",
                        KernelCall.ANY_IOCTL,
                        Errno.EFAULT,
                        "the structure, or what it points to, is not in this process's memory",
                        "the address, and whether the request number has the size of the structure"),
                cause(
                        "FD_TABLE_FULL",
                        KernelCall.ANY_IOCTL,
                        Errno.EMFILE,
                        "this process has no descriptor left: raise RLIMIT_NOFILE",
                        "ls /proc/PID/fd | wc -l against ulimit -n"),
                cause(
                        "VM_UNKNOWN_REQUEST DEVICE_UNKNOWN_REQUEST UNKNOWN_IOCTL_OF_FILE EPOLL_UNKNOWN_IOCTL_BEFORE",
                        KernelCall.ANY_IOCTL,
                        Errno.ENOTTY,
                        "the request is for another kind of file than this one, or this kernel does not have it",
                        KINDS),
                cause(
                        "KVM_UNKNOWN_REQUEST VCPU_UNKNOWN_REQUEST EPOLL_UNKNOWN_IOCTL",
                        KernelCall.ANY_IOCTL,
                        Errno.EINVAL,
                        "the request is for another kind of file than this one: /dev/kvm, a vCPU and (since 6.9) an epoll"
                                + " set say EINVAL to what they do not know, never ENOTTY",
                        KINDS),
                cause(
                        "EVENTFD_FLAGS",
                        KernelCall.EVENTFD_CREATE,
                        Errno.EINVAL,
                        "flags other than EFD_CLOEXEC, EFD_NONBLOCK and EFD_SEMAPHORE",
                        "the flags"),
                cause(
                        "EVENTFD_LENGTH",
                        KernelCall.EVENTFD_WRITE,
                        Errno.EINVAL,
                        "a write has 8 bytes",
                        "the length passed to write"),
                cause(
                        "EVENTFD_ALL_ONES",
                        KernelCall.EVENTFD_WRITE,
                        Errno.EINVAL,
                        "2^64-1 cannot be added",
                        "the value written; 1 is enough for an interrupt"),
                cause(
                        "EVENTFD_LONG_WRITE",
                        KernelCall.EVENTFD_WRITE,
                        Errno.EINVAL,
                        "since 6.9 a write of more than 8 bytes is refused",
                        "the length passed to write"),
                cause(
                        "EVENTFD_FULL",
                        KernelCall.EVENTFD_WRITE,
                        Errno.EAGAIN,
                        "the count would pass 2^64-2: nobody reads it",
                        "who should drain it; eventfd-count in /proc/PID/fdinfo"),
                cause(
                        "NOT_READABLE",
                        KernelCall.EVENTFD_WRITE,
                        Errno.EINVAL,
                        "the descriptor is a file that cannot be written",
                        LOOK_AT_FDS),
                cause(
                        "EVENTFD_LENGTH",
                        KernelCall.EVENTFD_READ,
                        Errno.EINVAL,
                        "a read has at least 8 bytes",
                        "the length passed to read"),
                cause(
                        "EVENTFD_EMPTY",
                        KernelCall.EVENTFD_READ,
                        Errno.EAGAIN,
                        "the count is 0: nothing was signalled, or an irqfd has taken it",
                        "whether the eventfd is assigned: the kernel drains those of irqfds"),
                cause(
                        "NOT_AN_EVENTFD_NOWAIT",
                        KernelCall.EVENTFD_READ,
                        Errno.EINVAL,
                        "the descriptor is not an eventfd",
                        LOOK_AT_FDS),
                cause(
                        "NOT_READABLE",
                        KernelCall.EVENTFD_READ,
                        Errno.EINVAL,
                        "the descriptor is a file that cannot be read",
                        LOOK_AT_FDS),
                cause(
                        "FD_DUP_LIMIT",
                        KernelCall.DUP,
                        Errno.EINVAL,
                        "the lowest number asked for is beyond RLIMIT_NOFILE",
                        "the number against ulimit -n"),
                cause(
                        "MAP_LENGTH",
                        KernelCall.MMAP,
                        Errno.EINVAL,
                        "a mapping has at least one page and begins at a page",
                        "length, address and offset"),
                cause(
                        "MAP_NOT_A_VCPU",
                        KernelCall.MMAP,
                        Errno.ENODEV,
                        "only a vCPU's descriptor can be mapped",
                        LOOK_AT_FDS),
                cause(
                        "UNMAP_ALIGNMENT",
                        KernelCall.MUNMAP,
                        Errno.EINVAL,
                        "address off a page, or a length of 0",
                        "address and length"));
    }

    private static final String NO_DRIVER = "the node exists but no driver answers: load kvm_intel or kvm_amd";
}
