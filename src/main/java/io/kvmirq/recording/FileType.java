/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.libc.UapiTable.FileKind;
import java.util.Arrays;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What an open file of a tape is, told by what its link in {@code /proc/self/fd} reads. First match counts. */
enum FileType {
    KVM("kvm", FileKind.KVM, "/dev/kvm"),
    VM("vm", FileKind.VM, "anon_inode:kvm-vm"),
    VCPU("vcpu", FileKind.VCPU, "anon_inode:kvm-vcpu:*"),
    KVM_DEVICE("device", FileKind.KVM_DEVICE, "anon_inode:kvm-*"),
    VFIO_CONTAINER("container", FileKind.VFIO_CONTAINER, "/dev/vfio/vfio"),
    VFIO_DEVICE("vfio-device", FileKind.VFIO_DEVICE, "anon_inode:[vfio-device]* /dev/vfio/devices/*"),
    VFIO_GROUP("group", FileKind.VFIO_GROUP, "/dev/vfio/*"),
    IOMMUFD("iommufd", FileKind.IOMMUFD, "/dev/iommu"),
    EVENTFD("eventfd", null, "anon_inode:[eventfd]");

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

    static Optional<FileType> of(String link) {
        return Arrays.stream(values()).filter(type -> type.matches(link)).findFirst();
    }

    private boolean matches(String link) {
        return Arrays.stream(links.split(" ", -1))
                .anyMatch(each ->
                        each.endsWith("*") ? link.startsWith(each.substring(0, each.length() - 1)) : link.equals(each));
    }
}
