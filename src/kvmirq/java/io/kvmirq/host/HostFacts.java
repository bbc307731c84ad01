/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.backend.HostFiles;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The facts of a host's kernel, IOMMUs, PCI devices and VMs, as its files show them at one moment: each file is read
 * once, and an object does for one command. Thread-safe.
 *
 * <p>Source: Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups and sysfs-class-iommu in Linux.
 */
public final class HostFacts {
    private static final String DEBUGFS = "sys/kernel/debug/";
    private static final String VERSION = "Linux version ";

    private static final String NOINTXMASK = "sys/module/vfio_pci/parameters/nointxmask";
    /** register_irq_proc() in kernel/irq/proc.c; each other name is a handler. */
    private static final Set<String> IRQ_FILES = Set.of(
            "affinity_hint",
            "effective_affinity",
            "effective_affinity_list",
            "node",
            "smp_affinity",
            "smp_affinity_list",
            "spurious");

    private static final String GICV4_PARAMETER = "kvm_arm.vgic_v4_enable";

    /** Parsed once; empty if they cannot be read. */
    private record Interrupts(Optional<HostInterrupts> all) {}

    private record Processor(Optional<Vendor> vendor, boolean isArm) {}

    private final ReadOnce tree;
    private final PciFunctions pci;
    private final HostKvm kvm;
    private volatile @Nullable Processor processor;
    private volatile @Nullable Boolean arm;
    private volatile @Nullable RemappingEntries remapping;
    private volatile @Nullable Interrupts interrupts;
    private volatile @Nullable OpenFiles descriptors;
    private volatile @Nullable VmProcesses vms;
    private volatile @Nullable PostingFacts posting;

    /** Takes the files of a host. */
    public HostFacts(HostFiles tree) {
        Objects.requireNonNull(tree, "tree is null");
        this.tree = new ReadOnce(tree);
        this.pci = new PciFunctions(this.tree);
        this.kvm = new HostKvm(this, this.tree);
    }

    /** The files themselves. Each is read once, as for the facts. */
    public HostFiles files() {
        return tree;
    }

    /** The release of the kernel, such as {@code 6.1.0-56-amd64}. */
    public Optional<String> kernel() {
        Optional<String> release = tree.text("proc/sys/kernel/osrelease");
        if (release.isPresent()) {
            return release;
        }
        String version = tree.text("proc/version").orElse("");
        int end = version.indexOf(' ', VERSION.length());
        end = end < 0 ? version.length() : end;
        return version.startsWith(VERSION) && end > VERSION.length()
                ? Optional.of(version.substring(VERSION.length(), end))
                : Optional.empty();
    }

    /** The version of the kernel. */
    Optional<LinuxVersion> version() {
        Optional<String> release = kernel();
        return release.isPresent() ? LinuxVersion.of(release.get()) : Optional.empty();
    }

    /** Whether the kernel is of a version or newer. Empty if its version is not known. */
    public Optional<Boolean> isSince(int major, int minor) {
        Optional<LinuxVersion> version = version();
        return version.isPresent() ? Optional.of(version.get().isSince(major, minor)) : Optional.empty();
    }

    /** The names of the IOMMUs: {@code dmar0} for VT-d, {@code ivhd0} for AMD, {@code smmu3.…} for ARM. */
    public List<String> iommus() {
        return tree.list("sys/class/iommu");
    }

    /**
     * The host irqs. Empty if {@code /proc/interrupts} cannot be read, or has no row.
     *
     * @throws UncheckedIOException if it has no end
     */
    public Optional<HostInterrupts> interrupts() {
        Interrupts before = interrupts;
        if (before == null) {
            before = new Interrupts(readInterrupts());
            interrupts = before;
        }
        return before.all();
    }

