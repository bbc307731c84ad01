/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.testing.CpuTime;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RulesSeen;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/** A kernel through one binding, and every descriptor a test has made, to be closed after it. For one thread. */
public final class World {
    static final long PAGE = 4096;
    /** The first Java with the binding ffm. Older ones are not asked; scripts/build says so if there is no newer one. */
    private static final int FFM = 22;

    /** In-service register of a LAPIC. */
    private static final int ISR = 0x100;

    static final long MSI_ADDRESS = 0xfee00000L;
    static final int VECTOR = 0x31;
    /** The IOAPIC's number among the chips. */
    static final int IOAPIC = 2;
    /** Bits of an IOAPIC's redirection entry. */
    static final long MASKED = 1L << 16;

    static final long LEVEL = 1L << 15;
    static final long REMOTE_IRR = 1L << 14;

    private static final List<String> GICV2_PROFILES =
            List.of("6.1,arm64,gicv2", "6.12,arm64,gicv2", "7.1,arm64,gicv2");

    private final String name;
    private final String release;
    private final List<Integer> open = new ArrayList<>();
    private final List<Long> mapped = new ArrayList<>();
    private final KernelBackend kernel;
    private final Optional<FakeKernel> fake;
    private final Optional<String> flaw;

    private World(String name, String release, KernelBackend kernel, Optional<String> flaw) {
        this.name = name;
        this.release = release;
        this.kernel = kernel;
        this.fake = Optional.empty();
        this.flaw = flaw;
    }

    private World(String name, String release, FakeKernel fake, Optional<String> flaw) {
        this.name = name;
        this.release = release;
        this.kernel = fake.backend();
        this.fake = Optional.of(fake);
        this.flaw = flaw;
    }

    /** The name of all fake kernels among the bindings; a profile's own is fake-6.18. */
    static final String FAKE = "fake";

    /**
     * The kernels to ask: {@code -Dkvmirq.test.backends}, separated by spaces, else the real one by all that work on
     * this JVM, and the fake in each profile.
     */
    static Stream<World> all() {
        return kernels(Machine.kvmFlaw(), profiles(Machine.PVM));
    }

    /** The versions, as Debian builds them, and more. */
    private static List<String> profiles(String... more) {
        return Stream.concat(Profile.labels().stream(), Stream.of(more)).toList();
    }

    /** As {@link #all}, where the real one must be arm64. Of the fake those profiles that were compared with one. */
    static Stream<World> arm64() {
        return kernels(Machine.arm64Flaw(), List.of("6.1,arm64", "6.12,arm64", "7.1,arm64"));
    }

    /** As {@link #arm64}, where the host of the real one must run a GICv2. The fakes have hosts with one. */
    static Stream<World> gicV2() {
        return kernels(Machine.gicV2Flaw(), GICV2_PROFILES);
    }

    /** As {@link #all}, of both architectures. */
    static Stream<World> ofBothArchitectures() {
        return kernels(Machine.kvmFlaw(), profiles(Machine.PVM, "6.1,arm64", "6.12,arm64"));
    }

    /** As {@link #all}. Of the fake those profiles whose IOMMU is known. */
    static Stream<World> withIommu() {
        return kernels(Machine.kvmFlaw(), List.of("6.1,amd-vi", "6.12,amd-vi", "6.1", "6.12"));
    }

    /** As {@link #all}. Of the fake those profiles whose devices have files of their own. */
    static Stream<World> withDeviceFiles() {
        return kernels(Machine.kvmFlaw(), List.of("6.12,cdev", "7.1,cdev"));
    }

    /** As {@link #all}, also with a fake whose guests run by SVM without AVIC. */
    static Stream<World> withSvm() {
        return kernels(Machine.kvmFlaw(), profiles(Machine.PVM, "6.12,amd-vi"));
    }

    /** As {@link #withSvm}, also with fakes whose guests run by VMX, with APICv, as in the lab. */
    static Stream<World> ofEachVendor() {
        return kernels(Machine.kvmFlaw(), profiles(Machine.PVM, "6.12,amd-vi", "6.1,vtd-posting", "6.12,vtd-posting"));
    }

