/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.stream.Stream;

/**
 * Calls at random of one fake kernel, on all its files and with arguments that mean harm. A call answers with a number
 * or is not modelled; it takes less than a second; and one that is refused changes nothing.
 */
final class CallFuzz {
    private static final long SLOWEST = TimeUnit.SECONDS.toNanos(1);
    private static final int ARENA = 1 << 16;
    private static final int DESCRIPTORS = 40;
    private static final int NOT_MODELLED = -100_000;
    /** So often a request may go nowhere before others are preferred. */
    private static final int DULL = 3;

    private static final int LAST_ERRNO = 4095;
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

    /** Refusals after which Linux has done a part, as patterns of a call and its answer. */
    private static final List<String> CHANGING = List.of(
            // The duplicate id is noticed after the map of the LAPICs was made anew.
            ".*KVM_CREATE_VCPU.* EEXIST",
            // The count is taken before it is copied.
            "(read|preadv2).* EFAULT",
            // CR8 comes from kvm_run, and is left there with the base of the LAPIC (RUN_SAVES).
            "ioctl.* KVM_RUN,.* (EINTR|EINVAL|EIO|ENOSPC|EAGAIN)");

    /** The kind of file whose requests a file answers, by the name of its class. */
    private static final Map<String, FileKind> KINDS = new HashMap<>();

    static {
        KINDS.put("X86KvmFile", FileKind.KVM);
        KINDS.put("ArmKvmFile", FileKind.KVM);
        KINDS.put("X86VmFile", FileKind.VM);
        KINDS.put("ArmVmFile", FileKind.VM);
        KINDS.put("X86VcpuFile", FileKind.VCPU);
        KINDS.put("ArmVcpuFile", FileKind.VCPU);
        KINDS.put("StatsFile", FileKind.STATS);
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

    private static final List<FileKind> KIND_LIST = List.of(
            FileKind.KVM,
            FileKind.VM,
            FileKind.VM,
            FileKind.VM,
            FileKind.VCPU,
            FileKind.VCPU,
            FileKind.KVM_VFIO,
            FileKind.KVM_DEVICE,
            FileKind.KVM_DEVICE,
            FileKind.VFIO_CONTAINER,
            FileKind.VFIO_DEVICE,
            FileKind.VFIO_DEVICE,
            FileKind.VFIO_GROUP,
            FileKind.IOMMUFD);

    private static final Map<FileKind, List<Request>> REQUESTS = new HashMap<>();
    private static final List<Request> ALL =
            Stream.concat(UapiTable.REQUESTS.stream(), UapiTable.ARM64.stream()).toList();

    static {
        ALL.forEach(request -> REQUESTS.computeIfAbsent(request.kind(), none -> new ArrayList<>())
                .add(request));
    }

    private final String profile;
    private final long seed;
    private final int digests;
    private final SplittableRandom random;
    private final FakeKernel kernel;
    private final StateDigest digest = new StateDigest();
    private final ByteBuffer arena = Buffers.allocate(ARENA);
    private final long base;
    private final FakePciDevice pci;
    private final FakePciDevice other;
    private final Map<Request, Integer> dull = new HashMap<>();
    private final List<String> last = new ArrayList<>();
    private final Map<String, Integer> counts;
    private String flaw = "";

    /**
     * @param digests the state is compared around one of so many calls
     * @param counts by errno or kind of answer
     */
    CallFuzz(String profile, long seed, int digests, Map<String, Integer> counts) {
        this.profile = profile;
        this.seed = seed;
        this.digests = digests;
        this.counts = counts;
        this.random = new SplittableRandom(seed);
        this.kernel = FakeKernel.inVirtualTime(Profile.of(profile));
        this.base = kernel.addressOf(arena);
        this.pci = kernel.pciDevice("0000:00:02.0", 3).intx().msi(4).msix(8).add();
        this.other = kernel.pciDevice("0000:00:03.0", 4)
                .intxWithoutDisIntx()
                .msix(4)
                .resettable()
                .add();
        kernel.platformDevice("fff51000.ethernet", 5).level().edge().add();
    }

    /** Makes so many calls. */
    void run(int calls) {
        if (random.nextBoolean()) {
            setUpVfio();
        }
        setUpKvm();
        for (int i = 0; i < calls; i++) {
            one();
        }
    }

    // Set-up, so that calls reach further

    private int ioctl(int fd, long request, long argument) {
        return kernel.ioctl(fd, request, argument);
    }

    private void setUpKvm() {
        int node = open("/dev/kvm");
        int vm = ioctl(node, Uapi.KVM_CREATE_VM, 0);
        boolean arm = Profile.of(profile).isArm64();
        if (!arm && random.nextBoolean()) {
            ioctl(vm, Uapi.KVM_CREATE_IRQCHIP, 0);
        }
        for (int id = 0; id < 2; id++) {
            newVcpu(ioctl(vm, Uapi.KVM_CREATE_VCPU, id));
        }
        for (int i = 0; i < 4; i++) {
            kernel.eventfd(0, Uapi.O_NONBLOCK);
        }
        kernel.epollCreate(0);
        if (arm) {
            arena.clear();
            long memory = kernel.mmap(1 << 20, 3, Uapi.MAP_ANONYMOUS | Uapi.MAP_PRIVATE, -1, 0);
            arena.putLong(0, 0).putLong(8, 0x4000_0000L).putLong(16, 1 << 20).putLong(24, memory);
            ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION, base);
        }
    }

