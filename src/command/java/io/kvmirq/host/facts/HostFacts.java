/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.KernelChange;
import io.kvmirq.host.PostingFacts;
import io.kvmirq.path.Known;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The facts of a host's kernel, IOMMUs, PCI devices and VMs, as its files show them at one moment: each file is read
 * once. Use one object for each command. Thread-safe.
 *
 * <p>Source: Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups and sysfs-class-iommu in Linux.
 */
public final class HostFacts {
    private static final String DEBUGFS = "sys/kernel/debug/";
    private static final String IOMMUS = "sys/class/iommu";
    private static final String GROUPS = "sys/kernel/iommu_groups";
    private static final String MDEVS = "sys/bus/mdev/devices";
    private static final String VDPAS = "sys/bus/vdpa/devices";
    private static final String VFIO_DEVICE = "anon_inode:[vfio-device]";
    /** Options of QEMU and Cloud Hypervisor by which another process serves a device. */
    private static final Pattern SERVED = Pattern.compile("(?:vhost|vfio)[-_]user|^--(?:fs|user-device)$");

    /** USER_HZ. */
    private static final double TICKS = 100;

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

    /** The end of {@code /proc/version} of Debian. */
    private static final Pattern DEBIAN = Pattern.compile(" Debian (\\d{1,4}\\.\\d{1,4}(?:\\.\\d{1,4})?)-\\d");

    private final HostFiles source;
    private final ReadOnce tree;
    private final String chosen;
    private final Map<String, Object> counts = new ConcurrentHashMap<>();
    private final @Nullable Map<String, Object> before;
    private final PciFunctions pci;
    private final HostKvm kvm;
    private final PostingFacts posting;
    private final Map<Object, Object> computed = new ConcurrentHashMap<>();
    private volatile @Nullable RemappingEntries remapping;
    private volatile @Nullable OpenFiles descriptors;
    private volatile @Nullable VmProcesses vms;

    /** Takes the files of this machine. */
    public HostFacts(HostFiles tree) {
        this(tree, "");
    }

    /**
     * Takes the files of a host.
     *
     * @param chosen the options of a command that chose it, such as {@code --fake 6.1}, each after a space
     */
    public HostFacts(HostFiles tree, String chosen) {
        this(tree, chosen, null);
    }

    private HostFacts(HostFiles tree, String chosen, @Nullable Map<String, Object> before) {
        this.source = tree;
        this.before = before;
        this.chosen = chosen;
        this.tree = new ReadOnce(tree);
        this.posting = new PostingFacts(this.tree);
        this.pci = new PciFunctions(this.tree, this::isArmed);
        this.kvm = new HostKvm(this, this.tree);
    }

    /** The same host, whose files are read again. */
    public HostFacts again() {
        return new HostFacts(source, chosen, counts);
    }

    /** Whether a count has changed since the look {@link #again before}; false without one. */
    public boolean hasChanged(String what, Object count) {
        counts.put(what, count);
        return before != null && !count.equals(before.get(what));
    }

    /** A quoted command that looks at the same host. */
    public String command(String words) {
        return "'kvmirq " + words + chosen + "'";
    }

    /** The limits of what this process sees. */
    public Sight sight() {
        return once(Sight.class, () -> Sight.read(tree));
    }

    /** Why a process that holds a VM or a device may be hidden; empty if each is seen. */
    public Optional<Known.Unknown<Boolean>> hidesProcesses() {
        int unreadable = vms().unreadable();
        return sight().hidesProcesses()
                .or(() -> unreadable == 0
                        ? Optional.empty()
                        : Optional.of(new Known.Unknown<>(
                                Known.Reason.HIDDEN,
                                "the files of " + unreadable + (unreadable == 1 ? " process" : " processes")
                                        + (sight().seesEveryUser() ? " are denied to root" : " cannot be read"),
                                sight().toSeeProcesses())));
    }

    /** The files themselves. Each is read once, as for the facts. */
    public HostFiles files() {
        return tree;
    }

    /** Whether the host posts interrupts, and the facts that decide it. */
    public PostingFacts posting() {
        return posting;
    }

    /** The release of the kernel, such as {@code 6.1.0-56-amd64}. */
    public Optional<String> kernel() {
        return posting.kernel();
    }

    /**
     * The release, but with Debian's kernels {@code 6.1.192-debian} for {@code 6.1.0-56-amd64}: the number of the stable
     * kernel that Debian built, which only {@code /proc/version} has.
     */
    public Optional<String> stable() {
        Matcher built = DEBIAN.matcher(tree.text("proc/version").orElse(""));
        return built.find() ? Optional.of(built.group(1) + "-debian") : kernel();
    }

