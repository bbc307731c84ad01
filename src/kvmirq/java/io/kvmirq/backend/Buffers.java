/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;
import io.kvmirq.text.Foreign;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** Checks buffers before their addresses are passed to the kernel. */
@NotPromised
public final class Buffers {
    /** The record size of {@link KernelBackend#routesSet} in bytes. */
    static final int ROUTE_SIZE = 40;

    private Buffers() {}

    /**
     * Allocates a zeroed direct buffer in native order, aligned to 8 bytes.
     *
     * @param bytes the size of the buffer, at least 1
     */
    public static ByteBuffer allocate(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }

    /** Encodes {@code text} as a NUL-terminated UTF-8 string. Throws IllegalArgumentException if it contains NUL. */
    public static ByteBuffer cString(String text) {
        int end = text.indexOf('\0');
        if (end >= 0) {
            throw new IllegalArgumentException("the text " + Foreign.quoted(text) + " has a NUL at " + end
                    + ", where the kernel would truncate it: remove it");
        }
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        ByteBuffer buffer = allocate(bytes.length + 1);
        return buffer.put(0, bytes);
    }

    /**
     * Checks a buffer that the kernel reads.
     *
     * @return {@code buffer}
     * @throws IllegalArgumentException if {@code buffer} is null, on the heap, not at position 0 or too short
     * @throws IllegalStateException if the buffer's arena is closed
     * @throws RuntimeException a {@code WrongThreadException} if the buffer's arena is confined to another thread
     */
    public static ByteBuffer readable(@Nullable ByteBuffer buffer, long bytes) {
        if (buffer == null) {
            throw new IllegalArgumentException("buffer is null: expected a direct buffer of " + bytes + " bytes");
        }
        if (!buffer.isDirect()) {
            throw new IllegalArgumentException("buffer is on the Java heap, so it has no address to pass to the"
                    + " kernel: allocate it with ByteBuffer.allocateDirect");
        }
        if (buffer.position() != 0) {
            throw new IllegalArgumentException(
                    "buffer is at position " + buffer.position() + ": expected 0, slice() it first");
        }
        if (buffer.limit() < bytes) {
            throw new IllegalArgumentException(
                    "buffer has " + buffer.limit() + " bytes: this call needs at least " + bytes);
        }
        if (buffer.limit() > 0) {
            buffer.get(0); // throws for a closed arena, whose address may be in use again
        }
        return buffer;
    }

    /**
     * Checks a buffer that the kernel writes.
     *
     * @return {@code buffer}
     * @throws IllegalArgumentException as {@link #readable}, or if the buffer is read-only
     */
    public static ByteBuffer writable(@Nullable ByteBuffer buffer, long bytes) {
        ByteBuffer checked = readable(buffer, bytes);
        if (checked.isReadOnly()) {
            throw new IllegalArgumentException("buffer is read-only, but the kernel writes into it");
        }
        return checked;
    }

    /** Checks a path's buffer like {@link #readable}, and throws IllegalArgumentException if the path has no NUL. */
    public static ByteBuffer cStringIn(@Nullable ByteBuffer path) {
        ByteBuffer checked = readable(path, 1);
        for (int i = 0; i < checked.limit(); i++) {
            if (checked.get(i) == 0) {
                return checked;
            }
        }
        throw new IllegalArgumentException("path of " + checked.limit() + " bytes does not end in NUL");
    }

    /** Stores a value at offset 0 in native order, as the kernel does, whatever the buffer's order. */
    public static void put(ByteBuffer to, long value) {
        to.putLong(0, to.order() == ByteOrder.nativeOrder() ? value : Long.reverseBytes(value));
    }

    /** Stores 4 bytes in native order like {@link #put(ByteBuffer,long)}, at the byte offset {@code at}. */
    public static void put(ByteBuffer to, int at, int value) {
        to.putInt(at, to.order() == ByteOrder.nativeOrder() ? value : Integer.reverseBytes(value));
    }

    /** A view of {@code buffer} in native order. In Java, every duplicate and slice starts out big-endian. */
    private static ByteBuffer inNativeOrder(ByteBuffer buffer) {
        return buffer.order() == ByteOrder.nativeOrder()
                ? buffer
                : buffer.duplicate().order(ByteOrder.nativeOrder());
    }

    /** Checks the arguments of {@link KernelBackend#routesSet}. Returns the routes in native order. */
    public static ByteBuffer routes(@Nullable ByteBuffer routes, int count) {
        if (count < 0) {
            throw new IllegalArgumentException("route count " + count + " is negative");
        }
        return inNativeOrder(readable(routes, (long) ROUTE_SIZE * count));
    }

