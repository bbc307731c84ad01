/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Role;
import io.kvmirq.uapi.UapiTable.Struct;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The argument of an ioctl: its length, and the offsets of descriptors and addresses in it. For a request in the {@link
 * UapiTable} they come from the table, for another one from its number. Allocates nothing.
 */
public final class Arguments {
    /** The most bytes of an argument that are recorded: the largest routing table that the kernel accepts. */
    public static final int MOST = Uapi.KvmIrqRouting.SIZE + 4096 * Uapi.KvmIrqRoutingEntry.SIZE;

    /** The number of bytes of {@code struct kvm_run} that describe the exit. */
    public static final int RUN_EXIT = Uapi.KvmRun.IO_DATA_OFFSET + Long.BYTES;

    /** The most bytes of a structure that contains its own length. */
    public static final int MOST_SIZED = 16384;

    /** The most descriptors in one argument that are named. */
    public static final int MOST_FDS = 256;

    /** The largest argument that cannot be an address: no page of a program is below. */
    private static final int MOST_VALUE = 0xffff;

    private static final int MOST_TEXT = 64;

    private Arguments() {}

    public static boolean isKvm(long request) {
        return (request >>> 8 & 0xff) == Uapi.KVMIO;
    }

    private static boolean isVfio(long request) {
        return (request >>> 8 & 0xff) == UapiVfio.VFIO_TYPE;
    }

    /** The request of the table on a file with this name, such as {@code vm#1}. */
    public static @Nullable Request of(long request, String on) {
        return UapiTable.find(request, FileKind.ofName(on));
    }

    private static @Nullable Struct struct(@Nullable Request known) {
        return known == null ? null : known.argument().orElse(null);
    }

    public static boolean isValue(long request, @Nullable Request known) {
        return known == null ? isKvm(request) && size(request, null) == 0 : known.isValue();
    }

    /** The argument if it is a number, else 0. A large argument of an unknown request may be an address. */
    public static long value(long request, @Nullable Request known, long argument) {
        boolean address = !isValue(request, known) || known == null && (argument < 0 || argument > MOST_VALUE);
        return address ? 0 : argument;
    }

    public static boolean isWritten(long request, @Nullable Request known) {
        return known == null ? (request >>> 31 & 1) == 1 || isVfio(request) : known.writes();
    }

    private static int size(long request, @Nullable Struct struct) {
        if (request == Uapi.FIONBIO) {
            return Integer.BYTES;
        }
        int encoded = (int) (request >>> 16 & 0x3fff);
        return encoded != 0 || struct == null ? encoded : struct.size();
    }

    /** The number of bytes at the argument's start that contain its length; 0 if the request number fixes it. */
    public static int headLength(long request, @Nullable Request known) {
        @Nullable Struct struct = struct(known);
        if (struct == null) {
            return isVfio(request) ? Integer.BYTES : 0;
        }
        return first(struct, Role.LENGTH) != null
                ? Integer.BYTES
                : first(struct, Role.COUNT) != null ? size(request, struct) : 0;
    }

    /** @param head of that many bytes, or longer */
    public static long length(long request, @Nullable Request known, ByteBuffer head) {
        @Nullable Struct struct = struct(known);
        if (known != null && known.text()) {
            return textLength(head);
        }
        if (struct == null ? isVfio(request) : first(struct, Role.LENGTH) != null) {
            return Math.max(Integer.BYTES, Integer.toUnsignedLong(head.getInt(0)));
        }
        @Nullable Field count = struct == null ? null : first(struct, Role.COUNT);
        int size = size(request, struct);
        if (count == null) {
            return size;
        }
        long elements = Integer.toUnsignedLong(head.getInt(count.offset()));
        return size + count.element() * elements;
    }

    private static int textLength(ByteBuffer text) {
        int length = 0;
        while (length < MOST_TEXT && length < text.limit() && text.get(length) != 0) {
            length++;
        }
        return length + 1;
    }

    public static int most(long request) {
        return request == Uapi.KVM_SET_GSI_ROUTING ? MOST : MOST_SIZED;
    }

    private static @Nullable Field first(Struct struct, Role role) {
        if (!struct.roles().contains(role)) {
            return null;
        }
        List<Field> fields = struct.fields();
        for (int i = 0; i < fields.size(); i++) {
            if (fields.get(i).role() == role) {
                return fields.get(i);
            }
        }
        return null;
    }

    public static boolean holds(UapiTable.When when, ByteBuffer bytes, int length) {
        return when.at() < 0 || when.at() + Integer.BYTES <= length && when.holds(bytes.getInt(when.at()));
    }

    /**
     * Writes the offsets of the fields with a role to {@code to}, which has room for {@value #MOST_FDS}; returns their
     * number.
     */
    public static int places(@Nullable Request known, Role role, ByteBuffer bytes, int length, int[] to) {
        return places(known, role, bytes, length, to, 0);
    }

