/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.DeviceName;
import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Severity;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.Guests.Guest;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.VcpuThreads;
import io.kvmirq.diag.sources.VmmOptions;
import io.kvmirq.diag.sources.VmmOptions.Inhibit;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The guests of a host at one moment, and the paths of their interrupts, without the files that showed them. Immutable.
 * Texts may contain names from files.
 *
 * @param kernel the release of the host's kernel
 * @param posts whether the host can post interrupts; empty if it is not known
 * @param vectorsLeft the least number of free vectors of a CPU; empty if debugfs does not show it
 * @param unreadable processes whose files this user may not read
 * @param namespaced whether a pid namespace hides the host's processes
 * @param guests in the order of their processes
 * @param paths the paths of the guests' devices, and for each guest one path with the link of its VMM
 * @param hostIrqs how often the host handled irqs of each device, also of vectors that are not armed any more
 * @param counters rows of {@code /proc/interrupts} without a number, such as {@code PIN}
 */
public record HostScan(
        Optional<String> kernel,
        Optional<Boolean> posts,
        OptionalLong vectorsLeft,
        int unreadable,
        boolean namespaced,
        List<Seen> guests,
        List<InterruptPath> paths,
        SortedMap<PciAddress, Long> hostIrqs,
        SortedMap<String, Long> counters) {
    /** The rows of interrupts that are counted on x86: posted ones, and errors. */
    private static final List<String> ROWS = List.of("PIN", "PIW", "NPI", "SPU", "ERR", "MIS");

    /** It ends when the guest takes an interrupt. */
    private static final String MOMENTARY = Finding.name(InhibitReason.IRQWIN);

    /**
     * A guest.
     *
     * @param directories of its VMs in {@code debugfs/kvm}
     * @param inhibits reasons that keep AVIC off in its VMs by kernel memory, or else by the command line of its VMM; empty if
     *     the host never posts
     */
    public record Seen(Guest guest, List<String> directories, List<String> inhibits) {}

    /** Looks at a host, and at what the memory of its kernel shows. */
    public static HostScan run(HostFacts host, KernelPaths memory) {
        Optional<PostingHost> posting = host.posting().host();
        boolean inhibited = posting.filter(
                        found -> found.vendor() == Vendor.AMD && found.flaw().isEmpty())
                .isPresent();
        Map<Integer, List<String>> seen = inhibited ? memory.inhibits().known().orElse(Map.of()) : Map.of();
        List<Seen> guests = Guests.find(host).all().stream()
                .map(guest -> new Seen(
                        guest,
                        VcpuThreads.directories(host, guest.process()),
                        inhibited ? inhibits(host, guest.process(), posting.orElseThrow(), seen) : List.of()))
                .toList();
        TreeMap<String, Long> counters = new TreeMap<>();
        host.interrupts().ifPresent(all -> ROWS.forEach(row -> all.count(row).ifPresent(n -> counters.put(row, n))));
        return new HostScan(
                host.kernel(),
                posting.map(found -> found.flaw().isEmpty()),
                host.limits().vectorsLeft().known().map(OptionalLong::of).orElse(OptionalLong.empty()),
                host.vms().unreadable(),
                host.sight().namespaced(),
                guests,
                PathsCheck.all(host, memory),
                hostIrqs(host),
                counters);
    }

    private static List<String> inhibits(
            HostFacts host, VmProcess process, PostingHost posting, Map<Integer, List<String>> all) {
        List<List<String>> seen = all.entrySet().stream()
                .filter(entry -> VcpuThreads.has(host, process.pid(), entry.getKey()))
                .map(Map.Entry::getValue)
                .toList();
        Stream<String> names = seen.isEmpty()
                ? VmmOptions.inhibits(process, posting, host.kvm().nests().orElse(false), host.kernel()).stream()
                        .filter(Inhibit::isCertain)
                        .map(Inhibit::name)
                : seen.stream().flatMap(List::stream).map(reason -> reason.toLowerCase(Locale.ROOT));
        return names.distinct().filter(reason -> !reason.equals(MOMENTARY)).toList();
    }

    /** Vectors whose eventfds were taken away keep their counts until the driver disables MSI-X: a total may not fall. */
    private static SortedMap<PciAddress, Long> hostIrqs(HostFacts host) {
        Map<HostIrq, Long> counts = new HashMap<>();
        host.interrupts()
                .map(HostInterrupts::rows)
                .orElse(List.of())
                .forEach(row -> counts.put(row.irq(), row.count()));
        TreeMap<PciAddress, Long> sums = new TreeMap<>();
        for (ArmedVector vector : host.armed()) {
            sums.computeIfAbsent(vector.address(), device -> {
                List<HostIrq> messages =
                        host.pci(device).map(PciDevice::messageIrqs).orElse(List.of());
                if (!messages.contains(vector.irq())) {
                    return host.armed(device).stream()
                            .mapToLong(ArmedVector::count)
                            .sum();
                }
                return messages.stream()
                        .mapToLong(irq -> counts.getOrDefault(irq, 0L))
                        .sum();
            });
        }
        return sums;
    }

    /** The first broken link of a path, or else its worst one in doubt. */
    public static Optional<Link> flaw(InterruptPath path) {
        return path.firstBroken().or(() -> Severity.doubt(path));
    }

    /** A flaw in one line, with its hop. */
    public static String text(Link flaw) {
        return flaw.hop().label() + " " + flaw.state().label() + ": " + flaw.text();
    }

    /**
     * A flaw, with what it is about.
     *
     * @param guest empty for a flaw of the host, or if the guest is not known
     * @param device empty for a flaw of a guest, its helpers or the host
     */
    public record Told(Optional<InterruptPath.Guest> guest, Optional<DeviceName> device, Hop<?> hop, Flaw flaw) {}

    /** The flaws of some paths, each once for what it is about. */
    public static List<Told> flaws(List<InterruptPath> paths) {
        return paths.stream()
                .flatMap(path -> path.links().stream()
                        .flatMap(link -> link.flaws().stream().map(flaw -> told(path, link.hop(), flaw))))
                .distinct()
                .toList();
    }

    private static Told told(InterruptPath path, Hop<?> hop, Flaw flaw) {
        boolean isOfDevice = flaw.subject() == Flaw.Subject.VECTOR || flaw.subject() == Flaw.Subject.DEVICE;
        return new Told(
                flaw.subject() == Flaw.Subject.HOST ? Optional.empty() : path.guest(),
                path.interrupt().map(Interrupt::device).filter(name -> isOfDevice),
                hop,
                flaw);
    }

    /** A path with a delay of the past, which is no flaw of now. */
    public static Optional<Link> slowed(InterruptPath path) {
        return path.links().stream()
                .filter(link -> link.flaws().stream().anyMatch(Flaw::isPastDelay))
                .findFirst();
    }

    /** The first delay of the past of some paths as a clause after a semicolon; empty if they have none. */
    public static String slowedClause(List<InterruptPath> paths) {
        return paths.stream()
                .flatMap(path -> path.links().stream())
                .flatMap(link -> link.flaws().stream())
                .filter(Flaw::isPastDelay)
                .map(flaw -> "; slow at times: " + flaw.text())
                .findFirst()
                .orElse("");
    }

    /** Whether VFIO has armed the vector of a path. */
    public static boolean isArmed(InterruptPath path) {
        return path.link(Hop.DEVICE_VECTOR)
                .filter(link -> link.state() == Link.State.WHOLE)
                .isPresent();
    }
}
