/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable.FileKind;
import java.util.Arrays;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a file of a tape is, told by what its link in {@code /proc/self/fd} reads. First match counts. */
enum FileType {
    KVM("kvm", FileKind.KVM, "/dev/kvm"),
    VM("vm", FileKind.VM, "anon_inode:kvm-vm"),
    VCPU("vcpu", FileKind.VCPU, "anon_inode:kvm-vcpu:*"),
    STATS("stats", null, "anon_inode:kvm-vm-stats anon_inode:kvm-vcpu-stats:*"),
    KVM_DEVICE("device", FileKind.KVM_DEVICE, "anon_inode:kvm-*"),
    VFIO_CONTAINER("container", FileKind.VFIO_CONTAINER, "/dev/vfio/vfio"),
    VFIO_DEVICE("vfio-device", FileKind.VFIO_DEVICE, "anon_inode:[vfio-device]* /dev/vfio/devices/*"),
    VFIO_GROUP("group", FileKind.VFIO_GROUP, "/dev/vfio/*"),
    IOMMUFD("iommufd", FileKind.IOMMUFD, "/dev/iommu"),
    EVENTFD("eventfd", null, "anon_inode:[eventfd]"),
    EPOLL("epoll", null, "anon_inode:[eventpoll]"),
    GUEST_MEMORY("guest-memory", null, "anon_inode:[kvm-gmem]"),
    /** No file: memory that a call mapped. */
    MEMORY("memory", null, "");

    private final String label;
    private final @Nullable FileKind kind;
    private final String links;

    /** @param links that it may read, a space between, {@code *} for any end */
    FileType(String label, @Nullable FileKind kind, String links) {
        this.label = label;
        this.kind = kind;
        this.links = links;
    }

    /** As identities begin. */
    String label() {
        return label;
    }

    /** Which ioctls it takes, if any. */
    Optional<FileKind> kind() {
        return Optional.ofNullable(kind);
    }

    /** The type of an identity such as {@code vm#1}. */
    static Optional<FileType> ofIdentity(String identity) {
        int end = identity.indexOf('#');
        return Arrays.stream(values())
                .filter(type -> type.label.length() == end && identity.startsWith(type.label))
                .findFirst();
    }

    /** What a successful ioctl answers with a descriptor of; null when it does not. */
    static @Nullable FileType madeBy(long request) {
        if (request == Uapi.KVM_CREATE_VM) {
            return VM;
        }
        if (request == Uapi.KVM_CREATE_VCPU) {
            return VCPU;
        }
        if (request == Uapi.VFIO_GROUP_GET_DEVICE_FD) {
            return VFIO_DEVICE;
        }
        if (request == Uapi.KVM_GET_STATS_FD) {
            return STATS;
        }
        return request == Uapi.KVM_CREATE_GUEST_MEMFD ? GUEST_MEMORY : null;
    }

    static Optional<FileType> of(String link) {
        return Arrays.stream(values()).filter(type -> type.matches(link)).findFirst();
    }

    private boolean matches(String link) {
        return Arrays.stream(links.split(" ", -1))
                .anyMatch(each ->
                        each.endsWith("*") ? link.startsWith(each.substring(0, each.length() - 1)) : link.equals(each));
    }
}