    /** The id that the kernel chose when it was booted. */
    public Optional<String> bootId() {
        return tree.text("proc/sys/kernel/random/boot_id").map(String::strip);
    }

    /** Whether the kernel has a change. Empty if its version does not tell. */
    public Optional<Boolean> has(KernelChange change) {
        return stable().flatMap(change::isIn);
    }

    /** Whether the kernel is of a version or newer. Empty if its version is not known. */
    Optional<Boolean> isSince(int major, int minor) {
        return posting.isSince(major, minor);
    }

    /**
     * The host irqs. Empty if {@code /proc/interrupts} cannot be read, or has no row.
     *
     * @throws UncheckedIOException if it has no end
     */
    public Optional<HostInterrupts> interrupts() {
        return posting.interrupts();
    }

    /** The vectors that VFIO has armed; none if {@link #interrupts} is empty. */
    public List<ArmedVector> armed() {
        return interrupts().map(HostInterrupts::armed).orElse(List.of());
    }

    /** The vectors of a device that VFIO has armed. */
    public List<ArmedVector> armed(PciAddress device) {
        return interrupts().map(all -> all.armed(device)).orElse(List.of());
    }

    private boolean isArmed(PciAddress device) {
        return !armed(device).isEmpty();
    }

    /**
     * Whether a device is open: a process that is seen has it, or VFIO has armed interrupts of it, which it frees when the
     * device is closed.
     */
    public boolean isOpen(PciDevice device) {
        return isArmed(device.address()) || !holders(device).isEmpty();
    }

    /**
     * A fact that follows from files of this host, computed once because many interrupts ask for it.
     *
     * @param key the name of the value, always of one type
     */
    @SuppressWarnings("unchecked")
    public <T> T once(Object key, Supplier<T> value) {
        // Not computeIfAbsent, which refuses a fact that needs another one whose key is in the same bin.
        Object known = computed.get(key);
        if (known == null) {
            Object first = value.get();
            Object other = computed.putIfAbsent(key, first);
            known = other == null ? first : other;
        }
        return (T) known;
    }

    /** The seconds since the boot; empty if they are not shown. */
    public Optional<Double> uptime() {
        return tree.text("proc/uptime")
                .filter(text -> text.matches("\\d{1,10}\\.\\d{1,2}( .*)?"))
                .map(text -> Double.parseDouble(text.split(" ")[0]));
    }

    /** When the guest that has a device began, in seconds after the boot; 0 if no file shows it. */
    public double began(PciAddress device) {
        return once("began " + device, () -> vms().using(device).stream()
                .findFirst()
                .flatMap(vm -> tree.text("proc/" + vm.pid() + "/stat"))
                .flatMap(ThreadStat::parse)
                .map(stat -> stat.began() / TICKS)
                .orElse(0.0));
    }

    /** The names of the IOMMUs: {@code dmar0} for VT-d, {@code ivhd0} for AMD, {@code smmu3.…} for ARM. */
    public List<String> iommus() {
        return posting.iommus();
    }

    /** The IOMMUs; not known if their directory is refused, or is empty though other files show that one is in use. */
    public Known<List<String>> units() {
        if (!iommus().isEmpty()) {
            return new Known.Observed<>(iommus());
        }
        if (tree.reading(IOMMUS) == HostFiles.Reading.DENIED) {
            return sight().refused(IOMMUS);
        }
        return interrupts().filter(all -> all.hasChip("IR-")).isEmpty()
                ? new Known.Observed<>(List.of())
                : new Known.Unknown<>(
                        "/" + IOMMUS + " lists no IOMMU, but /proc/interrupts has IR-* chips of a remapping IOMMU",
                        "run kvmirq on the host itself, or take a new capture");
    }

    /** The IOMMU group of a device, or none; not known if files that would show it are refused, or contradict that. */
    public Known<Integer> group(PciDevice device) {
        String link = "sys/bus/pci/devices/" + device.address() + "/iommu_group";
        if (device.group().isPresent()) {
            return new Known.Observed<>(device.group().getAsInt());
        }
        for (String path : List.of(link, GROUPS)) {
            if (tree.reading(path) == HostFiles.Reading.DENIED) {
                return sight().refused(path);
            }
        }
        if (tree.access(link) == HostFiles.Access.ABSENT && !isOpen(device)) {
            return Known.none();
        }
        return new Known.Unknown<>(
                "no link shows the IOMMU group of " + device.address()
                        + (isOpen(device) ? ", which is open" : " (/" + link + " is not a link)"),
                "run kvmirq on the host itself, or take a new capture");
    }