    /** Piece by piece: of 1024 CPUs it has 46 MB. */
    private Optional<HostInterrupts> readInterrupts() {
        Optional<InputStream> file = tree.open("proc/interrupts");
        if (file.isEmpty()) {
            return Optional.empty();
        }
        try (InputStream in = file.get()) {
            return Optional.of(HostInterrupts.read(in));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /**
     * The facts of an x86 host that decide posting. Empty if one of them cannot be read: {@link #unreadableOfPosting}
     * says which.
     */
    public Optional<PostingHost> posting() {
        return postingFacts().host();
    }

    /** The vendor of an x86 processor that posts. Empty if {@code /proc/cpuinfo} names none. */
    public Optional<Vendor> vendor() {
        return processor().vendor();
    }

    /** Whether the host is an arm64 machine, judged by its processor or its interrupt controller. */
    public boolean isArm() {
        Boolean known = arm;
        if (known == null) {
            Optional<HostInterrupts> all = interrupts();
            known = all.isPresent() && (all.get().hasChip("GIC") || all.get().hasChip("ITS"))
                    || processor().isArm();
            arm = known;
        }
        return known;
    }

    /** The file has an entry for each CPU. */
    private Processor processor() {
        Processor before = processor;
        if (before == null) {
            String text = tree.text("proc/cpuinfo").orElse("");
            // c_show() in arch/arm64/kernel/cpuinfo.c
            before = new Processor(PostingFacts.vendor(text), text.contains("CPU implementer"));
            processor = before;
        }
        return before;
    }

    /**
     * The obstacle of {@link #posting}, as a sentence without a full stop that names the units which cannot post. Empty if
     * there is none, or it is not known.
     */
    public Optional<String> flawOfPosting() {
        return postingFacts().flaw();
    }

    /** Why {@link #posting} is empty, a sentence for each fact that cannot be read. Empty if all can be. */
    public List<String> unreadableOfPosting() {
        PostingFacts facts = postingFacts();
        return facts.host().isPresent() ? List.of() : facts.unreadable();
    }

    private PostingFacts postingFacts() {
        PostingFacts before = posting;
        if (before == null) {
            before = PostingFacts.of(this, tree);
            posting = before;
        }
        return before;
    }

    /** KVM, as modules, parameters and its file show it. */
    public HostKvm kvm() {
        return kvm;
    }

    /** The limits that an interrupt path meets. */
    public HostLimits limits() {
        return new HostLimits(tree);
    }

    /** The host's restrictions on io_uring. */
    public HostIoUring ioUring() {
        return new HostIoUring(tree);
    }

    /** Whether an x86 host is itself a VM. */
    boolean isVirtual() {
        return kvm().hasFlag("hypervisor");
    }

    /** The way in which KVM of this kernel version posts with AVIC. Empty if the version is not known. */
    public Optional<AvicKernel> avicKernel() {
        return isSince(6, 17).map(since -> since ? AvicKernel.FROM_6_17 : AvicKernel.UP_TO_6_16);
    }

    /**
     * The way in which KVM on arm64 finds the LPI of a host irq. Empty if the version is not known. A stable kernel may
     * use the way of a later version.
     */
    public Optional<VlpiKernel> vlpiKernel() {
        return isSince(6, 16).map(since -> since ? VlpiKernel.BY_HOST_IRQ : VlpiKernel.BY_ROUTE);
    }

    /**
     * Whether KVM on arm64 uses GICv4. The doorbell of a vPE in {@code /proc/interrupts} proves it; such rows exist
     * only while a VM does. KVM does not use GICv4 if kvm-arm.vgic_v4_enable is not set on the kernel's command line,
     * or if no interrupt goes through a GICv3. Empty if the parameter is set and no VM shows a vPE: the hardware may
     * have no GICv4.
     */
    public Optional<Boolean> gicv4() {
        Optional<HostInterrupts> interrupts = interrupts();
        if (interrupts.filter(all -> all.hasChip("GICv4")).isPresent()) {
            return Optional.of(true);
        }
        boolean none = interrupts.filter(all -> !all.hasChip("GICv3")).isPresent();
        boolean asked = tree.text("proc/cmdline").map(HostFacts::asksForGicv4).orElse(true);
        return none || !asked ? Optional.of(false) : Optional.empty();
    }

    /** As {@code kstrtobool()} reads the first letters. */
    private static boolean isTrue(String text) {
        return !text.isEmpty() && "yYtT1".indexOf(text.charAt(0)) >= 0 || text.regionMatches(true, 0, "on", 0, 2);
    }

    private static boolean asksForGicv4(String commandLine) {
        return PciFunctions.words(Optional.of(commandLine)).stream()
                .map(word -> word.replace("\"", ""))
                .filter(word -> word.indexOf('=') > 0 && isParameter(word, GICV4_PARAMETER))
                .reduce((first, last) -> last)
                .filter(word -> isTrue(word.substring(word.indexOf('=') + 1)))
                .isPresent();
    }

    /** A dash and an underline in the name of a parameter are the same ({@code parameq()} in kernel/params.c). */
    private static boolean isParameter(String word, String name) {
        return word.substring(0, word.indexOf('=')).replace('-', '_').equals(name);
    }

    /** The number of IOMMU groups. */
    public int groups() {
        return tree.list("sys/kernel/iommu_groups").size();
    }

    /** The PCI functions that a driver of VFIO is bound to, in order. */
    public List<PciAddress> boundToVfio() {
        return pci.boundToVfio();
    }

    /** Whether the driver vfio-pci is loaded. True if the tree does not show the drivers. */
    public boolean hasVfioPci() {
        List<String> drivers = tree.list("sys/bus/pci/drivers");
        return drivers.isEmpty() || drivers.contains("vfio-pci");
    }

    /** Whether the user allowed VFIO to work without interrupt remapping, in its containers or in iommufd. */
    public boolean allowsUnsafeInterrupts() {
        return tree.text("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
                        .orElse("")
                        .equals("Y")
                || tree.text("sys/module/iommufd/parameters/allow_unsafe_interrupts")
                        .orElse("")
                        .equals("Y");
    }

    /** The module parameter nointxmask of vfio-pci: with it, vfio-pci requests each INTx line exclusively. */
    public Fact<Boolean> nointxmask() {
        Optional<String> text = tree.text(NOINTXMASK);
        if (text.filter(value -> value.equals("Y") || value.equals("N")).isPresent()) {
            return new Fact.Known<>(text.get().equals("Y"));
        }
        if (text.isPresent()) {
            return new Fact.Unknown<>("/" + NOINTXMASK + " is neither Y nor N", "none");
        }
        return tree.reading(NOINTXMASK) == HostFiles.Reading.DENIED
                ? new Fact.Unknown<>("/" + NOINTXMASK + " may not be read by this user", "run as root")
                : new Fact.Unknown<>("/" + NOINTXMASK + " does not exist", "modprobe vfio-pci");
    }

    /** The names of the handlers of a host irq. {@code /proc/irq} shows each name once. */
    Fact<List<String>> handlers(HostIrq irq) {
        Optional<HostInterrupts> all = interrupts();
        if (all.isPresent()) {
            return new Fact.Known<>(all.get().handlers(irq));
        }
        List<String> names = tree.list("proc/irq/" + irq.number());
        return names.isEmpty()
                ? new Fact.Unknown<>(
                        "neither /proc/interrupts nor /proc/irq/" + irq.number() + " can be read", "run as root")
                : new Fact.Known<>(
                        names.stream().filter(name -> !IRQ_FILES.contains(name)).toList());
    }

    /** The access of this process to a file in {@code /dev/vfio}. Empty if the tree has no {@code /dev}. */
    public Optional<HostFiles.Access> access(String vfioFile) {
        Objects.requireNonNull(vfioFile, "vfioFile is null");
        return tree.list("dev").isEmpty() ? Optional.empty() : Optional.of(tree.access("dev/vfio/" + vfioFile));
    }

    /**
     * The processes that have a device open through VFIO, by number and name. Root sees all of them, other users see
     * their own.
     */
    public List<String> users(PciDevice device) {
        List<String> users = new ArrayList<>();
        for (int pid : descriptors().holders(device)) {
            String comm = tree.text("proc/" + pid + "/comm").orElse("");
            users.add(comm.isEmpty() ? String.valueOf(pid) : pid + " (" + comm + ")");
        }
        return users;
    }

    /**
     * The eventfds that the processes with a device have in common with processes that hold a VM: their eventfd-id, which
     * is one number for the whole host, by the process with the VM.
     */
    public Map<VmProcess, SortedSet<Integer>> sharedEventfds(PciDevice device) {
        Set<Integer> ids = new HashSet<>();
        for (int pid : descriptors().holders(device)) {
            ids.addAll(VmProcesses.eventfdIds(
                    tree, pid, descriptors().targets().getOrDefault(pid, Collections.emptySortedMap())));
        }
        Map<VmProcess, SortedSet<Integer>> shared = new LinkedHashMap<>();
        for (VmProcess vm : vms().all()) {
            SortedSet<Integer> common = new TreeSet<>();
            for (VmProcess.EventfdFile one : vm.eventfds()) {
                if (one.id().isPresent() && ids.contains(one.id().getAsInt())) {
                    common.add(one.id().getAsInt());
                }
            }
            if (!common.isEmpty()) {
                shared.put(vm, common);
            }
        }
        return shared;
    }

    private OpenFiles descriptors() {
        OpenFiles before = descriptors;
        if (before == null) {
            before = OpenFiles.of(tree);
            descriptors = before;
        }
        return before;
    }

    /** The processes that hold VMs. */
    public VmProcesses vms() {
        VmProcesses before = vms;
        if (before == null) {
            OpenFiles open = descriptors();
            // Most hosts that are looked at for the first time have none, and its reader takes long to load.
            before = open.hasVm() ? readVms(open) : new VmProcesses(List.of(), open.unreadable());
            vms = before;
        }
        return before;
    }

    private VmProcesses readVms(OpenFiles open) {
        return VmProcesses.of(tree, open, pci.cdevs(), address -> interrupts()
                .filter(all -> !all.armed(address).isEmpty())
                .isPresent());
    }

    /** The PCI functions that have a file of their own in {@code /dev/vfio/devices}, by its name, such as {@code vfio0}. */
    public Map<String, PciAddress> cdevs() {
        return pci.cdevs();
    }

    /**
     * The text of a file of debugfs, which only root reads.
     *
     * @param path below its mount point, such as {@code iommu/intel/ir_translation_struct}
     * @param needs what makes the file exist, if debugfs is there and the file is not
     */
    public Fact<String> debugfs(String path, String needs) {
        Objects.requireNonNull(path, "path is null");
        Objects.requireNonNull(needs, "needs is null");
        Optional<String> text = tree.text(DEBUGFS + path);
        if (text.isPresent()) {
            return new Fact.Known<>(text.get());
        }
        if (tree.reading(DEBUGFS.substring(0, DEBUGFS.length() - 1)) == HostFiles.Reading.DENIED
                || tree.reading(DEBUGFS + path) == HostFiles.Reading.DENIED) {
            return new Fact.Unknown<>("/" + DEBUGFS + path + " may not be read by this user", "run as root");
        }
        if (tree.bytes(DEBUGFS + path, HostFiles.LONGEST_TEXT + 1).isPresent()) {
            return new Fact.Unknown<>(
                    "/" + DEBUGFS + path + " is longer than " + (HostFiles.LONGEST_TEXT >> 20) + " MiB and is not read",
                    "none");
        }
        return tree.list(DEBUGFS).isEmpty()
                ? new Fact.Unknown<>("debugfs is not there", "mount -t debugfs none /sys/kernel/debug, and " + needs)
                : new Fact.Unknown<>("/" + DEBUGFS + path + " does not exist", needs);
    }

    /** The names in a directory of debugfs. Empty if it cannot be read. */
    public List<String> debugfsNames(String path) {
        Objects.requireNonNull(path, "path is null");
        return tree.list(DEBUGFS + path);
    }

    /** The tracing instances that killed runs of kvmirq left: their directories. */
    public Fact<List<String>> leftTracing() {
        return TracingInstances.left(tree);
    }

    /** The host's own uses of a device: file systems on it and networks that are up, one sentence for each. */
    public List<String> uses(PciAddress device) {
        Objects.requireNonNull(device, "device is null");
        return new DeviceUses(tree, device).all();
    }

    /** The threads of a process. Empty if they cannot be read. */
    public List<String> threads(int pid) {
        return tree.list("proc/" + pid + "/task");
    }

    /** The addresses of all PCI functions, in order. */
    public List<PciAddress> pciAddresses() {
        return pci.addresses();
    }

    /** A PCI function. Empty if the host has none with this address. */
    public Optional<PciDevice> pci(PciAddress address) {
        Objects.requireNonNull(address, "address is null");
        return pci.of(address);
    }

    /** The vector of a device that has a host irq. Empty if sysfs does not show it. */
    public OptionalInt vector(HostIrq irq, PciAddress device) {
        Objects.requireNonNull(device, "device is null");
        return pci.vector(irq, device);
    }

    /** The IOMMU that serves a PCI function, such as {@code dmar0}. Empty if sysfs does not show it. */
    Optional<String> iommu(PciAddress device) {
        return pci.iommu(device);
    }

    /** The entries of interrupt remapping. */
    public RemappingEntries remapping() {
        RemappingEntries before = remapping;
        if (before == null) {
            before = new RemappingEntries(this);
            remapping = before;
        }
        return before;
    }
}
