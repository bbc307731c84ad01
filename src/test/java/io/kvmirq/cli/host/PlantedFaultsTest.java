/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.screens.Archive;
import io.kvmirq.diag.screens.Capture;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.diag.screens.GuestRows;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ReadOnce;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Faults that were planted in trees of hosts, one at a time, and trees in which there is none. */
class PlantedFaultsTest {
    /** Fields of a stat behind the name. */
    private static final int STAT_FIELDS = 50;

    private static final int VECTORS = 5;
    private static final int FEWEST_MECHANISMS = 40;
    private static final int FEWEST_HARMLESS = 20;
    /** Status files of the process, two vCPUs and 64 other threads. */
    private static final int MOST_STATUS = 67;
    /** The exit code of a link in doubt is this higher. */
    private static final int DOUBT = 20;

    /** Trees whose guest is explained by its name, with all of its sources. */
    private static final Set<String> OF_GUESTS = Set.of("virtio", "vhost-tasks");

    private static final String OTHERS = "others";
    private static final String INTERRUPTS = "proc/interrupts";
    private static final String DEVICES = "sys/bus/pci/devices/";
    private static final Pattern BITS = Pattern.compile("(\\S+) ([-+]) 0x([0-9a-f]+) 0x([0-9a-f]+)");

    @TempDir
    private Path temporary;

    /** A fault in one tree. */
    record Fault(String mechanism, String tree, String link, int code, String words, String changes) {
        @Override
        public String toString() {
            return mechanism + ", " + tree;
        }
    }

    private static Stream<String[]> rows(String file) throws IOException {
        return Cli.golden(PlantedFaultsTest.class, file)
                .lines()
                .filter(line -> !line.startsWith("#"))
                .map(line -> line.split(" \\|(?: |$)", -1));
    }

    static Stream<Fault> faults() throws IOException {
        return rows("faults.txt").flatMap(row -> Arrays.stream(row[1].split(" "))
                .map(tree -> new Fault(row[0], tree, row[2], Integer.parseInt(row[3]), row[4], row[5])));
    }

    static Stream<Fault> harmless() throws IOException {
        return rows("harmless.txt").flatMap(row -> Arrays.stream(row[1].split(" "))
                .map(tree -> new Fault(row[0], tree, "", 0, "", row[2])));
    }

    static String device(String tree) {
        return switch (tree) {
            case "posted", "nopost", "arm", "vcpus", "gicv4", "intel-without-pi" -> "0000:00:01.0";
            case "host", "nodriver" -> "0000:00:05.0";
            default -> "0000:00:02.0";
        };
    }

    /** The host, before a fault. */
    static RecordedHost host(String tree) throws IOException {
        return switch (tree) {
            case "posted" -> GuestHosts.of("intel-posted");
            case "nopost" -> GuestHosts.of("intel-nopost");
            case "remapped" -> GuestHosts.of("amd-avic");
            case "arm" -> GuestHosts.of("gicv3");
            case "intx" -> GuestHosts.of("intx-shared");
            case "idle" ->
                apply(GuestHosts.of("amd-avic"), tree, "proc/interrupts without vfio-; {dev}msi_irqs remove");
            case "unused" -> apply(host("idle"), tree, "{vmm}fd remove");
            case "host" -> RecordedHost.of("amd-6.12");
            case "empty" -> new RecordedHost();
            case "nodriver" -> RecordedHost.of("amd-6.12").remove(DEVICES + "0000:00:05.0/driver");
            case "unnamed" ->
                apply(
                        GuestHosts.of("amd-avic"),
                        tree,
                        "{vmm}task/101/comm = qemu; {vmm}task/102/comm = qemu;"
                                + " sys/kernel/debug/kvm/100-5/vcpu0/pid = 101; sys/kernel/debug/kvm/100-5/vcpu1/pid = 102");
            case "vcpus" ->
                apply(
                        GuestHosts.of("intel-posted"),
                        tree,
                        "{vmm}task/101/stat = " + stat(101, 1) + "; {vmm}task/102/stat = " + stat(102, 0)
                                + "; proc/cpuinfo = processor\\t: 0\\nvendor_id\\t: GenuineIntel\\napicid\\t\\t: 0\\n"
                                + "flags\\t\\t: fpu cx16 vmx x2apic\\n\\nprocessor\\t: 1\\nvendor_id\\t: GenuineIntel\\n"
                                + "apicid\\t\\t: 2");
            case "msi" -> msi();
            case "behind" -> behind();
            case "virtual" ->
                apply(
                        GuestHosts.of("amd-avic"),
                        tree,
                        "{dev}physfn -> ../0000:00:03.0; {dev}config + 0x0 0xffff; {dev}config + 0x2 0xffff; "
                                + "{dev}config - 0x4 0x2; {physical}power_state = D0; {physical}sriov_numvfs = 1");
            default -> tree.startsWith("bare ") ? RecordedHost.of(tree.substring(5)) : GuestHosts.of(tree);
        };
    }