    /** The address ranges above 4 GiB that the group of a device keeps from guests, the first ones. Below, VMMs know them. */
    public List<String> reserved(PciDevice device) {
        return device.group().stream()
                .mapToObj(group -> tree.text(GROUPS + "/" + group + "/reserved_regions"))
                .flatMap(text -> text.orElse("").lines())
                .filter(line -> line.matches("0x(?!0{8})[0-9a-f]{16} 0x[0-9a-f]{16} reserved"))
                .limit(4)
                .map(line -> line.substring(0, line.lastIndexOf(' ')).replace(" ", " to "))
                .toList();
    }

    /** How many IOMMU groups the host has; not known if they may not be listed, or a device has one that is not listed. */
    public Known<Integer> groupCount() {
        if (groups() == 0 && tree.reading(GROUPS) == HostFiles.Reading.DENIED) {
            return sight().refused(GROUPS);
        }
        return groups() > 0
                        || pciAddresses().stream().noneMatch(address -> pci(address)
                                .filter(device -> device.group().isPresent())
                                .isPresent())
                ? new Known.Observed<>(groups())
                : new Known.Unknown<>(
                        "/" + GROUPS + " lists no group, but devices have one",
                        "run kvmirq on the host itself, or take a new capture");
    }

    /** Whether the host is an arm64 machine, judged by its processor or its interrupt controller. */
    public boolean isArm() {
        return posting.isArm();
    }

    /** The facts of KVM: modules, parameters and {@code /dev/kvm}. */
    public HostKvm kvm() {
        return kvm;
    }

    /** The limits that an interrupt path meets. */
    public HostLimits limits() {
        return new HostLimits(tree);
    }

    /** Whether an x86 host is itself a VM. */
    public boolean isVirtual() {
        return kvm().hasFlag("hypervisor");
    }

    /** The number of IOMMU groups. */
    public int groups() {
        return tree.list("sys/kernel/iommu_groups").size();
    }

    /** The PCI functions that a driver of VFIO is bound to, in order. */
    public List<PciAddress> boundToVfio() {
        return pci.boundToVfio();
    }

