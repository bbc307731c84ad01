/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.InterruptVector;
import io.kvmirq.NotPromised;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.explain.Answer;
import io.kvmirq.fake.arm64.ArmGuest;
import io.kvmirq.fake.arm64.ArmKvmFile;
import io.kvmirq.fake.arm64.ArmVmFile;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.file.StandardFile;
import io.kvmirq.fake.posting.PostingMachine;
import io.kvmirq.fake.posting.Tracepoints;
import io.kvmirq.fake.vfio.DeviceFiles;
import io.kvmirq.fake.vfio.VfioHost;
import io.kvmirq.fake.x86.X86KvmFile;
import io.kvmirq.kernel.Kernel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A kernel with KVM for one process, in Java: descriptors, memory, {@code /dev/kvm} and its VMs. Thread-safe. It runs
 * one call at a time, in the order of arrival; a waiting call lets other calls run.
 *
 * <p>A method that takes a tape throws {@link io.kvmirq.recording.tapes.TapeException} if the file is not a tape, and an
 * IOException, or an UncheckedIOException of it, if the file cannot be read.
 */
public final class FakeKernel {
    private static final int STANDARD_FILES = 3;

    private final Profile profile;
    final FakeHost host;
    private final SystemCalls calls;
    private final FakeTime time;
    private final VfioHost vfio;
    /** The descriptors that a tape left open, by name. */
    private Map<String, Integer> descriptors = Map.of();

    /** Makes a kernel that uses the machine's clock. */
    public FakeKernel(Profile profile) {
        this(profile, false);
    }

    private FakeKernel(Profile profile, boolean virtualTime) {
        this.profile = profile;
        this.host =
                new FakeHost(Objects.requireNonNull(profile, "profile is null").build(), virtualTime);
        this.calls = new SystemCalls(host, this::open, this::hostFiles);
        this.time = host.time();
        this.vfio = new VfioHost(host);
        for (int i = 0; i < STANDARD_FILES; i++) {
            host.install(new StandardFile(host));
        }
    }

    int open(String path) {
        if (path.equals("/dev/kvm")) {
            return host.install(profile.isArm64() ? new ArmKvmFile(host) : new X86KvmFile(host));
        }
        return vfio.open(path);
    }

    /**
     * The files in which the host shows its kernel, its devices and its interrupt hardware: {@code proc/version},
     * {@code sys/bus/pci/devices}, {@code sys/class/iommu}. They are as the host was when this was called.
     */
    @NotPromised
    public HostFiles hostFiles() {
        return time.locked(() -> {
            DeviceFiles files = new DeviceFiles(host.build(), host.hardware().files());
            vfio.show(files);
            host.files().shownLimit().ifPresent(files::addFileLimit);
            return HostFiles.of(files.files(), files.links());
        });
    }

    /** Makes a kernel with a virtual clock: only {@link #pass} advances it and ends the timeout of a poll. */
    public static FakeKernel inVirtualTime(Profile profile) {
        return new FakeKernel(profile, true);
    }

    /** The system calls of the process, by descriptor. */
    Libc libc() {
        return calls;
    }

    /** This kernel for what a VMM opens on one. Opens no device. Each call gives another {@link Kernel} over the same files. */
    public Kernel open() {
        return Kernel.over(backend());
    }

    /** The calls of this kernel, for {@link Kernel#over} with faults or a recorder between. */
    public KernelBackend backend() {
        return LibcBackend.over(calls, Backends.FAKE, profile.label());
    }

