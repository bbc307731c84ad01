/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.HostFiles.Owner;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.rules.VmmCheck;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.KernelHelpers;
import io.kvmirq.diag.sources.OtherNames;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.host.facts.ReadOnce;
import io.kvmirq.host.facts.ThreadStat;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Host files that an analysis reads, to use on another machine; {@link Archive} has them in one file. Immutable.
 *
 * @param redacted whether names and addresses were removed
 * @param files the content of each file, by its path
 * @param links the target of each symbolic link, by its path
 * @param denied the files and directories that could not be read
 * @param owners mode and owner of a file, by its path; only of files where they matter
 */
public record Capture(
        boolean redacted,
        SortedMap<String, byte[]> files,
        SortedMap<String, String> links,
        SortedSet<String> denied,
        SortedMap<String, Owner> owners) {
    /** systemd writes a dash in the name of a guest's control group as {@code \x2d}. */
    static final Pattern PATH =
            Pattern.compile("(?!.*(^|/)\\.{0,2}([/\\\\]|$))(?:[^\\p{Cntrl}\\\\]|\\\\x[0-9a-f]{2}){1,4096}");

    private static final Pattern KEPT_LINK =
            Pattern.compile("anon_inode:.{0,200}|/dev/kvm|/dev/iommu|/dev/(vfio/|vhost-).{0,200}");
    private static final Pattern KEPT_NODE =
            Pattern.compile("dev/(kvm|iommu|null|vhost-net|vhost-vsock|net(/tun)?|vfio(/.*)?)");
    private static final Pattern DESCRIPTOR = Pattern.compile("(proc/\\d+/)(?:task/\\d+/)?fd/\\d+");
    /** The names in listings that no analysis reads. */
    private static final Pattern UNREAD = Pattern.compile(
            "proc/(?!modules$|\\d)[^/]*|sys/kernel/tracing/instances/(?!kvmirq-)[^/]*|sys/module/(?!kvm|vfio|iommufd$|[^/]*_vfio)[^/]*");

    private static final Pattern PROCESS = Pattern.compile("(proc/\\d+)(/.*)?");
    private static final Pattern STAT = Pattern.compile("proc/\\d+/stat");
    /** A thread that runs may keep the CPU of a vCPU busy. */
    private static final Pattern TASK = Pattern.compile("proc/\\d+/task/\\d+/stat");

    private static final Pattern TRACER = Pattern.compile("\\bTracerPid:\\s+([1-9]\\d{0,8})\\b");
    private static final Pattern EVENTFD = Pattern.compile("(?m)^eventfd-id:\\s*(\\d{1,9})$");
    private static final Pattern RUNS = Pattern.compile("\\) R [^)]*$");
    /** Files that are read of kernel threads, which have no descriptors. */
    private static final Set<String> OF_HELPERS = Set.of("/stat", "/status", "/wchan", "/schedstat");

    public Capture {
        files = Collections.unmodifiableSortedMap(new TreeMap<>(files));
        links = Collections.unmodifiableSortedMap(new TreeMap<>(links));
        denied = Collections.unmodifiableSortedSet(new TreeSet<>(denied));
        owners = Collections.unmodifiableSortedMap(new TreeMap<>(owners));
    }

    /**
     * Runs an analysis and keeps the files that it read. Of processes, only those that hold a VM or a file of VFIO are
     * kept.
     *
     * @param redact whether to take out names and addresses
     */
    public static Capture take(HostFiles host, Consumer<HostFiles> analysis, boolean redact) {
        ReadOnce read = new ReadOnce(host);
        analysis.accept(read);
        ReadOnce.Seen seen = read.seen();
        SortedSet<String> guests = new TreeSet<>();
        seen.links().forEach((path, target) -> {
            Matcher descriptor = DESCRIPTOR.matcher(path);
            if (descriptor.matches() && (target.equals("anon_inode:kvm-vm") || target.startsWith("/dev/vfio/"))) {
                guests.add(descriptor.group(1));
            }
        });
        // Processes with unreadable descriptors are kept, because an analysis reports them.
        seen.denied().forEach(path -> {
            if (path.endsWith("/fd")) {
                guests.add(path.substring(0, path.length() - "fd".length()));
            }
        });
        guests.addAll(backEnds(seen.files(), guests));
        SortedMap<String, byte[]> files = new TreeMap<>();
        seen.files().forEach((path, bytes) -> {
            boolean runs = TASK.matcher(path).matches()
                    && RUNS.matcher(new String(bytes, StandardCharsets.UTF_8)).find();
            if (runs || isKept(path, guests)) {
                files.put(path, bytes);
            }
        });
        seen.names().forEach(path -> {
            boolean directory = isParent(path, seen.files())
                    || isParent(path, seen.links())
                    || seen.names().tailSet(path + "/").stream()
                            .findFirst()
                            .filter(next -> next.startsWith(path + "/"))
                            .isPresent();
            if (!directory && isKept(path, guests) && !UNREAD.matcher(path).matches()) {
                files.put(path, new byte[0]);
            }
        });
        guests.addAll(tracers(files));
        // Most processes were read only for their names.
        files.entrySet()
                .removeIf(file -> STAT.matcher(file.getKey()).matches()
                        && !isKept(file.getKey(), guests, seen.names(), file.getValue()));
        SortedMap<String, String> links = new TreeMap<>();
        seen.links().forEach((path, target) -> {
            boolean descriptor = DESCRIPTOR.matcher(path).matches();
            if (isKept(path, guests)
                    && (!descriptor || KEPT_LINK.matcher(target).matches())) {
                links.put(path, target);
            }
        });
        SortedSet<String> denied = new TreeSet<>(seen.denied());
        denied.removeIf(path -> !PATH.matcher(path).matches());
        Capture whole = new Capture(false, files, links, denied, seen.owners());
        return redact ? whole.redact() : whole;
    }

    /** The same without names and addresses. */
    public Capture redact() {
        return redacted ? this : new Redaction(this).of(this);
    }

    /** Reads all that the commands read of a host: everything that an archive is for. */
    public static void analysis(HostFiles host) {
        OtherNames.read(host);
        HostFacts facts = new HostFacts(host);
        facts.kernel();
        facts.bootId();
        facts.iommus();
        facts.posting().gicv4();
        facts.vms();
        Guests guests = Guests.find(facts);
        guests.all().forEach(guest -> {
            VmmCheck.run(facts, guest.process());
            VmmCheck.ofHelpers(facts, guest.process(), guest.workers());
        });
        PostingOutlook.fromHost(facts);
        Doctor.examine(facts, EnumSet.complementOf(EnumSet.of(Check.BACKENDS)));
        Listing.read(facts, address -> true);
        for (PciAddress address : facts.pciAddresses()) {
            facts.pci(address).ifPresent(device -> {
                VfioOutlook.read(facts, device);
                DeviceChains.read(facts, device);
                facts.uses(address);
            });
        }
    }

    private static boolean isParent(String path, SortedMap<String, ?> all) {
        SortedMap<String, ?> next = all.tailMap(path + "/");
        return !next.isEmpty() && next.firstKey().startsWith(path + "/");
    }

    /** The processes that share an eventfd with one of these. */
    private static Set<String> backEnds(SortedMap<String, byte[]> files, SortedSet<String> guests) {
        Map<String, Set<String>> processes = new HashMap<>();
        files.forEach((path, content) -> {
            Matcher id = EVENTFD.matcher(path.contains("/fdinfo/") ? new String(content, StandardCharsets.UTF_8) : "");
            if (id.find()) {
                processes
                        .computeIfAbsent(id.group(1), same -> new HashSet<>())
                        .add(path.substring(0, path.indexOf("fdinfo/")));
            }
        });
        return processes.values().stream()
                .filter(sharing -> !Collections.disjoint(sharing, guests))
                .flatMap(Set::stream)
                .collect(Collectors.toSet());
    }

    /** The processes that trace a thread whose status was read. */
    private static SortedSet<String> tracers(SortedMap<String, byte[]> files) {
        SortedSet<String> tracers = new TreeSet<>();
        files.forEach((path, content) -> {
            Matcher tracer =
                    TRACER.matcher(path.endsWith("/status") ? new String(content, StandardCharsets.UTF_8) : "");
            if (tracer.find()) {
                tracers.add("proc/" + tracer.group(1) + "/");
            }
        });
        return tracers;
    }

    /**
     * Whether a process is kept: a VMM, its tracer or helper, the handler of an irq, a kvmirq that watched, a process
     * in exit, or a running process, which may keep the CPU of a vCPU busy.
     */
    private static boolean isKept(String path, SortedSet<String> guests, SortedSet<String> names, byte[] stat) {
        String process = path.substring(0, path.length() - "stat".length());
        String watch = "/kvmirq-" + process.substring("proc/".length(), process.length() - 1) + "-";
        return guests.contains(process)
                || RUNS.matcher(new String(stat, StandardCharsets.UTF_8)).find()
                || ThreadStat.parse(new String(stat, StandardCharsets.UTF_8))
                        .filter(ThreadStat::isExiting)
                        .isPresent()
                || KernelHelpers.STAT
                        .matcher(new String(stat, StandardCharsets.UTF_8))
                        .find()
                || names.stream().anyMatch(name -> name.contains(watch));
    }

    private static boolean isKept(String path, SortedSet<String> guests) {
        Matcher process = PROCESS.matcher(path);
        return PATH.matcher(path).matches()
                && (!process.matches()
                        || guests.contains(process.group(1) + "/")
                        || OF_HELPERS.contains(Objects.requireNonNullElse(process.group(2), "")))
                && (!path.startsWith("dev/") || KEPT_NODE.matcher(path).matches());
    }

    /** The files, as a host. */
    public HostFiles tree() {
        return HostFiles.of(files, links, denied, owners);
    }
}