    /** As {@link #all}. Of the fake those profiles whose KVM uses AVIC, and one whose KVM does not. */
    static Stream<World> withAvic() {
        return kernels(
                Machine.kvmFlaw(),
                List.of("6.1,amd-avic", "6.12,amd-avic", "6.12,avic-inhibited", "6.18,amd-avic", "6.12,amd-vi"));
    }

    private static Stream<World> kernels(Optional<String> flaw, List<String> profiles) {
        String named = System.getProperty("kvmirq.test.backends", "");
        Stream<World> real = Backends.ofThisMachine().probeAll().stream()
                .filter(probe -> named.isEmpty()
                        ? !probe.name().equals("ffm") || Runtime.version().feature() >= FFM
                        : isNamed(named, probe.name()))
                .map(probe -> new World(
                        probe.name(),
                        Machine.kernelRelease(),
                        probe.backend().orElseGet(() -> unusable(probe.name() + ": " + probe.reason(), named)),
                        flaw));
        Stream<World> fakes = profiles.stream()
                .map(World::fake)
                .filter(fake -> named.isEmpty() || isNamed(named, FAKE) || isNamed(named, fake.name));
        List<World> all = Stream.concat(real, fakes).toList();
        return all.isEmpty() && Machine.isOfLab() ? Stream.of(unasked(named)) : all.stream();
    }

    /** A binding that does not load: each call skips the test. One that was asked for fails. */
    private static KernelBackend unusable(String reason, String named) {
        assertThat(named).as(reason).isEmpty();
        return (KernelBackend) Proxy.newProxyInstance(
                KernelBackend.class.getClassLoader(),
                new Class<?>[] {KernelBackend.class},
                (proxy, method, arguments) -> Assumptions.abort(reason));
    }

    /** Each test of a suite that asks none of the fakes of a flavour of the lab is skipped beside its machine. */
    private static World unasked(String named) {
        return new World(
                named,
                Machine.profile().label(),
                new FakeKernel(Machine.profile()),
                Optional.of("this suite does not ask " + named));
    }

    private static boolean isNamed(String names, String name) {
        return List.of(names.split(" ", -1)).contains(name);
    }

    /** A fake kernel in the same profile that no other test has used. Only of the world of a fake. */
    World anotherFake() {
        return fake(release);
    }

    static World fake(String profile) {
        return new World(FAKE + "-" + profile, profile, new FakeKernel(Profile.parse(profile)), Optional.empty());
    }

    /** Whether its kernel is of this version or newer: each version has one right answer. */
    boolean isSince(int major, int minor) {
        return Machine.isAtLeast(release, major, minor);
    }

    boolean isArm64() {
        return fake().isPresent() ? Profile.parse(release).isArm64() : !Machine.isX86();
    }

    /** Whether KVM runs its guests by SVM. */
    boolean isAmd() {
        return fake().isPresent()
                ? release.contains("avic") || release.contains("amd-vi")
                : Files.isDirectory(Path.of("/sys/module/kvm_amd"));
    }

    /** Whether KVM runs its guests by VMX. */
    boolean isIntel() {
        return fake().isPresent() ? release.contains("vtd") : Files.isDirectory(Path.of("/sys/module/kvm_intel"));
    }

    /** Whether APIC virtualization is on: APICv or AVIC. */
    boolean virtualizesApics() {
        return fake().isPresent()
                ? release.contains("vtd") || release.contains("avic")
                : Stream.of("kvm_intel/parameters/enable_apicv", "kvm_amd/parameters/avic")
                        .flatMap(name -> HostFiles.at(Path.of("/sys/module")).text(name).stream())
                        .anyMatch(value -> value.matches("[Y1]"));
    }

    /** Whether KVM runs its guests by kvm_pvm. */
    boolean isPvm() {
        return (kernel.isReal() ? Machine.profile().label() : release).equals(Machine.PVM);
    }

    /** Skips, with the reason, where this world's kernel cannot be used. */
    public KernelBackend kernel() {
        assumeTrue(flaw.isEmpty(), () -> flaw.orElse(""));
        return kernel;
    }

    @Override
    public String toString() {
        return name;
    }

    /** Keeps a new descriptor to be closed. */
    public int own(int result) {
        assertThat(result).as("a new descriptor").isNotNegative();
        open.add(result);
        return result;
    }