    /** Checks a buffer for {@code count} records like {@link #writable}, and also that it is in native order. */
    public static ByteBuffer results(@Nullable ByteBuffer records, int size, int count) {
        if (count < 0) {
            throw new IllegalArgumentException("count " + count + " is negative");
        }
        ByteBuffer checked = writable(records, (long) size * count);
        if (checked.order() != ByteOrder.nativeOrder()) {
            throw new IllegalArgumentException("buffer is not in native order: set its order after each slice");
        }
        return checked;
    }

    /** Checks {@link KernelBackend#vfioIrqsSet}'s arguments, and returns the bytes of its header and data. */
    public static int vfioIrqs(@Nullable ByteBuffer set, int flags, int count) {
        int each =
                switch (flags & UapiVfio.VFIO_IRQ_SET_DATA_TYPE_MASK) {
                    case UapiVfio.VFIO_IRQ_SET_DATA_BOOL -> 1;
                    case UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD -> Integer.BYTES;
                    default -> 0; // no data, or a type that the kernel rejects
                };
        long bytes = UapiVfio.VfioIrqSet.SIZE + each * Integer.toUnsignedLong(count);
        writable(set, bytes);
        return (int) bytes;
    }

    /** A length for {@link Libc#view} as an int. Throws IllegalArgumentException if it is negative or too large. */
    public static int viewLength(long length) {
        if (length < 0 || length > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    "a view of " + length + " bytes is out of range: a buffer holds 0 to " + Integer.MAX_VALUE);
        }
        return (int) length;
    }

    /**
     * Checks the argument of {@link Libc#ioctl(int,long,ByteBuffer)}. The buffer must be at least as long as the size
     * in the request number. It must also be as long as the structure's first word implies, which counts bytes (VFIO,
     * iommufd) or elements, and writable if the kernel may write it.
     */
    public static ByteBuffer ioctlArgument(long request, @Nullable ByteBuffer argument) {
        long size = request >>> 16 & 0x3fff;
        int type = (int) (request >>> 8 & 0xff);
        boolean sizeInside = type == UapiVfio.VFIO_TYPE && size == 0;
        boolean kernelWrites = (request >>> 31 & 1) == 1 || sizeInside;
        if (request == UapiVfio.VFIO_GROUP_GET_DEVICE_FD) {
            return cStringIn(argument);
        }
        if (request == UapiVfio.VFIO_GROUP_SET_CONTAINER) {
            return readable(argument, Integer.BYTES);
        }
        ByteBuffer checked = kernelWrites ? writable(argument, size) : readable(argument, size);
        if (sizeInside) {
            return writable(checked, checked.limit() < Integer.BYTES ? Integer.BYTES : firstWord(checked));
        }
        long each = type == Uapi.KVMIO ? elementSize((int) (request & 0xff)) : 0;
        return each == 0 ? checked : readable(checked, size + each * firstWord(checked));
    }

    /** Whether the kernel may write an argument that {@link #ioctlArgument} has checked. */
    static boolean isWritten(long request, ByteBuffer argument) {
        boolean sizeInside = (request >>> 8 & 0xff) == UapiVfio.VFIO_TYPE
                && request != UapiVfio.VFIO_GROUP_GET_DEVICE_FD
                && request != UapiVfio.VFIO_GROUP_SET_CONTAINER;
        return !argument.isReadOnly() && ((request >>> 31 & 1) == 1 || sizeInside);
    }

    private static long firstWord(ByteBuffer buffer) {
        return Integer.toUnsignedLong(
                buffer.order() == ByteOrder.nativeOrder() ? buffer.getInt(0) : Integer.reverseBytes(buffer.getInt(0)));
    }

    /** The element size in bytes if a KVM request's first word counts elements (linux/kvm.h, asm/kvm.h), else 0. */
    public static int elementSize(int number) {
        return switch (number) {
            case 0x02, 0x0a -> Integer.BYTES; // KVM_GET_MSR_INDEX_LIST, KVM_GET_MSR_FEATURE_INDEX_LIST
            case 0x05, 0x09, 0x90, 0x91, 0xc1 -> 40; // CPUID entries
            case 0x8a -> 24; // KVM_SET_CPUID
            case 0x8b -> 1; // KVM_SET_SIGNAL_MASK
            case 0x88, 0x89 -> 16; // MSRs
            case 0x6a -> 48; // routing entries
            case 0xb0 -> Long.BYTES; // KVM_GET_REG_LIST
            default -> 0;
        };
    }
}
