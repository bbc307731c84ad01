/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.testing.Choices;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiVfio;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Calls at random of one fake kernel, on all its files and with {@link HostileArguments}. {@link CallJudge} checks each. */
final class CallFuzz {
    /** So often a request may go nowhere before others are preferred. */
    private static final int DULL = 3;

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

    private final boolean arm;
    private final Choices random;
    private final FakeKernel kernel;
    private final HostileArguments arguments;
    private final CallJudge judge;
    private final FakePciDevice pci;
    private final FakePciDevice other;
    private final Map<Request, Integer> dull = new HashMap<>();

    /**
     * @param digests the state is compared around one of so many calls
     * @param counts by errno or kind of answer
     */
    CallFuzz(String profile, long seed, Choices random, int digests, Map<String, Integer> counts) {
        this.arm = Profile.parse(profile).isArm64();
        this.random = random;
        this.kernel = FakeKernel.inVirtualTime(Profile.parse(profile));
        this.arguments = new HostileArguments(kernel, random);
        this.judge = new CallJudge(profile + ", seed " + seed, kernel, random, digests, counts);
        this.pci = kernel.pciDevice("0000:00:02.0", 3)
                .intx()
                .maskableMsi(4)
                .msix(8)
                .bar64(0, 0x1000)
                .msixTable(0, 0)
                .ioBar(2, 0x20)
                .express()
                .powerManagement()
                .resettable()
                .add();
        this.other = kernel.pciDevice("0000:00:03.0", 4)
                .intxWithoutDisIntx()
                .msix(4)
                .resettable()
                .add();
        kernel.platformDevice("fff51000.ethernet", 5).level().edge().add();
    }

    CallJudge judge() {
        return judge;
    }

    /** Makes so many calls. */
    void run(int calls) {
        if (random.nextBoolean()) {
            setUpVfio();
        }
        setUpKvm();
        while (random.step(calls)) {
            one();
        }
    }

    // Set-up, so that calls reach further

    private int ioctl(int fd, long request, long argument) {
        return kernel.libc().ioctl(fd, request, argument);
    }