    /** The ids of the kernel's command line for vfio-pci, such as {@code 8086:10d3}. */
    public List<String> namedIds() {
        return kvm().commandLine().known().orElse(List.of()).stream()
                .filter(word -> word.matches("vfio[-_]pci\\.ids=.*"))
                .flatMap(word -> Stream.of(word.substring(word.indexOf('=') + 1).split(",")))
                .map(id -> id.toLowerCase(Locale.ROOT).replaceFirst("^(\\p{XDigit}{4}:\\p{XDigit}{4}):.*", "$1"))
                .filter(id -> id.matches("\\p{XDigit}{4}:\\p{XDigit}{4}"))
                .toList();
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
    public Known<Boolean> nointxmask() {
        Optional<String> text = tree.text(NOINTXMASK);
        if (text.filter(value -> value.equals("Y") || value.equals("N")).isPresent()) {
            return new Known.Observed<>(text.get().equals("Y"));
        }
        if (text.isPresent()) {
            return new Known.Unknown<>("/" + NOINTXMASK + " is neither Y nor N", "none");
        }
        return sight().missing(tree, NOINTXMASK, "modprobe vfio-pci");
    }

    /** The names of the handlers of a host irq. {@code /proc/irq} shows each name once. */
    Known<List<String>> handlers(HostIrq irq) {
        Optional<HostInterrupts> all = interrupts();
        if (all.isPresent()) {
            return new Known.Observed<>(all.get().handlers(irq));
        }
        List<String> names = tree.list("proc/irq/" + irq.number());
        return names.isEmpty()
                ? new Known.Unknown<>(
                        "neither /proc/interrupts nor /proc/irq/" + irq.number() + " can be read", forInterrupts())
                : new Known.Observed<>(
                        names.stream().filter(name -> !IRQ_FILES.contains(name)).toList());
    }

    /**
     * The access of this process to a file in {@code /dev/vfio}. Empty if the tree has no {@code /dev}, or not this
     * directory though a device is open.
     */
    public Optional<HostFiles.Access> access(String vfioFile) {
        boolean hidden = tree.list("dev").isEmpty()
                || tree.reading("dev/vfio") == HostFiles.Reading.ABSENT
                        && (!armed().isEmpty() || !descriptors().ofVfio().isEmpty());
        return hidden ? Optional.empty() : Optional.of(tree.access("dev/vfio/" + vfioFile));
    }

    /**
     * The processes that have a device open through VFIO, by number and name. Root sees all of them, other users see
     * their own.
     */
    public List<String> users(PciDevice device) {
        return holders(device).stream().map(this::named).toList();
    }

    /** The processes that have a device open through VFIO. */
    public Collection<Integer> holders(PciDevice device) {
        return descriptors().holders(device, tree.list("sys/bus/pci/devices/" + device.address() + "/vfio-dev"));
    }

    /** A process by its number and, if it is shown, its name in brackets. */
    public String named(int pid) {
        String comm = tree.text("proc/" + pid + "/comm").orElse("");
        return comm.isEmpty() ? String.valueOf(pid) : pid + " (" + comm + ")";
    }

    /**
     * The eventfds that the processes with a device have in common with processes that hold a VM: their eventfd-id, which
     * is one number for the whole host, by the process with the VM.
     */
    public Map<VmProcess, SortedSet<Integer>> sharedEventfds(PciDevice device) {
        Set<Integer> ids = new HashSet<>();
        for (int pid : holders(device)) {
            ids.addAll(VmProcesses.eventfdIds(
                    tree, pid, descriptors().targets().getOrDefault(pid, Collections.emptySortedMap())));
        }
        Map<VmProcess, SortedSet<Integer>> shared = new LinkedHashMap<>();
        for (VmProcess vm : vms().all()) {
            SortedSet<Integer> common = vm.eventfdIds();
            common.retainAll(ids);
            if (!common.isEmpty()) {
                shared.put(vm, common);
            }
        }
        return shared;
    }

    /**
     * The processes that serve devices of a guest and hold no VM: they share an eventfd with it. The command line of the
     * VMM names those of vhost-user; a process with a device of VFIO is one of a VMM of several processes, as crosvm is.
     */
    public List<Integer> backEnds(VmProcess vm) {
        Set<Integer> vmms = vmms();
        boolean isNamed = namesBackEnd(vm);
        Set<Integer> apart = apart();
        List<Integer> all = new ArrayList<>();
        descriptors().targets().forEach((pid, targets) -> {
            if ((isNamed ? !vmms.contains(pid) : apart.contains(pid))
                    && !Collections.disjoint(vm.eventfdIds(), VmProcesses.eventfdIds(tree, pid, targets))) {
                all.add(pid);
            }
        });
        return all;
    }

    private static boolean namesBackEnd(VmProcess vm) {
        return vm.arguments().stream().anyMatch(word -> SERVED.matcher(word).find());
    }

    private Set<Integer> vmms() {
        return once("vmms", () -> vms().all().stream().map(VmProcess::pid).collect(Collectors.toSet()));
    }

    /** The processes with a device of VFIO and without a VM. */
    private Set<Integer> apart() {
        return once("apart", () -> descriptors().targets().entrySet().stream()
                .filter(process -> process.getValue().values().stream()
                        .anyMatch(target -> target.startsWith("/dev/vfio/") || target.equals(VFIO_DEVICE)))
                .map(Map.Entry::getKey)
                .filter(pid -> !vmms().contains(pid))
                .collect(Collectors.toSet()));
    }

    /** The file of an eventfd that does not show its id, if one may so hide a process of {@link #backEnds}. */
    public Optional<String> hiddenEventfd(VmProcess vm) {
        boolean isNamed = namesBackEnd(vm);
        Set<Integer> apart = apart();
        return descriptors().targets().entrySet().stream()
                .filter(process ->
                        isNamed || apart.contains(process.getKey()) || !apart.isEmpty() && process.getKey() == vm.pid())
                .flatMap(process -> process.getValue().entrySet().stream()
                        .filter(fd -> fd.getValue().equals(VmProcesses.EVENTFD))
                        .map(fd -> "proc/" + process.getKey() + "/fdinfo/" + fd.getKey()))
                .filter(file -> tree.number(file, "eventfd-id:").isEmpty())
                .findFirst();
    }

    /** The PCI devices of which a guest has a part: an mdev on its command line, or a vDPA device that it has open. */
    public List<PciAddress> parents(VmProcess vm) {
        List<String> parts = new ArrayList<>();
        for (String mdev : tree.list(MDEVS)) {
            if (vm.arguments().stream().anyMatch(word -> word.contains(mdev))) {
                parts.add(MDEVS + "/" + mdev);
            }
        }
        Collection<String> open = descriptors()
                .targets()
                .getOrDefault(vm.pid(), Collections.emptySortedMap())
                .values();
        List<String> vdpas = tree.list(VDPAS);
        for (String vdpa : vdpas) {
            List<String> files = tree.list(VDPAS + "/" + vdpa);
            if (open.stream()
                    .filter(file -> file.startsWith("/dev/vhost-vdpa-"))
                    .anyMatch(file -> vdpas.size() == 1 || files.contains(file.substring("/dev/".length())))) {
                parts.add(VDPAS + "/" + vdpa);
            }
        }
        return parts.stream().flatMap(part -> parent(part).stream()).distinct().toList();
    }

    /** The PCI device of a part, by its path in sysfs. */
    private Optional<PciAddress> parent(String part) {
        return Stream.of(tree.link(part).orElse("").split("/"))
                .flatMap(name -> PciDevice.addressOf(name).stream())
                .reduce((above, last) -> last);
    }

    /** Whether the driver of a device gives parts of it to guests, as mdev or vDPA. */
    public boolean isParent(PciAddress device) {
        return Stream.of(MDEVS, VDPAS)
                .flatMap(directory -> tree.list(directory).stream().map(name -> directory + "/" + name))
                .anyMatch(part -> parent(part).equals(Optional.of(device)));
    }

    private OpenFiles descriptors() {
        OpenFiles before = descriptors;
        if (before == null) {
            before = OpenFiles.read(tree);
            descriptors = before;
        }
        return before;
    }

    /** The processes that hold VMs. */
    public VmProcesses vms() {
        VmProcesses before = vms;
        if (before == null) {
            OpenFiles open = descriptors();
            // Most hosts have none, and the reader's class takes long to load.
            before = open.hasVm() ? readVms(open) : new VmProcesses(List.of(), open.unreadable());
            vms = before;
        }
        return before;
    }

    private VmProcesses readVms(OpenFiles open) {
        return VmProcesses.read(tree, open, pci.cdevs(), this::isArmed);
    }

    /**
     * The text of a file of debugfs, which only root reads.
     *
     * @param path below its mount point, such as {@code iommu/intel/ir_translation_struct}
     * @param needs the condition under which debugfs has the file
     */
    public Known<String> debugfs(String path, String needs) {
        Optional<String> text = tree.text(DEBUGFS + path);
        if (text.isPresent()) {
            return new Known.Observed<>(text.get());
        }
        if (tree.reading(DEBUGFS.substring(0, DEBUGFS.length() - 1)) == HostFiles.Reading.DENIED
                || tree.reading(DEBUGFS + path) == HostFiles.Reading.DENIED
                || tree.list(DEBUGFS).isEmpty() && sight().locks(DEBUGFS + path)) {
            return sight().refused(DEBUGFS + path);
        }
        if (tree.bytes(DEBUGFS + path, HostFiles.LONGEST_TEXT + 1).isPresent()) {
            return new Known.Unknown<>(
                    Known.Reason.NOT_ASKED,
                    "/" + DEBUGFS + path + " is longer than " + (HostFiles.LONGEST_TEXT >> 20) + " MiB and is not read",
                    "none");
        }
        return tree.list(DEBUGFS).isEmpty()
                ? new Known.Unknown<>(
                        Known.Reason.ABSENT,
                        "debugfs is not mounted",
                        "mount -t debugfs none /sys/kernel/debug, and " + needs)
                : new Known.Unknown<>(Known.Reason.ABSENT, "/" + DEBUGFS + path + " does not exist", needs);
    }

    /** Whether debugfs has no directory of irqs. Asked once, because a lookup for each of thousands of irqs is slow. */
    public boolean hasNoIrqDebugfs() {
        return tree.reading(DEBUGFS + "irq/irqs") == HostFiles.Reading.ABSENT;
    }

    /**
     * The remedy that shows files of debugfs: to be root, only if this user may not read them.
     *
     * @param needs the condition under which debugfs has the files
     */
    public String forDebugfs(String needs) {
        return notInDebugfs("", needs).remedy();
    }

    /** Why files of debugfs, whose remedy is {@link #forDebugfs}, do not show a fact. */
    public <T> Known.Unknown<T> notInDebugfs(String why, String needs) {
        String root = DEBUGFS.substring(0, DEBUGFS.length() - 1);
        boolean isEmpty = tree.list(DEBUGFS).isEmpty();
        if (tree.reading(root) == HostFiles.Reading.DENIED || isEmpty && sight().locks(root)) {
            Known.Unknown<T> refused = sight().refused(root);
            return new Known.Unknown<>(refused.reason(), why, refused.remedy());
        }
        return new Known.Unknown<>(why, isEmpty ? "mount -t debugfs none /" + root : needs);
    }

    /** Why {@code /proc/interrupts} does not show a fact: it cannot be read. */
    public <T> Known.Unknown<T> noInterrupts() {
        return new Known.Unknown<>(
                tree.reading("proc/interrupts") == HostFiles.Reading.DENIED
                        ? Known.Reason.REFUSED
                        : Known.Reason.ABSENT,
                "/proc/interrupts cannot be read",
                forInterrupts());
    }

    /** The remedy that shows {@code /proc/interrupts}, if it cannot be read. */
    public String forInterrupts() {
        return tree.reading("proc/interrupts") == HostFiles.Reading.DENIED
                ? sight().refused("proc/interrupts").remedy()
                : "mount /proc; a copy of a host needs its proc/interrupts, which tar copies empty";
    }

    /** The names in a directory of debugfs. Empty if it cannot be read. */
    public List<String> debugfsNames(String path) {
        return tree.list(DEBUGFS + path);
    }

    /** The tracing instances that killed runs of kvmirq left: their directories. */
    public Known<List<String>> leftTracing() {
        return TracingInstances.left(tree);
    }

    /**
     * Why probes of the kernel's functions have no hits here, however often the functions are called. Empty if no file says so.
     *
     * <p>Source: {@code write_enabled_file_bool()} and {@code arm_kprobe_ftrace()} in kernel/kprobes.c: a probe at the
     * begin of a function needs ftrace with CONFIG_KPROBES_ON_FTRACE, which x86 selects, and arm64 does not: Debian's
     * kernels 6.1 and 6.12 for arm64 lack it.
     */
    public Optional<Known.Unknown<Long>> silentProbes() {
        if (debugfs("kprobes/enabled", "none").known().filter("0"::equals).isPresent()) {
            return Optional.of(new Known.Unknown<>(
                    "kprobes are off (/sys/kernel/debug/kprobes/enabled is 0), so probes record no hits",
                    "echo 1 > /sys/kernel/debug/kprobes/enabled"));
        }
        return tree.text("proc/sys/kernel/ftrace_enabled")
                .filter(text -> text.equals("0") && !isArm())
                .map(off -> new Known.Unknown<>(
                        "ftrace is off (kernel.ftrace_enabled is 0), so probes at the start of functions record no"
                                + " hits",
                        "sysctl kernel.ftrace_enabled=1"));
    }

    /** The host's own uses of a device: file systems on it and networks that are up, one sentence for each. */
    public List<String> uses(PciAddress device) {
        return new DeviceUses(tree, device).all();
    }

    /** Whether a PCI function is on a bus below another, as a disk below the VMD. */
    public boolean isOnBus(String name, PciAddress above) {
        return new DeviceUses(tree, above).isOnBus(name);
    }

    /** The threads of a process. Empty if they cannot be read. */
    public List<String> threads(int pid) {
        return tree.list("proc/" + pid + "/task");
    }

    /** The addresses of all PCI functions, in order. */
    public List<PciAddress> pciAddresses() {
        return once("pci", pci::addresses);
    }

    /** Whether sysfs lists a function and does not show its ids, so that it is not known. */
    public boolean hides(PciAddress address) {
        return pci(address).isEmpty() && pciAddresses().contains(address);
    }

    /** A PCI function. Empty if the host has none with this address. */
    public Optional<PciDevice> pci(PciAddress address) {
        return once(address, () -> pci.of(address));
    }

    /** The vector of a device that has a host irq. Empty if sysfs does not show it. */
    public OptionalInt vector(HostIrq irq, PciAddress device) {
        return pci.vector(irq, device);
    }

    /** The IOMMU that serves a PCI function, such as {@code dmar0}. Empty if sysfs does not show it. */
    public Optional<String> iommu(PciAddress device) {
        return pci.iommu(device);
    }

    /** The reports of the kernel's log. */
    public KernelLog log() {
        return once(KernelLog.FILE, () -> KernelLog.read(tree));
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