    public void close(int fd) {
        open.remove((Integer) fd);
        assertOk(kernel.fdClose(fd));
    }

    void closeAll() {
        closeFiles();
        noteRules();
    }

    void closeFiles() {
        for (int i = open.size() - 1; i >= 0; i--) {
            kernel.fdClose(open.get(i));
        }
        open.clear();
        for (int i = 0; i < mapped.size(); i += 2) {
            kernel.libc().munmap(mapped.get(i), mapped.get(i + 1));
        }
        mapped.clear();
    }

    /** Notes the rules if the profile stands for the running kernel: only then is a real one asked the same. */
    void noteRules() {
        fake().ifPresent(fake -> {
            if (release.equals(Machine.profile().label())) {
                RulesSeen.add(fake);
            } else {
                RulesSeen.addRefusals(fake);
            }
        });
    }

    /** The fake kernel, if this is the world of one. */
    Optional<FakeKernel> fake() {
        return fake;
    }

    /** Fresh memory, or a file's, unmapped after the test. */
    public long map(long length, int fd) {
        return map(length, Uapi.PROT_READ | Uapi.PROT_WRITE, fd);
    }

    /** The same, with this access. */
    public long map(long length, int protection, int fd) {
        int flags = fd < 0 ? Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS : Uapi.MAP_SHARED;
        long address = kernel.libc().mmap(length, protection, flags, fd, 0);
        assertOk(address);
        mapped.addAll(List.of(address, length));
        return address;
    }

    /** A page of memory followed by one that cannot be read. */
    long pageBeforeNothing() {
        int flags = Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS;
        for (int i = 0; i < 64; i++) {
            long guard = kernel.libc().mmap(PAGE, 0, flags, -1, 0);
            mapped.addAll(List.of(guard, PAGE));
            long page = map(PAGE, -1);
            if (!kernel.isReal() || page + PAGE == guard) {
                return page;
            }
        }
        throw new AssertionError("no two mappings lie side by side");
    }

    int kvm() {
        return own(kernel.kvmOpen(Buffers.cString("/dev/kvm")));
    }

    public int bareVm() {
        return own(createVm(kvm()));
    }

    /** Takes a structure of any size, unlike {@link Libc#ioctl(int, long, ByteBuffer)}. */
    public int ioctl(int fd, long request, ByteBuffer structure) {
        try {
            return kernel.libc().ioctl(fd, request, kernel.libc().addressOf(structure));
        } finally {
            Reference.reachabilityFence(structure);
        }
    }

    /** Makes a VM. The call is repeated after EINTR: a ring that goes away leaves its thread something like a signal. */
    int createVm(int kvm) {
        int result = kernel.vmCreate(kvm, 0);
        for (int again = 0; result == -Errno.EINTR.number() && again < 100; again++) {
            result = kernel.vmCreate(kvm, 0);
        }
        return result;
    }

    public int fullVm() {
        assumeX86();
        int vm = bareVm();
        createFullIrqchip(vm);
        return vm;
    }

    void createFullIrqchip(int vm) {
        assumeX86();
        int result = kernel.irqchipCreate(vm);
        if (result == -Errno.ENOTTY.number()) {
            closeAll(); // a constructor that is skipped has nobody who closes
        }
        assumeTrue(
                !kernel.isReal() || result != -Errno.ENOTTY.number(),
                "needs the full irqchip, which this kernel was built without (CONFIG_KVM_IOAPIC)");
        assertOk(result);
    }

    /** Skips, with the reason, where this world's kernel has no full irqchip. */
    void assumeFullIrqchip() {
        close(fullVm());
    }

    int splitVm() {
        assumeX86();
        int vm = bareVm();
        assertOk(kernel.irqchipCreateSplit(vm, 24));
        return vm;
    }

    public int eventfd() {
        return own(kernel.eventfdCreate());
    }

    /** Something open that is not an eventfd. */
    int epollFd() {
        return own(kernel.libc().epollCreate(0));
    }

    /** Skips, with the reason, where this world's kernel is of another architecture: arm64 has suites of its own. */
    void assumeX86() {
        assumeTrue(!kernel.isReal() || Machine.isX86(), "needs KVM on x86-64, and this one is arm64");
    }