    private void setUpKvm() {
        int node = open("/dev/kvm");
        int vm = ioctl(node, Uapi.KVM_CREATE_VM, 0);
        if (!arm && random.nextBoolean()) {
            ioctl(vm, Uapi.KVM_CREATE_IRQCHIP, 0);
        }
        for (int id = 0; id < 2; id++) {
            newVcpu(ioctl(vm, Uapi.KVM_CREATE_VCPU, id));
        }
        for (int i = 0; i < 4; i++) {
            kernel.libc().eventfd(0, Uapi.O_NONBLOCK);
        }
        kernel.libc().epollCreate(0);
        if (arm) {
            long memory = kernel.libc().mmap(1 << 20, 3, Uapi.MAP_ANONYMOUS | Uapi.MAP_PRIVATE, -1, 0);
            arguments
                    .memory()
                    .putLong(0, 0)
                    .putLong(8, 0x4000_0000L)
                    .putLong(16, 1 << 20)
                    .putLong(24, memory);
            ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION, arguments.base());
        }
    }

    private int open(String path) {
        return kernel.libc().open(arguments.text(0, path), 0, 0);
    }

    private void setUpVfio() {
        int container = open("/dev/vfio/vfio");
        for (int number = 3; number <= 5; number++) {
            int group = open("/dev/vfio/" + number);
            arguments.memory().putInt(0, container);
            ioctl(group, UapiVfio.VFIO_GROUP_SET_CONTAINER, arguments.base());
            ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU);
            String name = number == 5 ? "fff51000.ethernet" : "0000:00:0" + (number - 1) + ".0";
            ioctl(group, UapiVfio.VFIO_GROUP_GET_DEVICE_FD, arguments.text(0, name));
        }
    }

    /** KVM_RUN returns at once. */
    private void newVcpu(int fd) {
        if (fd < 0) {
            return;
        }
        FakeFile file = kernel.host.file(fd);
        if (file != null) {
            file.shared(0, 4096, false).ifPresent(run -> run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1));
        }
    }

    /** The priority that the VMM gives the next KVM_RUN. */
    private void writeRun(int fd) {
        FakeFile file = kernel.host.file(fd);
        if (file != null) {
            file.shared(0, 4096, false).ifPresent(run -> run.putLong(Uapi.KvmRun.CR8, random.nextInt(20)));
        }
    }

    // One call

    private void one() {
        int kind = random.nextInt(100);
        if (kind < 72) {
            ioctl();
        } else if (kind < 79) {
            hardware();
        } else if (kind < 80) {
            int fd = arguments.fd();
            judge.check("close(" + fd + ")", () -> kernel.libc().close(fd));
        } else {
            other(random.nextInt(14));
        }
    }

    private void ioctl() {
        FileKind kind = KIND_LIST.get(random.nextInt(KIND_LIST.size()));
        int fd = random.nextInt(24) == 0 ? arguments.fd() : arguments.fdOf(kind);
        List<Request> requests = random.nextInt(24) == 0 ? ALL : REQUESTS.getOrDefault(arguments.kindOf(fd), ALL);
        Request request = requests.get(random.nextInt(requests.size()));
        for (int i = 0; i < 4 && dull.getOrDefault(request, 0) > DULL; i++) {
            request = requests.get(random.nextInt(requests.size()));
        }
        make(fd, request);
    }

    private void make(int fd, Request request) {
        long number = random.nextInt(64) == 0 ? random.nextLong() : request.number();
        long argument = request.isValue()
                ? number == Uapi.KVM_RUN ? 0 : arguments.number()
                : random.nextInt(24) == 0 ? arguments.address() : arguments.structure(request);
        long result = judge.check(
                "ioctl(" + fd + ", " + request.name() + ", " + argument + ")", () -> ioctl(fd, number, argument));
        if (result == -Errno.ENOTTY.number() || result == CallJudge.NOT_MODELLED) {
            dull.merge(request, 1, Integer::sum);
        }
        if (number == Uapi.KVM_CREATE_VCPU) {
            newVcpu((int) result);
        } else if (number == Uapi.KVM_RUN && random.nextInt(4) == 0) {
            writeRun(fd);
        }
    }

    private void hardware() {
        int vector = random.nextInt(4);
        int kind = random.nextInt(8);
        FakePciDevice device = random.nextBoolean() ? pci : other;
        judge.check("device " + kind, () -> {
            try {
                switch (kind) {
                    case 0, 1 -> device.requestService();
                    case 2 -> device.serve();
                    case 3, 4 -> device.sendMessage(vector);
                    case 5 -> device.askBack();
                    case 6 -> device.reportError();
                    default -> kernel.pass(Duration.ofMillis(3));
                }
            } catch (IllegalStateException e) {
                return 0; // the test's mistake, such as a device that is gone
            }
            return 0;
        });
    }

    /** An offset in a device's file: near the begin of a region. */
    private long inRegion() {
        return (long) random.nextInt(UapiVfio.VFIO_PCI_NUM_REGIONS) << 40 | random.nextInt(0x140);
    }

    private void other(int kind) {
        int fd = random.nextInt(3) == 0 ? arguments.fd() : arguments.openFd();
        long to = arguments.address();
        long length = random.nextInt(3) == 0 ? arguments.odd() : 8;
        long offset = random.nextInt(3) == 0 ? inRegion() : arguments.number();
        long memory = random.nextInt(4) == 0 ? arguments.odd() : 4096L * (1 + random.nextInt(16));
        int flags = random.nextInt(4);
        String text = "(" + fd + ", " + to + ", " + length + ", " + offset + ")";
        if (kind < 3) {
            kernel.libc().fcntl(fd, Uapi.F_SETFL, Uapi.O_NONBLOCK); // a call before may have cleared it
        }
        switch (kind) {
            case 0 -> judge.check("read" + text, () -> kernel.libc().read(fd, to, length));
            case 1, 2 -> judge.check("write" + text, () -> kernel.libc().write(fd, to, length));
            case 3 -> judge.check("pread" + text, () -> kernel.libc().pread(fd, to, length, offset));
            case 4 -> judge.check("pwrite" + text, () -> kernel.libc().pwrite(fd, to, length, offset));
            case 5 ->
                judge.check("preadv2" + text, () -> kernel.libc().preadv2(fd, to, (int) length, -1, Uapi.RWF_NOWAIT));
            case 6 ->
                judge.check(
                        "mmap" + text, () -> kernel.libc().mmap(memory, 3, flags == 0 ? 1 : 0x22, fd, flags * offset));
            case 7 -> judge.check("munmap" + text, () -> kernel.libc().munmap(to, memory));
            case 8 ->
                judge.check(
                        "fcntl" + text, () -> kernel.libc().fcntl(fd, (int) arguments.odd(), (int) arguments.odd()));
            case 9 ->
                judge.check(
                        "eventfd" + text, () -> kernel.libc().eventfd((int) offset, (int) offset | Uapi.O_NONBLOCK));
            case 10 -> {
                arguments
                        .memory()
                        .putInt(0, Uapi.POLLIN)
                        .putInt(8, 0)
                        .putLong(16, 0)
                        .putLong(24, 0);
                judge.check("epoll_ctl" + text, () -> kernel.libc()
                        .epollCtl(arguments.fdOf(FileKind.EPOLL), flags, fd, arguments.base() + flags * 4L));
            }
            case 11 ->
                judge.check("epoll_wait" + text, () -> kernel.libc()
                        .epollWait(arguments.fdOf(FileKind.EPOLL), to, (int) memory / 512, 0));
            case 12 -> {
                arguments.memory().putLong(16, 0).putLong(24, random.nextInt(4) == 0 ? -1 : 0);
                long count = random.nextInt(3) == 0 ? length : 1;
                judge.check("ppoll" + text, () -> kernel.libc().ppoll(to, count, arguments.base() + 16));
            }
            default -> {
                String path = arguments.path();
                judge.check("open " + path, () -> open(path));
            }
        }
    }
}
