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
import io.kvmirq.text.Foreign;
import java.io.BufferedOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.attribute.FileTime;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
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
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;
import org.jspecify.annotations.Nullable;

/**
 * The files of a host that an analysis reads, for analysis on another machine. An archive is a zip file: {@code
 * kvmirq.capture} names its form, {@code links}, {@code denied} and {@code owners} have a line for each, and {@code
 * files/} has the rest with their paths. Immutable.
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
    /** The first line of an archive's form. */
    public static final String FORM = "kvmirq.capture/1";

    /** The most that an archive may hold, in bytes after decompression. */
    public static final long MOST_BYTES = 256L << 20;

    private static final Pattern NEWER = Pattern.compile("kvmirq\\.capture/\\d{1,9}(\n|$)");
    private static final int MOST_FILES = 1_000_000;
    private static final String FILES = "files/";
    private static final String HEAD = "kvmirq.capture";
    private static final String DAMAGED = "it is damaged or incomplete: copy it again";
    /** systemd writes a dash in the name of a guest's control group as {@code \x2d}. */
    private static final Pattern PATH =
            Pattern.compile("(?!.*(^|/)\\.{0,2}([/\\\\]|$))(?:[^\\p{Cntrl}\\\\]|\\\\x[0-9a-f]{2}){1,4096}");

    private static final Pattern KEPT_LINK =
            Pattern.compile("anon_inode:.{0,200}|/dev/kvm|/dev/iommu|/dev/(vfio/|vhost-).{0,200}");
    private static final Pattern KEPT_NODE =
            Pattern.compile("dev/(kvm|iommu|null|vhost-net|vhost-vsock|net(/tun)?|vfio(/.*)?)");
    private static final Pattern DESCRIPTOR = Pattern.compile("(proc/\\d+/)(?:task/\\d+/)?fd/\\d+");
    private static final Pattern OWNER = Pattern.compile("([0-7]{1,4}) (\\d{1,9}) (\\d{1,9})");
    /** The names in listings that no analysis reads. */
    private static final Pattern UNREAD = Pattern.compile(
            "proc/(?!modules$|\\d)[^/]*|sys/kernel/tracing/instances/(?!kvmirq-)[^/]*|sys/module/(?!kvm|vfio|iommufd$|[^/]*_vfio)[^/]*");

    private static final Pattern PROCESS = Pattern.compile("(proc/\\d+)(/.*)?");
    private static final Pattern STAT = Pattern.compile("proc/\\d+/stat");
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
    public static Capture of(HostFiles host, Consumer<HostFiles> analysis, boolean redact) {
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
            if (isKept(path, guests)) {
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
        OtherNames.of(host);
        HostFacts facts = new HostFacts(host);
        facts.kernel();
        facts.bootId();
        facts.iommus();
        facts.posting().gicv4();
        facts.vms();
        Guests guests = Guests.of(facts);
        guests.all().forEach(guest -> {
            VmmCheck.of(facts, guest.process());
            VmmCheck.ofHelpers(facts, guest.process(), guest.workers());
        });
        PostingOutlook.of(facts);
        Doctor.examine(facts, EnumSet.complementOf(EnumSet.of(Check.BACKENDS)));
        Listing.of(facts, address -> true);
        for (PciAddress address : facts.pciAddresses()) {
            facts.pci(address).ifPresent(device -> {
                VfioOutlook.of(facts, device);
                DeviceChains.of(facts, device);
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

    /** Writes the archive. The same capture gives the same bytes. */
    public void write(OutputStream out) throws IOException {
        SortedMap<String, byte[]> entries = new TreeMap<>();
        StringBuilder lines = new StringBuilder();
        links.forEach(
                (path, target) -> lines.append(path).append('\t').append(target).append('\n'));
        entries.put("links", bytes(lines.toString()));
        entries.put("denied", bytes(String.join("\n", denied)));
        StringBuilder modes = new StringBuilder();
        owners.forEach((path, owner) ->
                modes.append(path).append('\t').append(text(owner)).append('\n'));
        entries.put("owners", bytes(modes.toString()));
        files.forEach((path, content) -> entries.put(FILES + path, content));
        // A zip file is written in pieces of a few bytes.
        BufferedOutputStream buffer = new BufferedOutputStream(out);
        ZipOutputStream zip = new ZipOutputStream(buffer, StandardCharsets.UTF_8);
        put(zip, HEAD, bytes(FORM + "\nredacted=" + redacted + "\n" + sum(entries)));
        for (Map.Entry<String, byte[]> entry : entries.entrySet()) {
            put(zip, entry.getKey(), entry.getValue());
        }
        zip.finish();
        buffer.flush();
    }

    /** As {@code stat -c '%a %u %g'} prints it. */
    static String text(Owner owner) {
        return Integer.toOctalString(owner.mode()) + " " + owner.user() + " " + owner.group();
    }

    /**
     * A checksum of all entries except the head, because a zip file that is cut between two entries reads like a
     * complete one.
     */
    private static String sum(SortedMap<String, byte[]> entries) {
        CRC32 sum = new CRC32();
        entries.forEach((name, content) -> {
            sum.update(bytes(name + "\0" + content.length + "\0"));
            sum.update(content);
        });
        return "entries=" + entries.size() + " crc32=" + Long.toHexString(sum.getValue()) + "\n";
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static @Nullable ZipEntry next(ZipInputStream zip) throws IOException {
        try {
            return zip.getNextEntry();
        } catch (IllegalArgumentException e) { // of a name that is no UTF-8
            throw new ZipException(e.getMessage());
        }
    }

    private static void put(ZipOutputStream zip, String name, byte[] content) throws IOException {
        ZipEntry entry = new ZipEntry(name);
        entry.setLastModifiedTime(FileTime.fromMillis(0));
        zip.putNextEntry(entry);
        zip.write(content);
        zip.closeEntry();
    }

    /**
     * Reads an archive. The archive is not trusted: no file is unpacked to a disk, and an archive is refused if it has
     * more than {@link #MOST_BYTES}, or a path that leads elsewhere.
     *
     * @throws IllegalArgumentException if it is no capture; the message says why
     */
    public static Capture read(InputStream in) throws IOException {
        SortedMap<String, byte[]> entries = new TreeMap<>();
        try (ZipInputStream zip = new ZipInputStream(in, StandardCharsets.UTF_8)) {
            long left = MOST_BYTES;
            for (ZipEntry entry = next(zip); entry != null; entry = next(zip)) {
                String name = entry.getName();
                check(name);
                byte[] content = zip.readNBytes((int) Math.min(left + 1, Integer.MAX_VALUE - 8));
                left -= content.length;
                if (left < 0 || entries.size() == MOST_FILES) {
                    throw new IllegalArgumentException(
                            "it holds more than " + (MOST_BYTES >> 20) + " MiB, or " + MOST_FILES + " files");
                }
                if (entries.put(name, content) != null) {
                    throw new IllegalArgumentException("it has two files named " + Foreign.quoted(name));
                }
            }
        } catch (ZipException | EOFException e) {
            throw new IllegalArgumentException(DAMAGED, e);
        }
        String head = text(entries, HEAD);
        if (!head.startsWith(FORM + "\n")) {
            int end = head.indexOf('\n');
            throw new IllegalArgumentException(
                    NEWER.matcher(head).lookingAt()
                            ? "it has the form " + Foreign.printable(head.substring(0, end < 0 ? head.length() : end))
                                    + ", and this kvmirq reads " + FORM
                                    + ": read it with the kvmirq that wrote it, or a newer one"
                            : "it is not an archive of kvmirq capture, form " + FORM);
        }
        SortedMap<String, byte[]> rest = new TreeMap<>(entries);
        rest.remove(HEAD);
        text(entries, "denied").lines().forEach(Capture::check);
        for (String list : List.of("links", "owners")) {
            text(entries, list).lines().forEach(line -> check(line.split("\t", 2)[0]));
        }
        if (!head.endsWith("\n" + sum(rest))) {
            throw new IllegalArgumentException(DAMAGED);
        }
        SortedMap<String, byte[]> files = new TreeMap<>();
        entries.tailMap(FILES).forEach((name, content) -> {
            if (name.startsWith(FILES)) {
                files.put(name.substring(FILES.length()), content);
            }
        });
        SortedMap<String, Owner> owners = new TreeMap<>();
        pairs(entries, "owners").forEach((path, text) -> {
            Matcher owner = OWNER.matcher(text);
            if (owner.matches()) {
                owners.put(
                        path,
                        new Owner(
                                Integer.parseInt(owner.group(1), 8),
                                Integer.parseInt(owner.group(2)),
                                Integer.parseInt(owner.group(3))));
            }
        });
        SortedSet<String> denied = new TreeSet<>(text(entries, "denied").lines().toList());
        return new Capture(head.contains("\nredacted=true\n"), files, pairs(entries, "links"), denied, owners);
    }

    /** Lines of a path, a tab and a text. */
    private static SortedMap<String, String> pairs(Map<String, byte[]> entries, String name) {
        SortedMap<String, String> pairs = new TreeMap<>();
        text(entries, name).lines().forEach(line -> {
            int tab = line.indexOf('\t');
            if (tab > 0) {
                pairs.put(line.substring(0, tab), line.substring(tab + 1));
            }
        });
        return pairs;
    }

    private static void check(String path) {
        if (!PATH.matcher(path).matches()) {
            throw new IllegalArgumentException("it has a path that leads elsewhere, " + Foreign.quoted(path));
        }
    }

    private static String text(Map<String, byte[]> entries, String name) {
        return new String(entries.getOrDefault(name, new byte[0]), StandardCharsets.UTF_8);
    }
}