    /** Skips the rest of a test on the fake, which throws NotModelledException for it. */
    void assumeReal(String what) {
        assumeTrue(kernel.isReal(), "needs a real kernel: the fake does not model " + what);
    }

    public int vcpu(int vm, int id) {
        return own(kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, id));
    }

    /** A vCPU never run whose LAPIC is enabled, so that messages reach its IRR. */
    int vcpuWithLapic(int vm) {
        return vcpuWithLapic(vm, 0);
    }

    int vcpuWithLapic(int vm, int id) {
        assumeX86();
        int vcpu = vcpu(vm, id);
        ByteBuffer lapic = lapic(vcpu);
        lapic.putInt(Uapi.KvmLapicState.SVR, lapic.getInt(Uapi.KvmLapicState.SVR) | Uapi.KvmLapicState.SVR_ENABLE);
        assertOk(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
        return vcpu;
    }

    /** KVM_GET_SREGS. */
    ByteBuffer segments(int vcpu) {
        ByteBuffer segments = Buffers.allocate(Uapi.KvmSregs.SIZE);
        assertOk(kernel.libc().ioctl(vcpu, Uapi.KVM_GET_SREGS, segments));
        return segments;
    }

    /** KVM_SET_CPUID2. */
    int setCpuid(int vcpu, int[]... leaves) {
        return kernel.libc().ioctl(vcpu, Uapi.KVM_SET_CPUID2, Structs.cpuid(leaves));
    }

    ByteBuffer lapic(int vcpu) {
        ByteBuffer lapic = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        assertOk(kernel.libc().ioctl(vcpu, Uapi.KVM_GET_LAPIC, lapic));
        return lapic;
    }

    boolean requested(int vcpu, int vector) {
        return bit(vcpu, Uapi.KvmLapicState.IRR, vector);
    }

    boolean inService(int vcpu, int vector) {
        return bit(vcpu, ISR, vector);
    }

    private boolean bit(int vcpu, int array, int vector) {
        return (lapic(vcpu).getInt(array + vector / 32 * 16) >>> vector % 32 & 1) == 1;
    }

    private ByteBuffer ioapic(int vm) {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm, IOAPIC, state));
        return state;
    }

    /** Whether a pin of the in-kernel IOAPIC is high. */
    boolean ioapicLine(int vm, int pin) {
        return (ioapic(vm).getInt(Uapi.KvmIoapicState.IRR) >>> pin & 1) == 1;
    }

    /** An entry of the IOAPIC's redirection table. */
    long redirection(int vm, int pin) {
        return ioapic(vm).getLong(Uapi.KvmIoapicState.REDIRTBL + pin * Long.BYTES);
    }

    void redirect(int vm, int pin, long entry) {
        ByteBuffer state = ioapic(vm).putLong(Uapi.KvmIoapicState.REDIRTBL + pin * Long.BYTES, entry);
        assertOk(kernel.irqchipSet(vm, IOAPIC, state));
    }

    /** As a guest does that uses the IOAPIC. */
    void maskPics(int vm) {
        for (int chip = 0; chip < IOAPIC; chip++) {
            ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
            assertOk(kernel.irqchipGet(vm, chip, state));
            assertOk(kernel.irqchipSet(vm, chip, state.put(Uapi.KvmPicState.IMR, (byte) 0xff)));
        }
    }

    /** Sets a line. Returns the status of KVM_IRQ_LINE_STATUS. */
    int status(int vm, int gsi, int level) {
        ByteBuffer status = Buffers.allocate(Integer.BYTES);
        assertOk(kernel.lineSetStatus(vm, gsi, level, status));
        return status.getInt(0);
    }

    /** KVM_IRQFD with all its fields, the padding filled. */
    int irqfd(int vm, int fd, int gsi, int flags, int resample) {
        ByteBuffer structure = Structs.of("kvm_irqfd", fd, gsi, flags, resample);
        for (int i = Uapi.KvmIrqfd.RESAMPLEFD + Integer.BYTES; i < structure.capacity(); i++) {
            structure.put(i, (byte) 0xa5);
        }
        return kernel.libc().ioctl(vm, Uapi.KVM_IRQFD, structure);
    }

    /** Empties a LAPIC's IRR. */
    void forget(int vcpu) {
        ByteBuffer lapic = lapic(vcpu);
        for (int i = 0; i < 8; i++) {
            lapic.putInt(Uapi.KvmLapicState.IRR + i * 16, 0);
        }
        assertOk(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
    }

    /** For what a worker of the kernel does, or another thread or program. */
    public static void eventually(String what, BooleanSupplier holds) {
        Duration limit = CpuTime.ofThread().plusSeconds(60);
        while (!holds.getAsBoolean()) {
            assertThat(CpuTime.ofThread()).as("time on a CPU until " + what).isLessThan(limit);
            Thread.onSpinWait();
        }
    }

    // Routes as records of the typed primitive

    record MsiRoute(int gsi, long address, int data, int flags) {}

    int setMsiRoutes(int vm, MsiRoute... routes) {
        ByteBuffer records = records(routes.length);
        for (int i = 0; i < routes.length; i++) {
            message(records, i, routes[i].gsi, routes[i].address, routes[i].data, routes[i].flags, 0);
        }
        return kernel.routesSet(vm, records, routes.length);
    }

    record PinRoute(int gsi, int chip, int pin, int flags) {}

    int setPinRoutes(int vm, PinRoute... routes) {
        ByteBuffer records = records(routes.length);
        for (int i = 0; i < routes.length; i++) {
            pin(records, i, routes[i].gsi, routes[i].chip, routes[i].pin)
                    .putInt(i * KernelBackend.ROUTE_SIZE + KernelBackend.ROUTE_FLAGS, routes[i].flags);
        }
        return kernel.routesSet(vm, records, routes.length);
    }

    static ByteBuffer records(int count) {
        return Buffers.allocate(Math.max(1, count) * KernelBackend.ROUTE_SIZE);
    }

    static ByteBuffer pin(ByteBuffer records, int index, int gsi, int chip, int pin) {
        int at = index * KernelBackend.ROUTE_SIZE;
        return records.putInt(at + KernelBackend.ROUTE_GSI, gsi)
                .putInt(at + KernelBackend.ROUTE_TYPE, KernelBackend.ROUTE_TYPE_IRQCHIP)
                .putInt(at + KernelBackend.ROUTE_CHIP, chip)
                .putInt(at + KernelBackend.ROUTE_PIN, pin);
    }

    static ByteBuffer message(ByteBuffer records, int index, int gsi, long address, int data, int flags, int devid) {
        int at = index * KernelBackend.ROUTE_SIZE;
        return records.putInt(at + KernelBackend.ROUTE_GSI, gsi)
                .putInt(at + KernelBackend.ROUTE_TYPE, KernelBackend.ROUTE_TYPE_MSI)
                .putInt(at + KernelBackend.ROUTE_FLAGS, flags)
                .putInt(at + KernelBackend.ROUTE_DATA, data)
                .putLong(at + KernelBackend.ROUTE_ADDRESS, address)
                .putInt(at + KernelBackend.ROUTE_DEVID, devid);
    }

    int routeToVector(int vm, int gsi) {
        return setMsiRoutes(vm, new MsiRoute(gsi, MSI_ADDRESS, VECTOR, 0));
    }

    /** The count of an eventfd, taken; 0 when it was 0. */
    long drain(int fd) {
        ByteBuffer count = Buffers.allocate(Long.BYTES);
        int result = kernel.eventfdDrain(fd, count);
        if (result == -Errno.EAGAIN.number()) {
            return 0;
        }
        assertOk(result);
        return count.getLong(0);
    }

    /** The events that poll() finds at once. */
    int polled(int fd) {
        ByteBuffer polled = Structs.of("pollfd", fd, Uapi.POLLIN);
        ByteBuffer limit = Buffers.allocate(Uapi.Timespec.SIZE);
        Libc libc = kernel.libc();
        assertOk(libc.ppoll(libc.addressOf(polled), 1, libc.addressOf(limit)));
        int events = polled.getShort(Uapi.Pollfd.REVENTS);
        limit.clear();
        return events;
    }

    public static void assertOk(long result) {
        assertThat(result).as("result").isNotNegative();
    }

    public static void assertErrno(Errno expected, long result) {
        assertThat(result).as("result, expected " + expected).isEqualTo(-expected.number());
    }
}
