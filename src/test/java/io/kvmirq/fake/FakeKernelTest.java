/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.file.StandardFile;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class FakeKernelTest {
    private final FakeKernel kernel = new FakeKernel(Profile.V6_18);
    private final KernelBackend fake = kernel.backend();

    private static KernelBackend fake(String profile) {
        return new FakeKernel(Profile.parse(profile)).backend();
    }

    private int openKvm() {
        return fake.kvmOpen(Buffers.cString("/dev/kvm"));
    }

    private int createVm() {
        return fake.vmCreate(openKvm(), 0);
    }

    /** A request that kernels know and the fake does not is never answered as if no kernel knew it. */
    @Test
    void whatIsNotModelledIsRefusedByName() {
        int vm = createVm();
        int vcpu = fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        assertThatThrownBy(() -> fake.libc().ioctl(vm, Uapi.KVM_CREATE_GUEST_MEMFD, 0))
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model KVM_CREATE_GUEST_MEMFD");
        assertThatThrownBy(() -> fake.libc().ioctl(vcpu, Uapi.KVM_SET_NESTED_STATE, 0))
                .hasMessage("the fake kernel does not model KVM_SET_NESTED_STATE");
        assertThat(fake.libc().ioctl(vm, 0xaeff, 0)).isEqualTo(-Errno.ENOTTY.number());
    }

    /** fs/ioctl.c answers it before the file does, each file system in its way. */
    @Test
    void requestsOfAnyFileAreNotModelled() {
        for (long request : new long[] {2, 0x5460, 0x40049409, 0x80111500L, 0xc020660bL, 0xc0045877L, 0xc0045878L}) {
            for (int fd : new int[] {createVm(), fake.libc().eventfd(0, 0)}) {
                assertThatThrownBy(() -> fake.libc().ioctl(fd, request, 0))
                        .isInstanceOf(NotModelledException.class)
                        .hasMessage("the fake kernel does not model the request 0x" + Long.toHexString(request)
                                + " of any file");
            }
        }
    }

    /** O_CREAT and O_EXCL, O_DIRECTORY, O_PATH. */
    @Test
    void flagsOfOpenThatAFileOfADeviceDoesNotTakeAreNotModelled() {
        for (int flags : new int[] {0300, 0200000, 010000000}) {
            assertThatThrownBy(() -> fake.libc().open(Buffers.cString("/dev/kvm"), Uapi.O_RDWR | flags))
                    .isInstanceOf(NotModelledException.class);
        }
    }

    private static String refused(KernelBackend fake, int fd, String name, UapiTable.FileKind kind) {
        long number = UapiTable.REQUESTS.stream()
                .filter(request -> request.kind() == kind && request.name().equals(name))
                .findFirst()
                .orElseThrow()
                .number();
        try {
            return "answered " + fake.libc().ioctl(fd, number, 0);
        } catch (NotModelledException e) {
            return String.valueOf(e.getMessage());
        }
    }

    /** Kernels since 6.9 answer the two requests of an epoll set. */
    @Test
    void requestsOfAnEpollSetAreRefusedByName() {
        for (Profile profile : List.of(Profile.V6_12, Profile.V6_18)) {
            Libc libc = new FakeKernel(profile).libc();
            int set = libc.epollCreate(0);
            assertThatThrownBy(() -> libc.ioctl(set, 0x40088a01, 0))
                    .isInstanceOf(NotModelledException.class)
                    .hasMessage("the fake kernel does not model EPIOCSPARAMS");
            assertThatThrownBy(() -> libc.ioctl(set, 0x80088a02L, 0))
                    .hasMessage("the fake kernel does not model EPIOCGPARAMS");
            assertThat(libc.ioctl(set, 0x8a03, 0)).isEqualTo(-Errno.EINVAL.number());
        }
        Libc old = new FakeKernel(Profile.V6_1).libc();
        assertThat(old.ioctl(old.epollCreate(0), 0x80088a02L, 0)).isEqualTo(-Errno.ENOTTY.number());
    }

    /** Kernels differ in what they say of an address that is neither the process's nor the kernel's. */
    @Test
    void roomForEventsBetweenTheHalvesIsNotModelled() {
        int set = kernel.libc().epollCreate(0);
        assertThatThrownBy(() -> kernel.libc().epollWait(set, 1L << 48, 1, 0)).isInstanceOf(NotModelledException.class);
    }

    /** An ioctl as any other call. */
    @Test
    void callsOnClosedDescriptorsAreAmongTheRefusals() {
        int none = 1000;
        kernel.libc().ioctl(none, Uapi.KVM_CREATE_VM, 0);
        kernel.libc().read(none, 0, 8);
        assertThat(kernel.refusals())
                .containsExactly(
                        new Refusal(FileAnswer.FD_NOT_OPEN, "ioctl", Uapi.KVM_CREATE_VM, List.of()),
                        new Refusal(FileAnswer.FD_NOT_OPEN, "read", 0, List.of()));
    }

    @Test
    void fullTableGivesNoDescriptor() {
        FakeHost host = new FakeHost(Profile.V6_18.build(), false);
        host.files().limit(0);
        assertThat(host.install(new StandardFile(host))).isEqualTo(-Errno.EMFILE.number());
        assertThat(host.rules().used()).containsExactly(FileAnswer.FD_TABLE_FULL);
    }

    private static final List<String> OF_VM = List.of(
            "KVM_CREATE_PIT", "KVM_GET_PIT", "KVM_CLEAR_DIRTY_LOG", "KVM_SET_MEMORY_ATTRIBUTES", "KVM_XEN_HVM_CONFIG");

    private static final List<String> OF_VCPU = List.of("KVM_SET_CPUID", "KVM_TRANSLATE", "KVM_GET_NESTED_STATE");

    /** Numbers of which nothing but the name is known here. */
    @Test
    void whatOnlyHasANameIsRefusedByIt() {
        KernelBackend fake = fake("7.1");
        int kvm = fake.kvmOpen(Buffers.cString("/dev/kvm"));
        int vm = fake.vmCreate(kvm, 0);
        int vcpu = fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        String refusal = "the fake kernel does not model ";
        assertThat(refused(fake, kvm, "KVM_GET_SUPPORTED_HV_CPUID", UapiTable.FileKind.KVM))
                .isEqualTo(refusal + "KVM_GET_SUPPORTED_HV_CPUID");
        assertThat(OF_VM).allSatisfy(name -> assertThat(refused(fake, vm, name, UapiTable.FileKind.VM))
                .isEqualTo(refusal + name));
        assertThat(OF_VCPU).allSatisfy(name -> assertThat(refused(fake, vcpu, name, UapiTable.FileKind.VCPU))
                .isEqualTo(refusal + name));
        assertThat(fake.libc().ioctl(kvm, 0xaeff, 0)).isEqualTo(-Errno.EINVAL.number());
        assertThat(fake.libc().ioctl(vm, 0xaeff, 0)).isEqualTo(-Errno.ENOTTY.number());
        assertThat(fake.libc().ioctl(vcpu, 0xaeff, 0)).isEqualTo(-Errno.EINVAL.number());
        // A request of the other kind of file is as unknown as one of nobody's.
        assertThat(fake.libc().ioctl(vm, Uapi.KVM_GET_XCRS, 0)).isEqualTo(-Errno.ENOTTY.number());
        assertThat(fake.libc().ioctl(vcpu, Uapi.KVM_CLEAR_DIRTY_LOG, 0)).isEqualTo(-Errno.EINVAL.number());
    }

    private static int assignInTwoVms(KernelBackend kernel) {
        int kvm = kernel.kvmOpen(Buffers.cString("/dev/kvm"));
        int event = kernel.eventfdCreate();
        int vm = kernel.vmCreate(kvm, 0);
        int other = kernel.vmCreate(kvm, 0);
        assertThat(kernel.irqchipCreate(vm)).isZero();
        assertThat(kernel.irqchipCreate(other)).isZero();
        assertThat(kernel.irqfdAssign(vm, event, 10)).isZero();
        return kernel.irqfdAssign(other, event, 10);
    }

    /** As POSIX has it, also after holes. */
    @Test
    void descriptorsAreTheLowestFree() {
        int first = fake.eventfdCreate();
        int second = fake.eventfdCreate();
        int third = fake.eventfdCreate();
        assertThat(second).isEqualTo(first + 1);
        fake.fdClose(second);
        fake.fdClose(first);
        assertThat(fake.eventfdCreate()).isEqualTo(first);
        assertThat(fake.libc().fcntl(third, Uapi.F_DUPFD_CLOEXEC, third)).isEqualTo(third + 1);
        assertThat(fake.eventfdCreate()).isEqualTo(second);
        assertThat(fake.eventfdCreate()).isEqualTo(third + 2);
    }

    /** Distributions carry changes of later kernels back. */
    @Test
    void switchesSetApartKernelsOfOneVersion() {
        assertThat(assignInTwoVms(fake("6.12,irqfd-host"))).isEqualTo(-Errno.EBUSY.number());
        assertThat(assignInTwoVms(fake("6.18,irqfd-vm"))).isZero();
        KernelBackend split = fake("7.1,split");
        int vm = split.vmCreate(split.kvmOpen(Buffers.cString("/dev/kvm")), 0);
        assertThat(split.irqchipCreate(vm)).isEqualTo(-Errno.ENOTTY.number());
        assertThat(split.irqchipCreateSplit(vm, 24)).isZero();
    }

    /** Built without CONFIG_KVM_IOAPIC, a kernel does not know what is asked of the chips, whatever the VM has. */
    @Test
    void kernelOfTheSplitIrqchipKnowsNoOther() {
        KernelBackend split = fake("6.18,split");
        int kvm = split.kvmOpen(Buffers.cString("/dev/kvm"));
        int vm = split.vmCreate(kvm, 0);
        assertThat(split.irqchipCreateSplit(vm, 24)).isZero();
        for (long request : new long[] {
            Uapi.KVM_CREATE_IRQCHIP,
            Uapi.KVM_GET_IRQCHIP,
            Uapi.KVM_SET_IRQCHIP,
            Uapi.KVM_CREATE_PIT,
            Uapi.KVM_GET_PIT,
            Uapi.KVM_SET_PIT,
            Uapi.KVM_CREATE_PIT2,
            Uapi.KVM_GET_PIT2,
            Uapi.KVM_SET_PIT2,
            Uapi.KVM_REINJECT_CONTROL
        }) {
            assertThat(split.libc().ioctl(vm, request, 0)).isEqualTo(-Errno.ENOTTY.number());
        }
        for (int capability : new int[] {11, 24, Uapi.KVM_CAP_PIT2, 35}) {
            assertThat(split.capabilityCheck(kvm, capability)).isZero();
            assertThat(fake.capabilityCheck(openKvm(), capability)).isEqualTo(1);
        }
        assertThat(split.capabilityCheck(kvm, Uapi.KVM_CAP_IRQCHIP)).isEqualTo(1);
    }

    /** As FilesContract sees it on Debian's 6.12 with kvm_amd. */
    @Test
    void systemOfAmdHasAnAttributeOfEncryptedGuestsSince610() {
        ByteBuffer value = Buffers.allocate(Long.BYTES).putLong(0, -1);
        assertThat(attribute("6.12,amd-avic", Uapi.KVM_HAS_DEVICE_ATTR, 0, value))
                .isZero();
        assertThat(attribute("7.1,avic-inhibited", Uapi.KVM_GET_DEVICE_ATTR, 0, value))
                .isZero();
        assertThat(value.getLong(0)).isZero();
        assertThat(attribute("6.12,amd-avic", Uapi.KVM_HAS_DEVICE_ATTR, 1, value))
                .isEqualTo(-Errno.ENXIO.number());
        assertThat(attribute("6.1,amd-avic", Uapi.KVM_HAS_DEVICE_ATTR, 0, value))
                .isEqualTo(-Errno.ENXIO.number());
        assertThat(attribute("6.12,vtd", Uapi.KVM_HAS_DEVICE_ATTR, 0, value)).isEqualTo(-Errno.ENXIO.number());
    }

    /** The answer of the system to a request of an attribute of group 1. */
    private static int attribute(String profile, long request, long attribute, ByteBuffer value) {
        KernelBackend kernel = fake(profile);
        int kvm = kernel.kvmOpen(Buffers.cString("/dev/kvm"));
        long address = kernel.libc().addressOf(value);
        return kernel.libc().ioctl(kvm, request, Structs.of("kvm_device_attr", 0, 1, attribute, address));
    }

    /** As after fork: the descriptors are there, and nothing of KVM's may be asked but /dev/kvm. */
    @Test
    void foreignProcessGetsEioBeforeAnythingElse() {
        int kvm = openKvm();
        int vm = fake.vmCreate(kvm, 0);
        int event = fake.eventfdCreate();
        kernel.callAsForeignProcess(true);
        assertThat(fake.libc().ioctl(vm, 0xaeff, 0)).isEqualTo(-Errno.EIO.number());
        assertThat(fake.irqchipCreate(vm)).isEqualTo(-Errno.EIO.number());
        assertThat(fake.eventfdSignal(event, 1)).isNotNegative();
        assertThat(fake.vmCreate(kvm, 0)).isNotNegative();
        kernel.callAsForeignProcess(false);
        assertThat(fake.irqchipCreate(vm)).isZero();
        assertThat(Refusals.rules(kernel)).contains(FileAnswer.FOREIGN_PROCESS);
    }

    /** A full table is seen before the type of the VM. */
    @Test
    void descriptorsEndAtTheLimit() {
        int kvm = openKvm();
        kernel.limitDescriptors(kvm + 1);
        assertThat(fake.eventfdCreate()).isEqualTo(-Errno.EMFILE.number());
        assertThat(fake.vmCreate(kvm, 0xff)).isEqualTo(-Errno.EMFILE.number());
        kernel.limitDescriptors(kvm + 2);
        assertThat(fake.vmCreate(kvm, 0xff)).isEqualTo(-Errno.EINVAL.number());
        assertThat(fake.vmCreate(kvm, 0)).isNotNegative();
    }

    /** A vCPU that gets no descriptor is not made: the same call succeeds later. */
    @Test
    void vcpuWithoutDescriptorIsNone() {
        int vm = createVm();
        kernel.limitDescriptors(vm + 1);
        assertThat(fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0)).isEqualTo(-Errno.EMFILE.number());
        assertThat(fake.irqchipCreate(vm)).isZero();
        kernel.limitDescriptors(vm + 2);
        assertThat(fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0)).isEqualTo(vm + 1);
    }

    /** A VM that the other process makes is its own. */
    @Test
    void eachProcessHasItsVms() {
        int kvm = openKvm();
        kernel.callAsForeignProcess(true);
        int others = fake.vmCreate(kvm, 0);
        assertThat(fake.irqchipCreate(others)).isZero();
        kernel.callAsForeignProcess(false);
        assertThat(fake.irqchipCreate(others)).isEqualTo(-Errno.EIO.number());
    }

    @Test
    void standardFilesAreOpenAndNoEventfds() {
        int vm = createVm();
        assertThat(fake.libc().fcntl(0, Uapi.F_GETFD, 0)).isNotNegative();
        assertThat(fake.irqchipCreate(vm)).isZero();
        assertThat(fake.irqfdAssign(vm, 0, 10)).isEqualTo(-Errno.EINVAL.number());
    }

    @Test
    void capabilitiesThatKernelsHaveAreEnabledOrRefusedByName() {
        int vm = createVm();
        ByteBuffer exits = Buffers.allocate(Uapi.KvmEnableCap.SIZE).putInt(Uapi.KvmEnableCap.CAP, 143);
        assertThat(fake.capabilityCheck(vm, 143)).isPositive();
        assertThatThrownBy(() -> fake.libc().ioctl(vm, Uapi.KVM_ENABLE_CAP, exits))
                .hasMessage("the fake kernel does not model KVM_ENABLE_CAP of capability 143");
        assertThat(fake("6.1").capabilityCheck(vm, 238)).isNotPositive();
    }

    /** The line of a closed eventfd stays up until the worker comes; a deassign waits for all workers. */
    @Test
    void workersCanBeHeldBack() {
        int vm = createVm();
        assertThat(fake.irqchipCreate(vm)).isZero();
        int event = fake.eventfdCreate();
        int other = fake.eventfdCreate();
        assertThat(fake.irqfdAssignLevel(vm, event, fake.eventfdCreate(), 5)).isZero();
        kernel.holdWorkers();
        fake.eventfdSignal(event, 1);
        assertThat(line(fake, vm, 5)).as("nobody has injected yet").isFalse();
        kernel.runWorkers();
        assertThat(line(fake, vm, 5)).isTrue();
        kernel.holdWorkers();
        fake.fdClose(event);
        assertThat(line(fake, vm, 5)).as("nobody has taken the irqfd down yet").isTrue();
        assertThat(fake.irqfdDeassign(vm, other, 9)).isZero();
        assertThat(line(fake, vm, 5)).isFalse();
    }

    private static boolean line(KernelBackend kernel, int vm, int pin) {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertThat(kernel.irqchipGet(vm, 2, state)).isZero();
        return (state.getInt(Uapi.KvmIoapicState.IRR) >>> pin & 1) == 1;
    }

    /** A poll with a limit ends when the time is told to have passed, however long that takes. */
    @Test
    void virtualTimeStandsStillUntilItIsPassed() throws Exception {
        FakeKernel kernel = FakeKernel.inVirtualTime(Profile.V6_18);
        KernelBackend fake = kernel.backend();
        ByteBuffer polled = Buffers.allocate(Uapi.Pollfd.SIZE + Uapi.Timespec.SIZE);
        polled.putInt(Uapi.Pollfd.FD, fake.eventfdCreate()).putShort(Uapi.Pollfd.EVENTS, (short) Uapi.POLLIN);
        polled.putLong(Uapi.Pollfd.SIZE + Uapi.Timespec.TV_SEC, 3600);
        long address = kernel.libc().addressOf(polled);
        CompletableFuture<Integer> hour =
                CompletableFuture.supplyAsync(() -> kernel.libc().ppoll(address, 1, address + Uapi.Pollfd.SIZE));
        while (kernel.waiting() == 0) {
            Thread.onSpinWait();
        }
        kernel.pass(Duration.ofMinutes(59));
        assertThat(hour).isNotDone();
        kernel.pass(Duration.ofMinutes(1));
        assertThat(hour.get()).isZero();
        Reference.reachabilityFence(polled);
        assertThatThrownBy(() -> new FakeKernel(Profile.V6_18).pass(Duration.ofSeconds(1)))
                .isInstanceOf(IllegalStateException.class);
    }

    /** Also where nothing is compiled: no record, no boxed number, no iterator on the way. */
    @Test
    void routedSignalAllocatesNothing() {
        int vm = createVm();
        assertThat(fake.irqchipCreate(vm)).isZero();
        fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        ByteBuffer route = Buffers.allocate(KernelBackend.ROUTE_SIZE);
        route.putInt(KernelBackend.ROUTE_GSI, 1000)
                .putInt(KernelBackend.ROUTE_TYPE, KernelBackend.ROUTE_TYPE_MSI)
                .putLong(KernelBackend.ROUTE_ADDRESS, 0xfee00000L)
                .putInt(KernelBackend.ROUTE_DATA, 0x31);
        assertThat(fake.routesSet(vm, route, 1)).isZero();
        int event = fake.libc().fcntl(fake.eventfdCreate(), Uapi.F_DUPFD_CLOEXEC, 5000);
        assertThat(fake.irqfdAssign(vm, event, 1000)).isZero();
        fake.eventfdSignal(event, 1);
        long bytes = Allocations.leastOf(() -> {
            for (int i = 0; i < 1000; i++) {
                fake.eventfdSignal(event, 1);
            }
        });
        assertThat(bytes).isZero();
    }

    /** As on Linux, memory is there when it is touched: a guest's may be larger than the heap of its test. */
    @Test
    void memoryTakesNoRoomUntilItIsTouched() {
        FakeKernel kernel = new FakeKernel(Profile.parse("6.18"));
        long size = 1L << 30;
        List<Long> mapped = new ArrayList<>();
        for (long room = 2 * Runtime.getRuntime().maxMemory(); room > 0; room -= size) {
            long address = kernel.libc().mmap(size, 3, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
            ByteBuffer memory = kernel.libc().view(address, size);
            assertThat(memory.get((int) size - 1)).isZero();
            assertThat(memory.put((int) size - 1, (byte) 7).get((int) size - 1)).isEqualTo((byte) 7);
            mapped.add(address);
        }
        assertThat(mapped).hasSizeGreaterThan(1);
        mapped.forEach(
                address -> assertThat(kernel.libc().munmap(address, size)).isZero());
    }
}
