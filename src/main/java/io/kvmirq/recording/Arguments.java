/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;

/**
 * What the argument of an ioctl is: how long, and where in it descriptors and addresses of the process are. The C half is
 * {@code native/tape_argument.c}. Allocates nothing.
 */
final class Arguments {
    /** Bytes of an argument that are recorded at most: the largest routing table the kernel takes. */
    static final int MOST = Uapi.KvmIrqRouting.SIZE + 4096 * Uapi.KvmIrqRoutingEntry.SIZE;

    /** Of a structure that says its own length. */
    static final int MOST_SIZED = 16384;

    /** Descriptors in one argument that are named at most. */
    static final int MOST_FDS = 256;

    /** asm-generic/ioctls.h, from before requests had sizes. */
    private static final long FIONBIO = 0x5421;

    private static final int KVM_TYPE = 0xae;
    private static final int VFIO_TYPE = ';';
    private static final int VFIO_BASE = 100;
    private static final int DATA_EVENTFD = 4;

    private Arguments() {}

    static boolean isKvm(long request) {
        return (request >>> 8 & 0xff) == KVM_TYPE;
    }

    static boolean isVfio(long request) {
        return (request >>> 8 & 0xff) == VFIO_TYPE;
    }

    /** Whether the argument is a number, and no address. */
    static boolean isValue(long request) {
        if (isVfio(request)) {
            int number = (int) (request & 0xff) - VFIO_BASE;
            return number >= 0 && number <= 2 || number == 5 || number == 11;
        }
        return isKvm(request) && size(request) == 0;
    }

    /** Whether the kernel may write into it. */
    static boolean isWritten(long request) {
        return (request >>> 31 & 1) == 1 || isVfio(request);
    }

    private static int size(long request) {
        return request == FIONBIO ? Integer.BYTES : (int) (request >>> 16 & 0x3fff);
    }

    /** How many bytes of the structure say how long it is; 0 where the request alone does. */
    static int headLength(long request) {
        if (isVfio(request)) {
            return Integer.BYTES;
        }
        return isKvm(request) && Buffers.elementSize((int) (request & 0xff)) != 0 ? size(request) : 0;
    }

    /** @param head of that many bytes, or longer */
    static long length(long request, ByteBuffer head) {
        int number = (int) (request & 0xff) - VFIO_BASE;
        if (isVfio(request)) {
            if (number == 4) {
                return Integer.BYTES;
            }
            return Math.max(Integer.BYTES, Integer.toUnsignedLong(head.getInt(0)));
        }
        long each = headLength(request) == 0 ? 0 : Buffers.elementSize((int) (request & 0xff));
        return size(request) + (each == 0 ? 0 : each * Integer.toUnsignedLong(head.getInt(0)));
    }

    static int most(long request) {
        return request == Uapi.KVM_SET_GSI_ROUTING ? MOST : MOST_SIZED;
    }

    /**
     * Where descriptors are.
     *
     * @param to gets the offsets, room for {@value #MOST_FDS}
     * @return how many
     */
    static int descriptors(long request, ByteBuffer bytes, int length, int[] to) {
        int count = 0;
        if (request == Uapi.KVM_IRQFD && length >= Uapi.KvmIrqfd.SIZE) {
            to[count++] = Uapi.KvmIrqfd.FD;
            if ((bytes.getInt(Uapi.KvmIrqfd.FLAGS) & Uapi.KVM_IRQFD_FLAG_RESAMPLE) != 0) {
                to[count++] = Uapi.KvmIrqfd.RESAMPLEFD;
            }
        } else if (request == Uapi.KVM_IOEVENTFD && length >= Uapi.KvmIoeventfd.SIZE) {
            to[count++] = Uapi.KvmIoeventfd.FD;
        } else if (request == Uapi.VFIO_GROUP_SET_CONTAINER && length >= Integer.BYTES) {
            to[count++] = 0;
        } else if (request == Uapi.VFIO_DEVICE_SET_IRQS && length > 20 && (bytes.getInt(4) & DATA_EVENTFD) != 0) {
            for (int at = 20; at + Integer.BYTES <= length && count < MOST_FDS; at += Integer.BYTES) {
                to[count++] = at;
            }
        }
        return count;
    }

    /**
     * Where addresses are whose memory is not recorded, 8 bytes each.
     *
     * @return the offset, or -1
     */
    static int address(long request) {
        if (!isKvm(request) || size(request) == 0) {
            return -1;
        }
        return switch ((int) (request & 0xff)) {
            case 0x46, 0x49 -> Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR; // KVM_SET_USER_MEMORY_REGION, ..._REGION2
            case 0xe1, 0xe2, 0xe3 -> Uapi.KvmDeviceAttr.ADDR; // KVM_SET_, GET_, HAS_DEVICE_ATTR
            case 0xb4, 0xc0 -> 16; // KVM_ARM_COPY_MTE_TAGS, KVM_CLEAR_DIRTY_LOG
            case 0x42, 0xab, 0xac -> 8; // KVM_GET_DIRTY_LOG, KVM_GET_ONE_REG, KVM_SET_ONE_REG
            case 0xbb, 0xbc -> 0; // KVM_MEMORY_ENCRYPT_REG_REGION, ..._UNREG_REGION
            default -> -1;
        };
    }
}
