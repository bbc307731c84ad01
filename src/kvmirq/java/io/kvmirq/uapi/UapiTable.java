/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Requests and structures of {@link Uapi}, {@link UapiVfio}, {@link UapiIommufd} and {@link UapiArm64} by name, with
 * their annotations. The requests' annotations are read when the class is loaded, and the structures' when the first
 * structure is needed. The fake kernel and call names in messages use this class, but bindings to the real kernel do
 * not. Immutable.
 */
public final class UapiTable {
    private UapiTable() {}

    /** The kind of open file to which a request is sent. The same number can be another request on another kind. */
    public enum FileKind {
        KVM("kvm", "/dev/kvm"),
        VM("vm", "anon_inode:kvm-vm"),
        VCPU("vcpu", "anon_inode:kvm-vcpu:*"),
        STATS("stats", "anon_inode:kvm-vm-stats", "anon_inode:kvm-vcpu-stats:*"),
        KVM_VFIO("kvm-vfio", "anon_inode:kvm-vfio"),
        KVM_DEVICE("device", "anon_inode:kvm-*"),
        VFIO_CONTAINER("container", "/dev/vfio/vfio"),
        VFIO_DEVICE("vfio-device", "anon_inode:[vfio-device]*", "/dev/vfio/devices/*"),
        VFIO_GROUP("group", "/dev/vfio/*"),
        IOMMUFD("iommufd", "/dev/iommu"),
        EVENTFD("eventfd", "anon_inode:[eventfd]"),
        EPOLL("epoll", "anon_inode:[eventpoll]"),
        NONE("");

        private final String label;
        /** Link targets of /proc/self/fd, separated by spaces; a final {@code *} matches any rest. */
        private final String links;

        FileKind(String label, String... links) {
            this.label = label;
            this.links = String.join(" ", links);
        }

        /** The name of this kind of file. */
        public String label() {
            return label;
        }

        /** Whether files of this kind are opened by a path. */
        public boolean isNode() {
            return links.contains("/dev/");
        }

        /** The kind of a file by its link target in {@code /proc/self/fd}; {@link #NONE} if no kind has this target. */
        public static FileKind ofLink(String link) {
            return Arrays.stream(values())
                    .filter(kind ->
                            Arrays.stream(kind.links.split(" ", -1)).anyMatch(pattern -> matches(link, pattern)))
                    .findFirst()
                    .orElse(NONE);
        }

        private static boolean matches(String link, String pattern) {
            return pattern.endsWith("*")
                    ? link.startsWith(pattern.substring(0, pattern.length() - 1))
                    : link.equals(pattern);
        }
    }

    /** The meaning of a field's value, such as a descriptor. {@link Declared} has an annotation for each meaning. */
    public enum Role {
        NUMBER,
        FD,
        GSI,
        FLAGS,
        ONE_OF,
        ADDRESS,
        LENGTH,
        COUNT
    }

    /**
     * A field.
     *
     * @param path the name in C within the structure, such as {@code u.msi.data}
     * @param names names of the field's flags or values, by number
     */
    public record Field(String path, int offset, int size, Role role, Map<Integer, String> names) {}

    /** A structure: its C tag (empty if it has none), its size in bytes, and the known fields by offset. */
    public record Struct(String tag, int size, List<Field> fields) {}

    /**
     * An ioctl on one kind of file, as its {@link Declared.Ioctl} describes it.
     *
     * @param type the interface that describes the argument's structure, or another type if there is none
     * @param text whether the argument points to text that ends in NUL
     */
    public record Request(FileKind kind, String name, long number, Class<?> type, boolean text, boolean arm64) {
        /** The argument's structure. Empty if the argument is a value, or memory without a known structure. */
        public Optional<Struct> argument() {
            return Optional.ofNullable(Structs.BY_TYPE.get(type));
        }

        public boolean isValue() {
            return argument().isEmpty() && !text && (number >>> 16 & 0x3fff) == 0;
        }
    }

    private static final class Structs {
        static final Map<Class<?>, Struct> BY_TYPE = UapiReader.structs();
        static final List<Struct> ALL = List.copyOf(BY_TYPE.values());
    }

    private static final List<Request> ALL = UapiReader.requests();

    /** All requests except those of {@link UapiArm64}, with one entry for each kind of file. */
    public static final List<Request> REQUESTS =
            ALL.stream().filter(request -> !request.arm64).toList();

    public static final List<Request> ARM64 =
            ALL.stream().filter(Request::arm64).toList();

    private static final Map<Long, List<Request>> BY_NUMBER = new HashMap<>();

    static {
        ALL.forEach(request -> BY_NUMBER
                .computeIfAbsent(request.number, absent -> new ArrayList<>())
                .add(request));
    }

    /** All requests with this number, on any kind of file and architecture. Does not allocate. */
    public static List<Request> find(Long number) {
        return BY_NUMBER.getOrDefault(number, List.of());
    }

    /** The request with this number on this kind of file, or else the first with it, or null. Does not allocate. */
    public static @Nullable Request find(Long number, FileKind kind) {
        List<Request> named = find(number);
        for (int i = 0; i < named.size(); i++) {
            if (named.get(i).kind == kind) {
                return named.get(i);
            }
        }
        return named.isEmpty() ? null : named.get(0);
    }

    public static List<Struct> structs() {
        return Structs.ALL;
    }

    /** The structure with this C tag. Throws IllegalArgumentException if there is none. */
    public static Struct struct(String tag) {
        return structs().stream()
                .filter(struct -> struct.tag.equals(tag))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no structure is called " + Foreign.quoted(tag)));
    }
}
