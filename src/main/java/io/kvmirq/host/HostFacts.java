/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.vfio.VfioGroup;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The facts of a host's kernel, IOMMUs, PCI devices and VMs, as its files show them at one moment: each file is read
 * once, and an object does for one command. Thread-safe.
 *
 * <p>Source: Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups and sysfs-class-iommu in Linux.
 */
public final class HostFacts {
    private static final String DEVICES = "sys/bus/pci/devices";
    private static final String DEBUGFS = "sys/kernel/debug/";
    private static final String GROUPS = "sys/kernel/iommu_groups/";
    private static final String VERSION = "Linux version ";

    private static final int VECTOR_BITS = 11;
    private static final String GICV4_PARAMETER = "kvm_arm.vgic_v4_enable";

    /** Parsed once; empty if they cannot be read. */
    private record Interrupts(Optional<HostInterrupts> all) {}

    private final ReadOnce tree;
    private volatile @Nullable Interrupts interrupts;
    private volatile @Nullable VmProcesses vms;
    private volatile @Nullable PostingFacts posting;

    /** Takes the files of a host. */
    public HostFacts(HostFiles tree) {
        this.tree = new ReadOnce(tree);
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

    /** The host irqs. Empty if {@code /proc/interrupts} cannot be read. */
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
        return new HostKvm(this, tree);
    }

    /** The limits that an interrupt path meets. */
    public HostLimits limits() {
        return new HostLimits(tree);
    }

    /** Whether an x86 host is itself a VM. */
    boolean isVirtual() {
        return kvm().hasFlag("hypervisor");
    }

    /** How KVM posts with AVIC on this kernel. Empty if the version is not known. */
    public Optional<AvicKernel> avicKernel() {
        return isSince(6, 17).map(since -> since ? AvicKernel.FROM_6_17 : AvicKernel.UP_TO_6_16);
    }

    /**
     * How KVM on arm64 finds the LPI of a host irq. Empty if the version is not known; stable kernels may have the
     * later way.
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
        return words(Optional.of(commandLine)).stream()
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
        List<PciAddress> bound = new ArrayList<>();
        boolean some = false;
        for (String name : tree.list(DEVICES)) {
            some |= isVfio(tree.linkName(DEVICES + "/" + name + "/driver"));
        }
        for (PciAddress address : some ? pciAddresses() : List.<PciAddress>of()) {
            if (isVfio(tree.linkName(DEVICES + "/" + address + "/driver"))) {
                bound.add(address);
            }
        }
        return bound;
    }

    private static boolean isVfio(Optional<String> driver) {
        // Most are not, and the class of groups is not needed then.
        return driver.isPresent() && driver.get().contains("vfio") && VfioGroup.isDriver(driver.get());
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

    /** The access of this process to a file in {@code /dev/vfio}. Empty if the tree has no {@code /dev}. */
    public Optional<HostFiles.Access> access(String vfioFile) {
        return tree.list("dev").isEmpty() ? Optional.empty() : Optional.of(tree.access("dev/vfio/" + vfioFile));
    }

    /**
     * The processes that have a device open through VFIO, by number and name. Root sees all of them, other users see
     * their own.
     */
    public List<String> users(PciDevice device) {
        List<String> files = new ArrayList<>();
        device.group().ifPresent(group -> files.add("/dev/vfio/" + group));
        device.cdev().ifPresent(name -> files.add("/dev/vfio/devices/" + name));
        return tree.list("proc").stream()
                .filter(name -> name.matches("\\d+"))
                .filter(process -> tree.list("proc/" + process + "/fd").stream()
                        .anyMatch(fd -> tree.link("proc/" + process + "/fd/" + fd)
                                .filter(files::contains)
                                .isPresent()))
                .map(process -> process
                        + tree.text("proc/" + process + "/comm")
                                .map(name -> " (" + name + ")")
                                .orElse(""))
                .toList();
    }

    /** The processes that hold VMs. */
    public VmProcesses vms() {
        VmProcesses before = vms;
        if (before == null) {
            before = VmProcesses.of(tree, cdevs(), address -> interrupts()
                    .filter(all -> !all.armed(address).isEmpty())
                    .isPresent());
            vms = before;
        }
        return before;
    }

    /** The PCI functions that have a file of their own in {@code /dev/vfio/devices}, by its name, such as {@code vfio0}. */
    public Map<String, PciAddress> cdevs() {
        Map<String, PciAddress> cdevs = new HashMap<>();
        for (PciAddress address : pciAddresses()) {
            cdev(DEVICES + "/" + address + "/vfio-dev").ifPresent(name -> cdevs.put(name, address));
        }
        return cdevs;
    }

    /**
     * The text of a file of debugfs, which only root reads.
     *
     * @param path below its mount point, such as {@code iommu/intel/ir_translation_struct}
     * @param needs what makes the file exist, if debugfs is there and the file is not
     */
    public Fact<String> debugfs(String path, String needs) {
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
        return tree.list(DEBUGFS + path);
    }

