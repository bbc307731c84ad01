/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.testing.Choices;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;

/**
 * Arguments at random for the calls of one fake kernel: odd numbers, descriptors of a kind, addresses of memory and
 * beyond it, and structures in memory whose fields are nearly right.
 */
final class HostileArguments {
    private static final int ARENA = 1 << 16;
    private static final int DESCRIPTORS = 40;

    private static final long[] ODD = {
        -1,
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        16,
        24,
        31,
        32,
        63,
        64,
        255,
        256,
        4095,
        4096,
        8192,
        0x7fffffff,
        0x80000000L,
        0xffffffffL,
        1L << 32,
        1L << 40,
        7L << 40,
        Long.MAX_VALUE,
        Long.MIN_VALUE,
        0xfee00000L,
        0xfec00000L,
        0x8000000L,
        0x8080000L,
        0x80a0000L
    };
    private static final String[] PATHS = {
        "/dev/kvm",
        "/dev/vfio/vfio",
        "/dev/vfio/3",
        "/dev/vfio/4",
        "/dev/iommu",
        "/dev/vfio/devices/vfio0",
        "/",
        "",
        "0000:00:02.0",
        "0000:00:03.0",
        "fff51000.ethernet"
    };

    /** The kind of file whose requests a file answers, by the name of its class. */
    private static final Map<String, FileKind> KINDS = new HashMap<>();

    static {
        KINDS.put("X86KvmFile", FileKind.KVM);
        KINDS.put("ArmKvmFile", FileKind.KVM);
        KINDS.put("X86VmFile", FileKind.VM);
        KINDS.put("ArmVmFile", FileKind.VM);
        KINDS.put("X86VcpuFile", FileKind.VCPU);
        KINDS.put("ArmVcpuFile", FileKind.VCPU);
        KINDS.put("KvmVfioFile", FileKind.KVM_VFIO);
        KINDS.put("VgicFile", FileKind.KVM_DEVICE);
        KINDS.put("GicV2File", FileKind.KVM_DEVICE);
        KINDS.put("ItsFile", FileKind.KVM_DEVICE);
        KINDS.put("ContainerFile", FileKind.VFIO_CONTAINER);
        KINDS.put("DeviceFile", FileKind.VFIO_DEVICE);
        KINDS.put("GroupFile", FileKind.VFIO_GROUP);
        KINDS.put("IommuFile", FileKind.IOMMUFD);
        KINDS.put("EventFile", FileKind.EVENTFD);
        KINDS.put("EpollFile", FileKind.EPOLL);
    }

    private final FakeKernel kernel;
    private final Choices random;
    private final ByteBuffer arena = Buffers.allocate(ARENA);
    private final long base;

    HostileArguments(FakeKernel kernel, Choices random) {
        this.kernel = kernel;
        this.random = random;
        this.base = kernel.libc().addressOf(arena);
    }

    /** The memory in which arguments are. */
    ByteBuffer memory() {
        return arena;
    }

    /** The address of the memory's first byte. */
    long base() {
        return base;
    }

    /** Writes a text that ends with 0. Returns its address. */
    long text(int at, String text) {
        for (int i = 0; i <= text.length(); i++) {
            arena.put(at + i, i == text.length() ? 0 : (byte) text.charAt(i));
        }
        return base + at;
    }

    String path() {
        return PATHS[random.nextInt(PATHS.length)];
    }

    long odd() {
        return ODD[random.nextInt(ODD.length)];
    }

    int fd() {
        int kind = random.nextInt(32);
        return kind == 0 ? -1 : kind == 1 ? (int) odd() : 3 + random.nextInt(DESCRIPTORS);
    }

    int openFd() {
        for (int i = 0; i < 64; i++) {
            int fd = 3 + random.nextInt(DESCRIPTORS);
            if (kernel.host.file(fd) != null) {
                return fd;
            }
        }
        return 3;
    }

    int fdOf(FileKind kind) {
        int first = random.nextInt(DESCRIPTORS);
        for (int i = 0; i < DESCRIPTORS; i++) {
            int fd = 3 + (first + i) % DESCRIPTORS;
            if (kindOf(fd) == kind) {
                return fd;
            }
        }
        return openFd();
    }

    FileKind kindOf(int fd) {
        FakeFile file = kernel.host.file(fd);
        return file == null ? FileKind.NONE : KINDS.getOrDefault(file.getClass().getSimpleName(), FileKind.NONE);
    }

    long address() {
        return switch (random.nextInt(16)) {
            case 0 -> odd();
            case 1 -> base + ARENA - random.nextInt(64);
            case 2 -> base - random.nextInt(64);
            default -> base + 8L * random.nextInt(ARENA / 16);
        };
    }

    long number() {
        return switch (random.nextInt(8)) {
            case 0, 1, 2 -> 0;
            case 3 -> odd();
            case 4 -> random.nextLong();
            case 5 -> 1L << random.nextInt(64);
            default -> random.nextInt(8);
        };
    }

    private void put(int at, int size, long value) {
        switch (size) {
            case 1 -> arena.put(at, (byte) value);
            case 2 -> arena.putShort(at, (short) value);
            case 4 -> arena.putInt(at, (int) value);
            default -> arena.putLong(at, value);
        }
    }

    /** Fills a structure at a random place of the arena, by what its fields are. Returns the address. */
    long structure(Request request) {
        UapiTable.Struct struct = request.argument().orElse(null);
        int size = Math.max((int) (request.number() >>> 16 & 0x3fff), struct == null ? 16 : struct.size());
        int at = 8 * random.nextInt((ARENA - 8192) / 8);
        for (int i = 0; i < Math.min(size + 64, 600); i += 4) {
            arena.putInt(at + i, (int) number());
        }
        if (request.text()) {
            text(at, path());
        }
        if (struct == null || random.nextInt(16) == 0) {
            return base + at;
        }
        for (UapiTable.Field field : struct.fields()) {
            long value =
                    switch (field.role()) {
                        case FD -> random.nextInt(3) == 0 ? fd() : fdOf(FileKind.EVENTFD);
                        case GSI -> random.nextInt(40);
                        case FLAGS -> random.nextInt(4) == 0 ? number() : mask(field);
                        case ONE_OF ->
                            field.names().isEmpty() || random.nextInt(8) == 0
                                    ? number()
                                    : (int) field.names()
                                            .keySet()
                                            .toArray()[
                                            random.nextInt(field.names().size())];
                        case ADDRESS -> address();
                        case LENGTH -> random.nextInt(4) == 0 ? number() : 4096L * random.nextInt(4);
                        case COUNT -> random.nextInt(8) == 0 ? odd() : random.nextInt(5);
                        case NUMBER -> random.nextInt(3) == 0 ? number() : random.nextInt(6);
                    };
            if (field.path().equals("argsz") && random.nextInt(8) != 0) {
                value = size + 32L;
            }
            put(at + field.offset(), Math.min(field.size(), 8), value);
        }
        return base + at;
    }

    private long mask(UapiTable.Field field) {
        long mask = 0;
        for (int bit : field.names().keySet()) {
            mask |= random.nextInt(3) == 0 ? bit : 0;
        }
        return mask;
    }
}
