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
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * A Linux kernel with KVM, simulated in Java for one process, including the process's descriptors and memory, {@code
 * /dev/kvm} and VMs. Calls run one at a time, in the order of arrival, but a blocked call does not hold up others.
 * Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="kernel"}
 */
public final class FakeKernel {
    private static final int STANDARD_FILES = 3;

    private final Profile profile;
    final FakeHost host;
    private final SystemCalls calls;
    private final FakeTime time;
    private final VfioHost vfio;

    /** Creates a kernel whose timeouts use this machine's clock. */
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
     * Returns a copy of the fake host's files about its kernel, devices and interrupt hardware, such as {@code
     * proc/version}, {@code sys/bus/pci/devices} and {@code sys/class/iommu}.
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

    /** Creates a kernel with a virtual clock. Only {@link #pass} advances it, so only {@code pass} ends a timeout. */
    public static FakeKernel inVirtualTime(Profile profile) {
        return new FakeKernel(profile, true);
    }

    /** The process's system calls. */
    Libc libc() {
        return calls;
    }

    /** Creates a {@link Kernel} for a VMM. All Kernel objects of one fake share its open files. Opens no device. */
    public Kernel open() {
        return Kernel.over(backend());
    }

    /** Returns the backend of this fake, for example to pass it through {@link Faults} to {@link Kernel#over}. */
    public KernelBackend backend() {
        return LibcBackend.over(calls, Backends.FAKE, profile.label());
    }

    // Conditions outside the calls

    /**
     * Advances the virtual clock, so that blocked calls time out. Throws IllegalStateException if this kernel uses the
     * machine's clock.
     */
    public void pass(Duration passed) {
        time.changing(() -> time.pass(passed));
    }

    /**
     * If {@code on}, all following calls come from a second process, otherwise from the first process again. Both
     * processes have all descriptors, as after fork or SCM_RIGHTS. Ioctls on VMs, vCPUs and KVM devices that the other
     * process created fail with EIO.
     */
    public void callAsForeignProcess(boolean on) {
        time.changing(() -> host.files().setForeign(on));
    }

    /** Sets RLIMIT_NOFILE. A call that needs a descriptor number of {@code limit} or above fails with EMFILE. */
    public void limitDescriptors(int limit) {
        if (limit < 0) {
            throw new IllegalArgumentException("a limit of " + limit + " descriptors: expected 0 or more");
        }
        time.changing(() -> host.files().limit(limit));
    }

    /**
     * Sets RLIMIT_MEMLOCK. A DMA mapping fails with ENOMEM if all mappings together would pin more bytes. By default
     * there is no limit, as with CAP_IPC_LOCK. Existing mappings stay.
     */
    public void limitLockedMemory(long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("a limit of " + bytes + " bytes: expected 0 or more");
        }
        time.changing(() -> vfio.limitLockedMemory(bytes));
    }

    /**
     * Suspends the kernel's worker threads until {@link #runWorkers}. Until then, an irqfd stays assigned after its
     * eventfd is closed, and no interrupt is injected through a pin. A call that must wait for the workers, such as an
     * irqfd deassign or the VM's release, does their work itself. On a real kernel, workers can be late, too.
     */
    public void holdWorkers() {
        time.changing(() -> host.work().hold());
    }

    /** Does all work of the suspended workers, and ends {@link #holdWorkers}. */
    public void runWorkers() {
        time.changing(host.work()::run);
    }

    // Devices

    /**
     * Returns a builder that adds a PCI device to the host. The first device also adds /dev/vfio/vfio and
     * /dev/vfio/GROUP.
     *
     * @param address the device's PCI address, such as {@code 0000:00:02.0}
     * @param group the number of the device's IOMMU group
     * @throws IllegalArgumentException if {@code address} is not a PCI address, or {@code group} is negative
     */
    public FakePciDevice.Builder pciDevice(String address, int group) {
        Objects.requireNonNull(address, "address is null");
        if (group < 0) {
            throw new IllegalArgumentException("IOMMU group " + group + " is invalid: expected 0 or more");
        }
        return new FakePciDevice.Builder(this, PciAddress.parse(address), group);
    }

    /**
     * Returns a builder that adds a platform device to the host, bound to vfio-platform.
     *
     * @param name the device's name in sysfs, such as {@code fff51000.ethernet}
     * @param group the number of the device's IOMMU group
     */
    public FakePlatformDevice.Builder platformDevice(String name, int group) {
        Objects.requireNonNull(name, "name is null");
        return new FakePlatformDevice.Builder(this, name, group);
    }

    /**
     * Sets the number of interrupt vectors that MSI and MSI-X can still allocate on the host. If a device needs more
     * vectors, VFIO enables none and returns the number of available vectors, like a real kernel.
     */
    public void limitVectors(int free) {
        if (free < 0) {
            throw new IllegalArgumentException("a limit of " + free + " vectors: expected 0 or more");
        }
        time.changing(() -> vfio.limitVectors(free));
    }

    /**
     * Sets the module parameter {@code nointxmask} of vfio-pci. If {@code on}, VFIO masks INTx at the interrupt
     * controller even if the device has DisINTx, and devices cannot share a line. The default is off.
     *
     * @throws IllegalStateException if a PCI device is bound to vfio-pci already
     */
    public void setNointxmask(boolean on) {
        time.changing(() -> vfio.setNointxmask(on));
    }

    /**
     * Returns a vCPU of the arm64 VM with descriptor {@code vm}. Throws IllegalArgumentException if the vCPU does not
     * exist, or the VGIC is not initialized.
     */
    public FakeArmVcpu armVcpu(int vm, VcpuId id) {
        Objects.requireNonNull(id, "id is null");
        return time.locked(() -> {
            Optional<ArmGuest> guest =
                    host.file(vm) instanceof ArmVmFile file ? file.guest(id.number()) : Optional.empty();
            return new FakeArmVcpu(
                    time,
                    guest.orElseThrow(
                            () -> new IllegalArgumentException("descriptor " + vm + " is not an arm64 VM with " + id
                                    + " and a VGIC: create the vCPU, then initialize the VGIC")));
        });
    }

    /**
     * Returns a vCPU whose exits the test scripts, so that a VMM's test needs no guest code. After the first call, all
     * present and future vCPUs with this id, in any VM, share these exits and run no code.
     *
     * @param id the vCPU's id, as in KVM_CREATE_VCPU
     */
    public ScriptedVcpu vcpu(int id) {
        Script script = time.locked(() -> host.scripts().computeIfAbsent(id, key -> new Script()));
        return new ScriptedVcpu(time, new VcpuId(id), profile.isArm64(), script);
    }

    /**
     * Returns the vCPUs with an in-kernel LAPIC, in the order of creation. Empty unless the profile names an x86 host's
     * interrupt hardware, such as {@code vtd-posting}.
     */
    public List<FakeVcpu> vcpus() {
        return time.locked(() -> host.hardware() instanceof PostingMachine machine
                ? machine.vcpus().stream().map(vcpu -> new FakeVcpu(time, vcpu)).toList()
                : List.of());
    }

    /**
     * Returns a new, empty trace buffer that can record events of vCPU threads and kernel calls. A profile for which
     * {@link #vcpus} is empty has no tracepoints, because it does not model processors.
     */
    public FakeTracing tracing() {
        return new FakeTracing(
                time,
                time.locked(() -> host.hardware() instanceof PostingMachine machine
                        ? Optional.of(machine.tracepoints())
                        : Optional.<Tracepoints>empty()));
    }

    /**
     * Returns how often each vector was delivered to the vCPUs with this id, over all VMs. Each message that a LAPIC
     * accepted or that hardware posted counts once, even if it merges with an earlier request of the vector. Empty on
     * arm64, which has no vectors.
     *
     * @param vcpu the id of the vCPUs
     */
    public Map<InterruptVector, Integer> received(VcpuId vcpu) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        int id = vcpu.number();
        Map<InterruptVector, Integer> received = new LinkedHashMap<>();
        time.locked(() -> host.ledger().arrivals().of(id))
                .forEach((vector, count) -> received.put(new InterruptVector(vector), count));
        return received;
    }

    /** Returns the ids of all vCPUs ever created, including those of closed VMs, in ascending order. */
    @NotPromised
    public List<VcpuId> vcpuIds() {
        return time.locked(
                () -> host.ledger().arrivals().vcpus().mapToObj(VcpuId::new).toList());
    }

    /** Returns how often a vector was delivered to each vCPU that got it, over all VMs, as {@link #received} counts. */
    public Map<VcpuId, Integer> receivers(InterruptVector vector) {
        int number = Objects.requireNonNull(vector, "vector is null").number();
        Map<VcpuId, Integer> receivers = new LinkedHashMap<>();
        time.locked(() -> host.ledger().arrivals().receivers(number))
                .forEach((vcpu, count) -> receivers.put(new VcpuId(vcpu), count));
        return receivers;
    }

    /**
     * Records the name of the current call for each later delivery. The supplier {@code call} returns this name. It
     * runs in the calling thread, under the kernel's lock, and must neither call a kernel nor throw.
     */
    public void traceCalls(Supplier<String> call) {
        time.locked(() -> {
            host.ledger().arrivals().setCaller(call);
            return true;
        });
    }

    /** Returns the calls that delivered a vector to a vCPU. Empty without {@link #traceCalls}. */
    public Set<String> calls(VcpuId vcpu, InterruptVector vector) {
        int number = Objects.requireNonNull(vector, "vector is null").number();
        return time.locked(() -> host.ledger().arrivals().calls(vcpu.number(), number));
    }

    /**
     * Returns a sentence for each lost interrupt, which reached no vCPU and is not pending. An interrupt is lost if its
     * GSI has no route, if no LAPIC accepts its message, or if the device could not send it. The sentence about a
     * message names its source, the last place where it was pending, and the call that lost it. The list contains at
     * most 64 messages and 64 other interrupts. {@link #messages} counts all messages.
     *
     * <p>A message also counts as lost if the program read it from an eventfd that has an irqfd now, and did not pass
     * it on with KVM_SIGNAL_MSI or a signal. A program that is still handling messages may yet deliver it, so call this
     * method when the program is idle. While the eventfd has no irqfd, because the guest masks the vector, only {@link
     * FakeMessages#waiting} lists the message.
     */
    public List<String> lost() {
        return time.locked(() -> host.ledger().lost()).stream()
                .map(Supplier::get)
                .toList();
    }

    /** Returns the ledger, which records the path of each message from its source to a vCPU. */
    public FakeMessages messages() {
        return new FakeMessages(time, host.ledger());
    }

    /** Returns each open descriptor's kind of file, except for standard input, output and error. */
    public Map<Integer, String> openDescriptors() {
        return time.locked(() -> host.files().open(STANDARD_FILES));
    }

    FakeTime time() {
        return time;
    }

    VfioHost vfio() {
        return vfio;
    }

    /** Returns the number of calls that are currently blocked in this kernel. */
    public int waiting() {
        return time.locked(() -> time.waiting());
    }

    /** Returns the rules that have decided a call's result so far, by their names in {@code kvmirq errno}. */
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