    /** What the host uses a device for: file systems on it and networks that are up, one sentence for each. */
    public List<String> uses(PciAddress device) {
        return new DeviceUses(tree, device).all();
    }

    /** The threads of a process. Empty if they cannot be read. */
    public List<String> threads(int pid) {
        return tree.list("proc/" + pid + "/task");
    }

    /** The addresses of all PCI functions, in order. */
    public List<PciAddress> pciAddresses() {
        List<PciAddress> addresses = new ArrayList<>();
        for (String name : tree.list(DEVICES)) {
            try {
                addresses.add(PciAddress.parse(name));
            } catch (IllegalArgumentException e) {
                // A copy of a tree may hold other files.
            }
        }
        addresses.sort(null);
        return addresses;
    }

    /** A PCI function. Empty if the host has none with this address. */
    public Optional<PciDevice> pci(PciAddress address) {
        String path = DEVICES + "/" + address + "/";
        Optional<Integer> vendor = hex(path + "vendor");
        if (vendor.isEmpty()) {
            return Optional.empty();
        }
        OptionalInt group = number(tree.linkName(path + "iommu_group"));
        return Optional.of(new PciDevice(
                address,
                vendor.get(),
                hex(path + "device").orElse(0),
                hex(path + "class").orElse(0),
                tree.linkName(path + "driver"),
                // The kernel prints a null pointer so.
                tree.text(path + "driver_override").filter(text -> !text.isEmpty() && !text.equals("(null)")),
                group,
                group.isEmpty() ? List.of() : others(group.getAsInt(), address),
                cdev(path + "vfio-dev"),
                PciCapabilities.of(
                        tree.bytes(path + "config", PciCapabilities.BYTES).orElse(new byte[0])),
                tree.text(path + "irq")
                        .filter(text -> text.matches("\\d{1,10}"))
                        .map(Long::parseLong)
                        .orElse(0L),
                tree.list(path + "msi_irqs").stream()
                        .flatMap(name -> number(Optional.of(name)).stream().boxed())
                        .sorted()
                        .map(HostIrq::new)
                        .toList(),
                tree.link(path + "physfn").isPresent(),
                words(tree.text(path + "reset_method")),
                number(tree.text(path + "numa_node"))));
    }

    /** Since 6.1 sysfs names the device of VFIO. It has a number only if it has a file. */
    private Optional<String> cdev(String path) {
        return tree.list(path).stream()
                .filter(name -> tree.text(path + "/" + name + "/dev").isPresent())
                .findFirst();
    }

    private List<PciDevice.Member> others(int group, PciAddress address) {
        return tree.list(GROUPS + group + "/devices").stream()
                .filter(name -> !name.equals(address.toString()))
                .map(this::member)
                .toList();
    }

    private PciDevice.Member member(String name) {
        String pci = DEVICES + "/" + name + "/";
        Optional<String> driver =
                tree.linkName(pci + "driver").or(() -> tree.linkName("sys/bus/platform/devices/" + name + "/driver"));
        return new PciDevice.Member(name, driver);
    }

    private Optional<Integer> hex(String path) {
        return tree.text(path).filter(text -> text.matches("0x[0-9a-f]{1,7}")).map(text -> Integer.decode(text));
    }

    /** A number of 0 or more. */
    private static OptionalInt number(Optional<String> text) {
        return text.filter(digits -> digits.matches("\\d{1,9}"))
                .map(digits -> OptionalInt.of(Integer.parseInt(digits)))
                .orElseGet(OptionalInt::empty);
    }

    /**
     * The vector of a device that has a host irq. Empty if sysfs does not show it.
     *
     * <p>Source: {@code hwirq_show()} in kernel/irq/irqdesc.c, {@code pci_msi_domain_calc_hwirq()} in
     * drivers/pci/msi/irqdomain.c; where each device has a domain of its own, the chip has the device's name.
     */
    public OptionalInt vector(HostIrq irq, PciAddress device) {
        String path = "sys/kernel/irq/" + irq.number() + "/";
        String chip = tree.text(path + "chip_name").orElse("");
        OptionalInt shown = number(tree.text(path + "hwirq"));
        if (shown.isEmpty() || !chip.contains("PCI-MSI")) {
            return OptionalInt.empty();
        }
        if (chip.endsWith("-" + device)) {
            return shown;
        }
        int number = shown.getAsInt();
        return device.domain() == 0 && number >> VECTOR_BITS == device.requesterId()
                ? OptionalInt.of(number & (1 << VECTOR_BITS) - 1)
                : OptionalInt.empty();
    }

    private static List<String> words(Optional<String> text) {
        return text.stream()
                .flatMap(line -> Pattern.compile("\\s+").splitAsStream(line))
                .filter(word -> !word.isEmpty())
                .toList();
    }
}