    private int open(String path) {
        for (int i = 0; i <= path.length(); i++) {
            arena.put(i, i == path.length() ? 0 : (byte) path.charAt(i));
        }
        return kernel.open(base, 0, 0);
    }

    private void setUpVfio() {
        int container = open("/dev/vfio/vfio");
        for (int number = 3; number <= 5; number++) {
            int group = open("/dev/vfio/" + number);
            arena.putInt(0, container);
            ioctl(group, io.kvmirq.uapi.UapiVfio.VFIO_GROUP_SET_CONTAINER, base);
            ioctl(container, io.kvmirq.uapi.UapiVfio.VFIO_SET_IOMMU, 1);
            String name = number == 5 ? "fff51000.ethernet" : "0000:00:0" + (number - 1) + ".0";
            for (int i = 0; i <= name.length(); i++) {
                arena.put(i, i == name.length() ? 0 : (byte) name.charAt(i));
            }
            ioctl(group, io.kvmirq.uapi.UapiVfio.VFIO_GROUP_GET_DEVICE_FD, base);
        }
    }

    /** KVM_RUN returns at once. */
    private void newVcpu(int fd) {
        if (fd < 0) {
            return;
        }
        FakeFile file = kernel.host.file(fd);
        if (file != null) {
            file.shared().ifPresent(run -> run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1));
        }
    }

    // Values

    private long odd() {
        return ODD[random.nextInt(ODD.length)];
    }

    private int fd() {
        int kind = random.nextInt(32);
        return kind == 0 ? -1 : kind == 1 ? (int) odd() : 3 + random.nextInt(DESCRIPTORS);
    }

    private int openFd() {
        for (int i = 0; i < 64; i++) {
            int fd = 3 + random.nextInt(DESCRIPTORS);
            if (kernel.host.file(fd) != null) {
                return fd;
            }
        }
        return 3;
    }

    private int fdOf(FileKind kind) {
        int first = random.nextInt(DESCRIPTORS);
        for (int i = 0; i < DESCRIPTORS; i++) {
            int fd = 3 + (first + i) % DESCRIPTORS;
            if (kindOf(fd) == kind) {
                return fd;
            }
        }
        return openFd();
    }

    private FileKind kindOf(int fd) {
        FakeFile file = kernel.host.file(fd);
        return file == null ? FileKind.NONE : KINDS.getOrDefault(file.getClass().getSimpleName(), FileKind.NONE);
    }

    private long address() {
        return switch (random.nextInt(16)) {
            case 0 -> odd();
            case 1 -> base + ARENA - random.nextInt(64);
            case 2 -> base - random.nextInt(64);
            default -> base + 8L * random.nextInt(ARENA / 16);
        };
    }

    private long number() {
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
    private long structure(Request request) {
        UapiTable.Struct struct = request.argument().orElse(null);
        int size = Math.max((int) (request.number() >>> 16 & 0x3fff), struct == null ? 16 : struct.size());
        int at = 8 * random.nextInt((ARENA - 8192) / 8);
        for (int i = 0; i < Math.min(size + 64, 600); i += 4) {
            arena.putInt(at + i, (int) number());
        }
        if (request.text()) {
            String path = PATHS[random.nextInt(PATHS.length)];
            for (int i = 0; i <= path.length(); i++) {
                arena.put(at + i, i == path.length() ? 0 : (byte) path.charAt(i));
            }
        }
        if (struct == null || random.nextInt(16) == 0) {
            return base + at;
        }
        for (UapiTable.Field field : struct.fields()) {
            long value =
                    switch (field.role()) {
                        case FD, NEW_FD -> random.nextInt(3) == 0 ? fd() : fdOf(FileKind.EVENTFD);
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

    // One call

    private void one() {
        int kind = random.nextInt(100);
        if (kind < 72) {
            ioctl();
        } else if (kind < 79) {
            hardware();
        } else if (kind < 80) {
            int fd = fd();
            check("close(" + fd + ")", () -> kernel.close(fd));
        } else {
            other(random.nextInt(14));
        }
    }

    private void ioctl() {
        FileKind kind = KIND_LIST.get(random.nextInt(KIND_LIST.size()));
        int fd = random.nextInt(24) == 0 ? fd() : fdOf(kind);
        List<Request> requests = random.nextInt(24) == 0 ? ALL : REQUESTS.getOrDefault(kindOf(fd), ALL);
        Request request = requests.get(random.nextInt(requests.size()));
        for (int i = 0; i < 4 && dull.getOrDefault(request, 0) > DULL; i++) {
            request = requests.get(random.nextInt(requests.size()));
        }
        make(fd, request);
    }

    private void make(int fd, Request request) {
        long number = random.nextInt(64) == 0 ? random.nextLong() : request.number();
        long argument = request.isValue()
                ? number == Uapi.KVM_RUN ? 0 : number()
                : random.nextInt(24) == 0 ? address() : structure(request);
        long result =
                check("ioctl(" + fd + ", " + request.name() + ", " + argument + ")", () -> ioctl(fd, number, argument));
        if (result == -Errno.ENOTTY.number() || result == NOT_MODELLED) {
            dull.merge(request, 1, Integer::sum);
        }
        if (number == Uapi.KVM_CREATE_VCPU) {
            newVcpu((int) result);
        }
    }

    private void hardware() {
        int vector = random.nextInt(4);
        int kind = random.nextInt(8);
        FakePciDevice device = random.nextBoolean() ? pci : other;
        check("device " + kind, () -> {
            try {
                switch (kind) {
                    case 0, 1 -> device.requestService();
                    case 2 -> device.serve();
                    case 3, 4 -> device.sendMessage(vector);
                    case 5 -> device.askBack();
                    case 6 -> device.reportError();
                    default -> kernel.pass(java.time.Duration.ofMillis(3));
                }
            } catch (IllegalStateException e) {
                return 0; // the test's mistake, such as a device that is gone
            }
            return 0;
        });
    }

    private void other(int kind) {
        int fd = random.nextInt(3) == 0 ? fd() : openFd();
        long to = address();
        long length = random.nextInt(3) == 0 ? odd() : 8;
        long offset = number();
        long memory = random.nextInt(4) == 0 ? odd() : 4096L * (1 + random.nextInt(16));
        int flags = random.nextInt(4);
        String text = "(" + fd + ", " + to + ", " + length + ", " + offset + ")";
        switch (kind) {
            case 0 -> check("read" + text, () -> kernel.read(nonblocking(fd), to, length));
            case 1, 2 -> check("write" + text, () -> kernel.write(nonblocking(fd), to, length));
            case 3 -> check("pread" + text, () -> kernel.pread(fd, to, length, offset));
            case 4 -> check("pwrite" + text, () -> kernel.pwrite(fd, to, length, offset));
            case 5 -> check("preadv2" + text, () -> kernel.preadv2(fd, to, (int) length, -1, Uapi.RWF_NOWAIT));
            case 6 -> check("mmap" + text, () -> kernel.mmap(memory, 3, flags == 0 ? 1 : 0x22, fd, flags * offset));
            case 7 -> check("munmap" + text, () -> kernel.munmap(to, memory));
            case 8 -> check("fcntl" + text, () -> kernel.fcntl(fd, (int) odd(), (int) odd()));
            case 9 -> check("eventfd" + text, () -> kernel.eventfd((int) offset, (int) offset | Uapi.O_NONBLOCK));
            case 10 -> {
                arena.putInt(0, Uapi.POLLIN).putInt(8, 0).putLong(16, 0).putLong(24, 0);
                check("epoll_ctl" + text, () -> kernel.epollCtl(fdOf(FileKind.EPOLL), flags, fd, base + flags * 4L));
            }
            case 11 ->
                check("epoll_wait" + text, () -> kernel.epollWait(fdOf(FileKind.EPOLL), to, (int) memory / 512, 0));
            case 12 -> {
                arena.putLong(16, 0).putLong(24, random.nextInt(4) == 0 ? -1 : 0);
                long count = random.nextInt(3) == 0 ? length : 1;
                check("ppoll" + text, () -> kernel.ppoll(to, count, base + 16));
            }
            default -> {
                String path = PATHS[random.nextInt(PATHS.length)];
                check("open " + path, () -> open(path));
            }
        }
    }

    private int nonblocking(int fd) {
        return fd;
    }

    private long check(String what, LongSupplier made) {
        last.add(what);
        if (last.size() > 12) {
            last.remove(0);
        }
        boolean compares = random.nextInt(digests) == 0;
        long before = compares ? digest.of(kernel) : 0;
        long start = System.nanoTime();
        long result;
        String answer;
        try {
            result = made.getAsLong();
            answer = result >= 0 ? "ok" : result >= -LAST_ERRNO ? new Errno((int) -result).toString() : "?";
        } catch (NotModelledException e) {
            result = NOT_MODELLED;
            answer = "not modelled";
        } catch (RuntimeException | Error e) {
            throw new AssertionError(report(what + " ended in " + e), e);
        }
        counts.merge(answer, 1, Integer::sum);
        if (answer.equals("?")) {
            throw new AssertionError(report(what + " answered " + result));
        }
        if (System.nanoTime() - start > SLOWEST) {
            throw new AssertionError(report(what + " took " + (System.nanoTime() - start) / 1_000_000 + " ms"));
        }
        if (compares && result < 0 && digest.of(kernel) != before && !mayChange(what, answer)) {
            throw new AssertionError(report(what + " answered " + answer + " and changed the state"));
        }
        return result;
    }

    private static boolean mayChange(String call, String answer) {
        return CHANGING.stream().anyMatch((call + " " + answer)::matches);
    }

    /** The flaw that ended the run, without numbers. */
    String flaw() {
        return flaw;
    }

    private String report(String flaw) {
        this.flaw = flaw.replaceAll("-?[0-9]{2,}|\\([0-9]+", "");
        return profile + ", seed " + seed + ": " + flaw + "; before it: " + last;
    }

    static Map<String, Integer> counts() {
        return new TreeMap<>();
    }
}