    /** A vCPU's thread that was last on a CPU, and ran guest code for 5 ticks. */
    private static String stat(int tid, int cpu) {
        return tid + " (CPU 0/KVM) S 1 1 1 0 -1 4 0 0 0 0 10 20 0 0 20 0 5 0 77 3133440 359 1 1 1 0 0 0 0 0"
                + " 0 0 0 0 0 17 " + cpu + " 0 0 0 5 0 1";
    }

    /** MSI 0 of the device in place of MSI-X. */
    private static RecordedHost msi() throws IOException {
        RecordedHost host = apply(
                GuestHosts.of("amd-avic"),
                "msi",
                "{dev}config - 0xa2 0x8000; {dev}config + 0xd2 0x1; {dev}config + 0xd6 0xfee0");
        String rows = host.tree().text(INTERRUPTS).orElse("");
        return host.put(
                INTERRUPTS,
                rows.lines()
                                .filter(line -> !line.contains("vfio-msix[") || line.contains("vfio-msix[0]"))
                                .map(line -> line.replace("vfio-msix", "vfio-msi"))
                                .collect(Collectors.joining("\n"))
                        + "\n");
    }

    /** The device is below a root port with a link. */
    private static RecordedHost behind() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        byte[] config = new byte[256];
        config[0x04] = 6;
        config[0x06] = 0x10;
        config[0x0e] = 1;
        config[0x34] = (byte) 0xe0;
        config[0xe0] = 0x10;
        config[0xe2] = 0x42; // root port
        config[0xee] = 0x10; // it reports whether its link is up
        config[0xf3] = 0x20; // it is
        String path = "../../../devices/pci0000:00/0000:00:1c.0/0000:00:02.0";
        return host.link(DEVICES + "0000:00:02.0", path)
                .link("sys/kernel/iommu_groups/1/devices/0000:00:02.0", "../" + path)
                .putBytes(DEVICES + "0000:00:1c.0/config", config)
                .put(DEVICES + "0000:00:1c.0/vendor", "0x8086\n")
                .put(DEVICES + "0000:00:1c.0/class", "0x060400\n")
                .put(DEVICES + "0000:00:1c.0/power/runtime_status", "active\n")
                .put(DEVICES + "0000:00:1c.0/power_state", "D0\n");
    }

    static RecordedHost apply(RecordedHost host, String tree, String changes) {
        // VFIO has armed one of the five vectors of a guest's device.
        String oneVector = IntStream.range(1, VECTORS)
                .mapToObj(at -> "proc/interrupts without vfio-msix[" + at + "; {dev}msi_irqs/" + (27 + at) + " remove")
                .collect(Collectors.joining("; "));
        String noVector2 = "proc/interrupts without vfio-msix[2]; sys/kernel/irq/29/hwirq = 2; "
                + "sys/kernel/irq/29/chip_name = IR-PCI-MSIX-0000:00:02.0";
        String noPosting =
                "proc/cmdline = intel_iommu=on intremap=nopost; sys/module/kvm_intel/parameters/enable_device_posted_irqs = N";
        for (String change : changes.replace("{nopost}", noPosting)
                .replace("{one vector}", oneVector)
                .replace("{no vector 2}", noVector2)
                .split("; ")) {
            if (!change.isBlank()) {
                one(
                        host,
                        change.replace("{dev}", DEVICES + device(tree) + "/")
                                .replace("{bridge}", DEVICES + "0000:00:1c.0/")
                                .replace("{physical}", DEVICES + "0000:00:03.0/")
                                .replace("{irq}", "proc/irq/{n}/")
                                .replace("{count}", "proc/interrupts {n}:")
                                .replace("{others}", "proc/interrupts vfio-")
                                .replace("{n}", String.valueOf(irq(tree)))
                                .replace("{group}", group(host, tree))
                                .replace("{scope}", "sys/fs/cgroup/machine.slice/machine-qemu-1-web.scope/")
                                .replace("{avic}", "sys/module/kvm_amd/parameters/avic")
                                .replace("{kvm}", "sys/kernel/debug/kvm/100-5/")
                                .replace("{vmm}", "proc/100/"));
            }
        }
        return host;
    }

    private static String group(RecordedHost host, String tree) {
        return host.tree().linkName(DEVICES + device(tree) + "/iommu_group").orElse("none");
    }

    private static int irq(String tree) {
        return switch (tree) {
            case "intx" -> 22;
            case "arm" -> 25;
            default -> 27;
        };
    }

    /** Sets the counts of CPU 0 in rows of /proc/interrupts; {@code vfio-} stands for all rows of VFIO but the first. */
    private static void count(RecordedHost host, String rows, String count) {
        List<String> lines = new ArrayList<>();
        boolean first = rows.equals("vfio-");
        for (String line : host.tree().text(INTERRUPTS).orElse("").lines().toList()) {
            boolean matches =
                    rows.equals("vfio-") ? line.contains(rows) : line.strip().startsWith(rows);
            lines.add(
                    matches && !first
                            ? line.replaceFirst("^( *\\d+:) {0,10}\\d+", "$1" + String.format("%11s", count))
                            : line);
            first &= !matches;
        }
        host.put(INTERRUPTS, String.join("\n", lines) + "\n");
    }

    /** Adds to the count of CPU 0 in a row of /proc/interrupts. */
    private static void more(RecordedHost host, String[] rowAndCount) {
        Matcher row = Pattern.compile("(?m)^( *" + rowAndCount[0] + ": *)(\\d+)")
                .matcher(host.tree().text(INTERRUPTS).orElse(""));
        assertThat(row.find()).as(rowAndCount[0]).isTrue();
        int count = Integer.parseInt(row.group(2)) + Integer.parseInt(rowAndCount[1]);
        host.put(INTERRUPTS, row.replaceFirst(row.group(1) + count) + "\n");
    }

    /** A text with the characters that no line of a table can have. */
    static String unescaped(String text) {
        return text.replace("\\\\", "\1")
                .replace("\\n", "\n")
                .replace("\\t", "\t")
                .replace("\\0", "\0")
                .replace("\\s", " ")
                .replace("\\e", "\033")
                .replace("\\a", "\007")
                .replace("\1", "\\");
    }

    /** The rows of the table give a stat up to the field that they are about: the rest is 0, as the kernel writes all. */
    private static String whole(String path, String text) {
        int given = text.substring(text.lastIndexOf(')') + 1).strip().split(" ").length;
        return path.matches("proc/.*\\d/stat") && text.contains(")") ? text + " 0".repeat(STAT_FIELDS - given) : text;
    }

    private static void one(RecordedHost host, String change) {
        String[] words = change.strip().split(" ", 3);
        String path = unescaped(words[0]);
        byte[] bytes = host.tree().bytes(path, 4096).orElse(new byte[0]);
        Matcher bits = BITS.matcher(change.strip());
        if (bits.matches()) {
            int at = Integer.parseInt(bits.group(3), 16);
            int mask = Integer.parseInt(bits.group(4), 16);
            for (int i = 0; i < 2; i++) {
                int part = mask >> 8 * i & 0xff;
                bytes[at + i] = (byte) (bits.group(2).equals("+") ? bytes[at + i] | part : bytes[at + i] & ~part);
            }
            host.putBytes(path, bytes);
            return;
        }
        switch (words[1]) {
            case "=" -> host.put(path, unescaped(whole(path, words[2])) + "\n");
            case "->" -> host.link(path, unescaped(words[2]));
            case "ones" -> {
                Arrays.fill(bytes, (byte) -1);
                host.putBytes(path, bytes);
            }
            case "zeros" -> host.putBytes(path, new byte[bytes.length]);
            case "grow" -> host.putBytes(path, Arrays.copyOf(bytes, Integer.parseInt(words[2])));
            case "swap" -> {
                String[] texts = words[2].split(" ");
                String text = new String(bytes, StandardCharsets.UTF_8);
                host.put(path, text.replace(unescaped(texts[0]), texts.length > 1 ? unescaped(texts[1]) : ""));
            }
            case "add" -> host.put(path, new String(bytes, StandardCharsets.UTF_8) + unescaped(words[2]) + "\n");
            case "more" -> more(host, words[2].split(" "));
            case "copy" -> host.copy(words[2], path);
            case "cut" -> host.cut(path, Integer.parseInt(words[2]));
            case "vectors" ->
                host.put(
                        path,
                        new String(bytes, StandardCharsets.UTF_8)
                                + IntStream.range(0, Integer.parseInt(words[2]))
                                        .mapToObj(at -> (1000 + at) + ": 1 1 IR-PCI-MSIX-0000:00:09.0 " + at
                                                + "-edge vfio-msix[" + at + "](0000:00:09.0)\n")
                                        .collect(Collectors.joining()));
            case "remove" -> host.remove(path);
            case "deny" -> host.deny(path);
            case "without" ->
                host.put(
                        path,
                        new String(bytes, StandardCharsets.UTF_8)
                                .lines()
                                .filter(line -> !line.contains(words[2]))
                                .collect(Collectors.joining("\n", "", "\n")));
            case "bare" ->
                host.put(
                        path,
                        new String(bytes, StandardCharsets.UTF_8)
                                .lines()
                                .map(line -> line.strip().startsWith(words[2]) || line.contains(words[2])
                                        ? line.replaceFirst("vfio-\\S+", "")
                                        : line)
                                .collect(Collectors.joining("\n", "", "\n")));
            default -> count(host, words[1], words[2]);
        }
    }

    /** An answer. */
    private record Said(Cli.Ended ended) {
        String flaw() {
            return accused().stream().findFirst().orElse("none");
        }

        List<String> accused() {
            return ended.out()
                    .lines()
                    .filter(line -> line.matches("  \\S.* (broken|doubtful) .*"))
                    .toList();
        }
    }

    /** As {@link Capture#analysis} does, of one device. */
    private static void analyse(HostFiles files, String device) {
        HostFacts facts = new HostFacts(files);
        GuestRows.read(facts, facts.vms().all());
        PathsCheck.ofGuests(facts, facts.vms().all());
        facts.kernel();
        DeviceChains.gone(facts, PciAddress.parse(device));
        facts.pci(PciAddress.parse(device)).ifPresent(found -> {
            VfioOutlook.read(facts, found);
            DeviceChains.read(facts, found);
            facts.uses(found.address());
        });
    }

    /** By a capture, which so holds what each look reads. */
    private Said explain(RecordedHost host, String tree, boolean strict) throws IOException {
        return explain(host, tree, strict, false);
    }

    /** @param ofGuest whether the guest is asked for, and not its device */
    private Said explain(RecordedHost host, String tree, boolean strict, boolean ofGuest) throws IOException {
        Path archive = Files.createTempFile(temporary, "host", ".zip");
        try (OutputStream out = Files.newOutputStream(archive)) {
            Archive.write(Capture.take(host.tree(), files -> analyse(files, device(tree)), false), out);
        }
        List<String> words = new ArrayList<>(List.of("explain", "--from", archive.toString()));
        words.addAll(OF_GUESTS.contains(tree) || ofGuest ? List.of("--vm", "100") : List.of(device(tree)));
        words.addAll(strict ? List.of("--strict") : List.of());
        return new Said(Cli.run(words.toArray(String[]::new)));
    }

    private String text(String tree, String changes) throws IOException {
        Said said = explain(apply(host(tree), tree, changes), tree, true);
        return said.ended().out().replaceAll("\\s+", " ");
    }

    @ParameterizedTest
    @MethodSource("faults")
    void faultIsNamedAtItsLink(Fault fault) throws IOException {
        RecordedHost host = apply(host(fault.tree()), fault.tree(), fault.changes());
        boolean doubt = fault.code() >= DOUBT + 10;
        boolean beside = fault.link().equals(OTHERS);
        Said said = explain(host, fault.tree(), doubt, beside);
        said.ended().exited(fault.code());
        if (beside && !OF_GUESTS.contains(fault.tree())) {
            Said ofDevice = explain(host, fault.tree(), true);
            assertThat(ofDevice.ended().exited(0).out().lines().skip(1)).anyMatch(line -> line.contains(fault.words()));
            assertThat(ofDevice.accused()).isEmpty();
        }
        if (fault.link().equals("-")) {
            assertThat(said.flaw()).isEqualTo("none");
            assertThat(said.ended().out().replaceAll("\\s+", " ")).contains(fault.words());
            return;
        }
        assertThat(said.flaw())
                .as(said.ended().out())
                .startsWith("  " + fault.link())
                .contains(fault.words());
        assertThat(said.ended().out()).doesNotContain("echo  > ", "-cp  ");
        if (doubt) {
            assertThat(explain(host, fault.tree(), false).ended().exitCode()).isZero();
        }
    }

    @ParameterizedTest
    @MethodSource("harmless")
    void harmlessTreeIsNotAccused(Fault tree) throws IOException {
        Said before = explain(host(tree.tree()), tree.tree(), true);
        Said said = explain(apply(host(tree.tree()), tree.tree(), tree.changes()), tree.tree(), true);
        said.ended().exited(before.ended().exitCode());
        assertThat(said.accused()).as(said.ended().out()).isSubsetOf(before.accused());
    }

    /** KVM's debugfs names the thread that runs a vCPU, or 0 until one does. */
    @Test
    void threadOfAVcpuIsThatOfDebugfs() throws IOException {
        String vcpu = "{vmm}fd/9 -> anon_inode:kvm-vcpu:9; {kvm}vcpu9/pid = ";
        assertThat(text("posted", vcpu + "109")).contains("has exited, as when a vCPU is unplugged");
        assertThat(text("posted", vcpu + "0")).doesNotContain("has ended");
        String name = "{vmm}task/101/comm remove";
        assertThat(text("unnamed", name)).doesNotContain("task/101/comm");
        assertThat(text("unnamed", name + "; {kvm}vcpu0/pid = 0")).contains("task/101/comm");
    }

    @Test
    void ofTenThousandThreadsFewAreRead() throws IOException {
        RecordedHost host = host("remapped");
        for (int thread = 1000; thread < 11_000; thread++) {
            host.put("proc/100/task/" + thread + "/comm", "worker\n")
                    .put("proc/100/task/" + thread + "/stat", whole("proc/1/stat", thread + " (worker) S 1") + "\n")
                    .put("proc/100/task/" + thread + "/status", "State:\tS (sleeping)\nTracerPid:\t0\n");
        }
        ReadOnce files = new ReadOnce(host.tree());
        HostFacts facts = new HostFacts(files);
        InterruptPath chain = DeviceChains.read(
                facts, facts.pci(PciAddress.parse(device("remapped"))).orElseThrow(), 0);
        assertThat(chain.link(Hop.VMM).map(Link::state)).contains(Link.State.WHOLE);
        assertThat(files.seen().files().keySet().stream().filter(path -> path.endsWith("/status")))
                .hasSizeBetween(3, MOST_STATUS);
    }

    @Test
    void deviceThatSleepsAndThatNothingUsesIsNotAccused() throws IOException {
        RecordedHost host =
                apply(host("unused"), "unused", "{dev}power_state = D3hot; {dev}power/runtime_status = suspended");
        Said said = explain(host, "unused", true);
        said.ended().exited(0);
        assertThat(said.accused()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"stat", "status", "task/101/status", "task/102/stat"})
    void threadIsNotInOrderThatDoesNotShowAFile(String file) throws IOException {
        RecordedHost host = host("remapped");
        host.deny("proc/100/" + file);
        HostFacts facts = new HostFacts(host.tree());
        Optional<Link> vmm = DeviceChains.read(
                        facts, facts.pci(PciAddress.parse(device("remapped"))).orElseThrow(), 0)
                .link(Hop.VMM);
        assertThat(vmm.map(Link::state)).contains(Link.State.NOT_SHOWN);
        assertThat(vmm.orElseThrow().text()).contains("/proc/100/" + file + " cannot be read");
    }

    /** VfioOutlookTest provokes those of VFIO, DoctorTest and ParametersTest those of checks. */
    @Test
    void everyRuleIsProvoked() throws IOException {
        Set<String> rules = Doctor.rules().stream()
                .filter(rule -> !rule.contains("/sys/kernel/tracing/")) // by probes: HostCasesTest, and the lab
                .filter(rule -> !rule.contains("reads /proc/kcore")) // kernel memory, which no planted tree has
                .filter(rule -> !rule.contains("reads /kmsg")) // LoggedFaultsTest
                .map(rule -> rule.split(" {2,}")[1])
                .filter(
                        rule -> !rule.matches(
                                "(vfio|vfio-host|unsafe-interrupts|support|kvm|irqchip|nested|iommu|remapping(-unsafe)?|posting|parameters)\\..*"))
                .collect(Collectors.toCollection(TreeSet::new));
        for (Fault fault : faults().toList()) {
            HostFiles tree =
                    apply(host(fault.tree()), fault.tree(), fault.changes()).tree();
            HostFacts facts = new HostFacts(tree);
            PciAddress address = PciAddress.parse(device(fault.tree()));
            Stream.concat(
                            DeviceChains.gone(facts, address).stream(),
                            facts.pci(address).stream().flatMap(device -> DeviceChains.read(facts, device).stream()))
                    .flatMap(chain -> chain.links().stream())
                    .forEach(link -> link.flaws().forEach(flaw -> rules.remove(flaw.rule())));
            PathsCheck.ofGuests(facts, facts.vms().all()).stream()
                    .flatMap(path -> path.links().stream())
                    .forEach(link -> link.flaws().forEach(flaw -> rules.remove(flaw.rule())));
        }
        assertThat(rules).isEmpty();
    }

    @Test
    void tableIsComplete() throws IOException {
        List<String> mechanisms = rows("faults.txt").map(row -> row[0]).toList();
        assertThat(mechanisms).doesNotHaveDuplicates().hasSizeGreaterThanOrEqualTo(FEWEST_MECHANISMS);
        assertThat(rows("harmless.txt")).hasSizeGreaterThanOrEqualTo(FEWEST_HARMLESS);
    }
}