    private static int places(@Nullable Request known, Role role, ByteBuffer bytes, int length, int[] to, int from) {
        @Nullable Struct struct = struct(known);
        int count = from;
        if (struct == null || !struct.roles().contains(role)) {
            return count;
        }
        for (int i = 0; i < struct.fields().size(); i++) {
            Field field = struct.fields().get(i);
            if (field.role() != role || !holds(field.when(), bytes, length)) {
                continue;
            }
            int at = field.offset();
            while (at + field.size() <= length && count < to.length) {
                to[count++] = at;
                at = field.each() == 0 ? length : at + field.each();
            }
        }
        return count;
    }

    /** The offsets of addresses of 8 bytes; for an unknown kind of file, those of every request with this number. */
    static int addresses(@Nullable Request known, Long request, FileKind kind, ByteBuffer bytes, int length, int[] to) {
        if (known == null || known.kind() == kind) {
            return places(known, Role.ADDRESS, bytes, length, to);
        }
        int count = 0;
        List<Request> named = UapiTable.find(request);
        for (int i = 0; i < named.size(); i++) {
            count = places(named.get(i), Role.ADDRESS, bytes, length, to, count);
        }
        return count;
    }

    /** The field with the address of guest memory; null if there is none. */
    public static @Nullable Field guestMemory(@Nullable Request known) {
        @Nullable Field address = address(known);
        return address != null && address.target().guest() ? address : null;
    }

    /** The number of bytes behind an attribute's address that a tape holds. */
    public static int valueLength(@Nullable Request known, ByteBuffer bytes, int length) {
        return known != null && known.number() == Uapi.KVM_SET_DEVICE_ATTR && length >= Uapi.KvmDeviceAttr.SIZE
                ? valueLength(known.kind(), bytes.getInt(Uapi.KvmDeviceAttr.GROUP))
                : 0;
    }

    /** Documentation/virt/kvm/devices/arm-vgic-v3.rst, arm-vgic-its.rst and vfio.rst. */
    private static int valueLength(FileKind device, int group) {
        if (device == FileKind.KVM_VFIO) {
            return switch (group) {
                case Uapi.KVM_DEV_VFIO_FILE -> Integer.BYTES;
                case Uapi.KVM_DEV_VFIO_DEVICE -> Uapi.KvmArchForwardedIrq.SIZE;
                default -> 0;
            };
        }
        if (device != FileKind.KVM_DEVICE) {
            return 0;
        }
        return switch (group) {
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS -> Long.BYTES;
            case UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
                    UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO -> Integer.BYTES;
            default -> 0;
        };
    }

    /** Whether the value of an attribute is a descriptor, or begins with one. */
    public static boolean isDescriptor(@Nullable Request known) {
        return known != null && known.kind() == FileKind.KVM_VFIO;
    }

    private static @Nullable Field address(@Nullable Request known) {
        @Nullable Struct struct = struct(known);
        return struct == null ? null : first(struct, Role.ADDRESS);
    }

    /** The field of the changed argument that holds the descriptor made by the kernel; null if the kernel made none. */
    public static @Nullable Field made(@Nullable Request known, ByteBuffer bytes, int length, long result) {
        @Nullable Struct struct = struct(known);
        @Nullable Field made = struct == null || result != 0 ? null : first(struct, Role.NEW_FD);
        return made != null && made.offset() + made.size() <= length && holds(made.when(), bytes, length) ? made : null;
    }

    /** The kind of the file descriptor that a successful call returns; {@link FileKind#NONE} if it returns none. */
    public static FileKind makes(@Nullable Request known) {
        return known == null ? FileKind.NONE : known.makes();
    }

    /** The kind of file that the kernel made, from its field and the structure. */
    public static FileKind kind(Field made, ByteBuffer bytes) {
        return made.makes() == FileKind.KVM_DEVICE && bytes.getInt(Uapi.KvmCreateDevice.TYPE) == Uapi.KVM_DEV_TYPE_VFIO
                ? FileKind.KVM_VFIO
                : made.makes();
    }

    /** The kind of file that a call makes, as its result or in its argument. */
    public static Optional<FileKind> makesAny(@Nullable Request known, Optional<ByteBuffer> in) {
        if (known == null) {
            return Optional.empty();
        }
        return known.makes() != FileKind.NONE
                ? Optional.of(known.makes())
                : known.argument()
                        .filter(struct -> in.filter(bytes -> bytes.limit() >= struct.size())
                                .isPresent())
                        .flatMap(struct -> struct.field(Role.NEW_FD))
                        .map(made -> kind(made, in.orElseThrow()));
    }
}