    /**
     * Makes a kernel and replays the calls on a tape, so a test can begin after a start-up that was recorded once.
     * Close the recorder before the recorded program closes its objects: then the tape leaves them open. A guest that
     * was running at the end of the tape is running.
     *
     * @param tape of {@code io.kvmirq.recording.Recorder}, {@code kvmirq selftest --record} or {@code kvmirq tape -o}
     * @throws IllegalArgumentException naming the first call that this kernel answers differently, or does not model; if the
     *     tape has no end, since its recorder was not closed
     */
    public static FakeKernel from(Path tape, Profile profile) {
        FakeKernel kernel = new FakeKernel(profile);
        try {
            kernel.addDevicesOf(tape);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        kernel.descriptors = StartUp.replayed(tape, kernel);
        return kernel;
    }

    /** Like {@link #from(Path, Profile)}, with {@link #profileOf}. */
    public static FakeKernel from(Path tape) {
        try {
            return from(tape, profileOf(tape));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * The profile on which a tape can be replayed, from its first line. A tape of a fake kernel names its profile. For
     * a tape of a real kernel it is the newest version that is not newer than the kernel, or 6.1 for an older kernel,
     * with {@code arm64} if the kernel is one, with {@code gicv2} if the tape's calls create a GICv2 or find 8 vCPUs at
     * most, and create no GICv3, and with {@code pvm} if a 6.18 has no more than 1024 vCPUs, or less than Debian builds
     * in. A file without such a line has 6.12.
     *
     * @throws IllegalArgumentException if a fake kernel recorded the tape and its profile is unknown here
     */
    public static Profile profileOf(Path tape) throws IOException {
        Objects.requireNonNull(tape, "tape is null");
        return StartUp.profile(tape);
    }

    /**
     * The descriptor of a file that the tape left open, by its name on the tape, such as {@code vm#1}. Another name is
     * an IllegalArgumentException, whose message lists the names.
     */
    public int descriptor(String name) {
        Objects.requireNonNull(name, "name is null");
        @Nullable Integer descriptor = descriptors.get(name);
        if (descriptor == null) {
            throw new IllegalArgumentException("the tape left no " + name + " open, but " + descriptors.keySet());
        }
        return descriptor;
    }

    // Conditions outside the calls

    /**
     * Advances the virtual clock; calls whose timeout is over return. IllegalStateException with the machine's clock.
     */
    public void pass(Duration passed) {
        time.changing(() -> time.pass(passed));
    }

    /**
     * Makes all later calls come from another process; false returns to the first process. Both processes have all
     * descriptors, as after fork or SCM_RIGHTS. Each gets EIO from VMs, vCPUs and devices that the other created.
     */
    public void callAsForeignProcess(boolean on) {
        time.changing(() -> host.files().setForeign(on));
    }

    /** Sets RLIMIT_NOFILE: a new descriptor of this number or above fails with EMFILE. */
    public void limitDescriptors(int limit) {
        if (limit < 0) {
            throw new IllegalArgumentException("a limit of " + limit + " descriptors: expected 0 or more");
        }
        time.changing(() -> host.files().limit(limit));
    }

    /**
     * Sets RLIMIT_MEMLOCK: mappings for DMA that pin more bytes together fail with ENOMEM. Until then the process has
     * CAP_IPC_LOCK. Mappings that exist stay.
     */
    public void limitLockedMemory(long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("a limit of " + bytes + " bytes: expected 0 or more");
        }
        time.changing(() -> vfio.limitLockedMemory(bytes));
    }

    /**
     * Suspends the kernel's workers until {@link #runWorkers}. An irqfd whose eventfd was closed stays, and an
     * interrupt through a pin is not injected. A call that waits for the workers (a deassign, the end of the VM) does
     * their work. The workers of a real kernel may be as late.
     */
    public void holdWorkers() {
        time.changing(() -> host.work().hold());
    }

    /** Runs all suspended work. Later work is done immediately. */
    public void runWorkers() {
        time.changing(host.work()::run);
    }

    // Devices

    /**
     * Starts to add a PCI device to the host, which then has /dev/vfio/vfio and /dev/vfio/GROUP. A host without a PCI
     * device has neither.
     *
     * @param address such as {@code 0000:00:02.0}
     * @param group the number of its IOMMU group
     * @throws IllegalArgumentException if {@code address} is not the address of a PCI function, or {@code group} is negative
     */
    public FakePciDevice.Builder pciDevice(String address, int group) {
        Objects.requireNonNull(address, "address is null");
        if (group < 0) {
            throw new IllegalArgumentException("IOMMU group " + group + " is not possible: expected 0 or more");
        }
        return new FakePciDevice.Builder(this, PciAddress.parse(address), group);
    }

    /**
     * Adds the PCI devices that a tape's program opened through VFIO. The tape tells how many interrupts they have at
     * least.
     *
     * @throws IllegalArgumentException if this kernel has such a device already
     */
    public void addDevicesOf(Path tape) throws IOException {
        Objects.requireNonNull(tape, "tape is null");
        TapedDevices.add(tape, this);
    }

    /**
     * Starts to add a platform device to the host, bound to vfio-platform.
     *
     * @param name in sysfs, such as {@code fff51000.ethernet}
     * @param group the number of its IOMMU group
     */
    public FakePlatformDevice.Builder platformDevice(String name, int group) {
        Objects.requireNonNull(name, "name is null");
        return new FakePlatformDevice.Builder(this, name, group);
    }

    /**
     * Sets how many interrupt vectors MSI and MSI-X may still allocate on the host. If there are too few, a real kernel
     * enables nothing and says how many there are.
     */
    public void limitVectors(int free) {
        if (free < 0) {
            throw new IllegalArgumentException("a limit of " + free + " vectors: expected 0 or more");
        }
        time.changing(() -> vfio.limitVectors(free));
    }

    /**
     * Sets the module parameter {@code nointxmask} of vfio-pci. With it VFIO masks INTx at the interrupt controller,
     * also of devices that have DisINTx, and each device needs its line for itself. It is off unless set.
     *
     * @throws IllegalStateException if this kernel has a PCI device at vfio-pci already
     */
    public void setNointxmask(boolean on) {
        time.changing(() -> vfio.setNointxmask(on));
    }

    /**
     * A vCPU of an arm64 VM, by the VM's descriptor, whose VGIC is initialized; IllegalArgumentException if there is
     * none.
     */
    public FakeArmVcpu armVcpu(int vm, VcpuId id) {
        Objects.requireNonNull(id, "id is null");
        return time.locked(() -> {
            Optional<ArmGuest> guest =
                    host.file(vm) instanceof ArmVmFile file ? file.guest(id.number()) : Optional.empty();
            return new FakeArmVcpu(
                    time,
                    guest.orElseThrow(() -> new IllegalArgumentException("descriptor " + vm + " is no arm64 VM with "
                            + id + " and a VGIC: create the vCPU, then initialize the VGIC")));
        });
    }

    /**
     * A vCPU that plays exits, so that a test of a VMM needs no code of a guest. From the first call on, the vCPUs with
     * this id play and run no code, whichever VM has them and also if it makes them later; they share the exits.
     *
     * @param id as in KVM_CREATE_VCPU
     */
    public ScriptedVcpu vcpu(int id) {
        Script script = time.locked(() -> host.scripts().computeIfAbsent(id, any -> new Script()));
        return new ScriptedVcpu(time, new VcpuId(id), profile.isArm64(), script);
    }

    /**
     * The vCPUs that have a LAPIC in the kernel, in the order of their creation, if the profile names the interrupt
     * hardware of an x86 host, such as {@code vtd-posting}. Empty in other profiles.
     */
    public List<FakeVcpu> vcpus() {
        return time.locked(() -> host.hardware() instanceof PostingMachine machine
                ? machine.vcpus().stream().map(vcpu -> new FakeVcpu(time, vcpu)).toList()
                : List.of());
    }

    /**
     * A buffer for the tracepoints that the threads of vCPUs and calls pass, without events yet. Profiles without {@link
     * #vcpus} pass none, because they model no processors.
     */
    public FakeTracing tracing() {
        return new FakeTracing(
                time,
                time.locked(() -> host.hardware() instanceof PostingMachine machine
                        ? Optional.of(machine.tracepoints())
                        : Optional.<Tracepoints>empty()));
    }

    /**
     * Deliveries per vector to the vCPUs with this id, over all VMs. Each message that a LAPIC accepted or hardware
     * posted counts once, even if the vector was already requested and the guest takes both as one interrupt. Empty on
     * arm64, which has no vectors.
     *
     * @param vcpu the id of the vCPUs
     */
    public Map<InterruptVector, Integer> received(VcpuId vcpu) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        int id = vcpu.number();
        Map<InterruptVector, Integer> received = new LinkedHashMap<>();
        time.locked(() -> host.ledger().received(id))
                .forEach((vector, count) -> received.put(new InterruptVector(vector), count));
        return received;
    }

    /**
     * The interrupts that reached no vCPU and that nothing holds, in a sentence each: of a GSI without a route, of a
     * message for no LAPIC, of a device that could not send. The sentence of a message names its source, its last place
     * and the call by which it was lost. At most 64 of messages, and 64 of others. {@link #messages} counts the messages.
     *
     * <p>Also the messages that the program has read from the eventfd of an irqfd and neither sent nor signalled again,
     * although the eventfd of their vector has an irqfd now. They still wait in the program: ask at rest. While there is no
     * irqfd, the program may keep a message for a guest that masks its vector, and only {@link FakeMessages#waiting} has it.
     */
    public List<String> lost() {
        return time.locked(() -> host.ledger().lost());
    }

    /** The ledger of messages. */
    public FakeMessages messages() {
        return new FakeMessages(time, host.ledger());
    }

    /** The open descriptors of the process, without standard input, output and error, each with its kind of file. */
    public Map<Integer, String> openDescriptors() {
        return time.locked(() -> host.files().open(STANDARD_FILES));
    }

    FakeTime time() {
        return time;
    }

    VfioHost vfio() {
        return vfio;
    }

    /** The number of calls that wait for a change. */
    public int waiting() {
        return time.locked(() -> time.waiting());
    }

    /** The rules that determined the answers so far, by name, as {@code kvmirq errno} shows them. */
    public Set<String> rulesUsed() {
        return time.locked(() -> host.rules().used().stream().map(Answer::name).collect(Collectors.toSet()));
    }

    List<Refusal> refusals() {
        return time.locked(() -> host.rules().refused());
    }

    Profile profile() {
        return profile;
    }

    @Override
    public String toString() {
        return "fake kernel " + profile.label();
    }
}
