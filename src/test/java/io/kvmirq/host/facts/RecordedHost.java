/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.screens.Archive;
import io.kvmirq.diag.screens.Capture;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The files of a host, from a resource. Each line is a path and {@code = text}, {@code -> target of a link}, {@code |
 * line of a longer text} or {@code : length and first bytes in hex}. Lines that begin with {@code observed} are what
 * VFIO reported of a device there: kind, count, flags.
 */
public final class RecordedHost {
    /** The hosts that are recorded. */
    public static final List<String> NAMES = List.of("amd-6.1", "intel-6.1", "amd-6.12", "arm64-6.12", "amd-7.1");

    /** The answer of VFIO for an index. Without a count it was EINVAL. */
    public record Observed(PciAddress address, String kind, int count, int flags) {}

    private final TreeMap<String, byte[]> files = new TreeMap<>();
    private final TreeMap<String, String> links = new TreeMap<>();
    private final TreeSet<String> denied = new TreeSet<>();
    private final TreeMap<String, HostFiles.Owner> owners = new TreeMap<>();
    private final List<Observed> observed = new ArrayList<>();

    /** An empty host. */
    public RecordedHost() {}

    /** A copy, which changes alone. */
    public RecordedHost(RecordedHost other) {
        files.putAll(other.files);
        links.putAll(other.links);
        denied.addAll(other.denied);
        owners.putAll(other.owners);
        observed.addAll(other.observed);
    }

    /** The host of this name. */
    public static RecordedHost of(String name) throws IOException {
        RecordedHost host = new RecordedHost();
        try (InputStream in = Objects.requireNonNull(RecordedHost.class.getResourceAsStream(name + ".host"), name)) {
            new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().forEach(host::read);
        }
        return host;
    }

    private void read(String line) {
        String[] words = line.split(" ", 3);
        String rest = words.length > 2 ? words[2] : "";
        if (words[0].equals("observed")) {
            String[] answer = rest.split(" ");
            observed.add(new Observed(
                    PciAddress.parse(words[1]), answer[0], Integer.parseInt(answer[1]), Integer.decode(answer[2])));
        } else if (!words[0].equals("#")) {
            switch (words[1]) {
                case "=" -> put(words[0], rest + "\n");
                case "->" -> link(words[0], rest);
                case "|" -> append(words[0], rest + "\n");
                case ":" -> {
                    String[] bytes = rest.split(" ");
                    files.put(words[0], Arrays.copyOf(HexFormat.of().parseHex(bytes[1]), Integer.parseInt(bytes[0])));
                }
                default -> throw new IllegalArgumentException(line);
            }
        }
    }

    /** Sets the text of a file. */
    public RecordedHost put(String path, String text) {
        files.put(path, text.getBytes(StandardCharsets.UTF_8));
        return this;
    }

    /** Sets the bytes of a file. */
    public RecordedHost putBytes(String path, byte[] bytes) {
        files.put(path, bytes);
        return this;
    }

    /** Sets a link. */
    public RecordedHost link(String path, String target) {
        links.put(path, target);
        return this;
    }

    private void append(String path, String text) {
        String before = new String(files.getOrDefault(path, new byte[0]), StandardCharsets.UTF_8);
        put(path, before + text);
    }

    /** Copies all files and links whose path begins so to another beginning. */
    public RecordedHost copy(String prefix, String other) {
        copy(files, prefix, other);
        copy(links, prefix, other);
        return this;
    }

    private static <T> void copy(TreeMap<String, T> all, String prefix, String other) {
        Map.copyOf(all.subMap(prefix, prefix + Character.MAX_VALUE))
                .forEach((path, content) -> all.put(other + path.substring(prefix.length()), content));
    }

    /** Removes all files and links whose path begins so. */
    public RecordedHost remove(String prefix) {
        files.keySet().removeIf(path -> path.startsWith(prefix));
        links.keySet().removeIf(path -> path.startsWith(prefix));
        return this;
    }

    /** Removes the rows of interrupts that VFIO armed: the hosts were recorded while programs had devices open. */
    public RecordedHost closed() {
        String rows = new String(files.getOrDefault("proc/interrupts", new byte[0]), StandardCharsets.UTF_8);
        return put("proc/interrupts", rows.replaceAll("\n.*vfio-.*", ""));
    }

    /** Removes the IOMMUs and the groups, the chips of interrupts that they remap, and what VFIO armed by them. */
    public RecordedHost withoutIommu() {
        String rows = new String(closed().files.getOrDefault("proc/interrupts", new byte[0]), StandardCharsets.UTF_8);
        links.keySet().removeIf(path -> path.endsWith("/iommu_group"));
        return remove("sys/class/iommu")
                .remove("sys/kernel/iommu_groups")
                .put("proc/interrupts", rows.replace("IR-", ""));
    }

    /** Leaves the first bytes of a file, as the kernel shows them to other users than root. */
    public RecordedHost cut(String path, int length) {
        files.computeIfPresent(path, (same, bytes) -> Arrays.copyOf(bytes, length));
        return this;
    }

    /** Makes a file or directory one that exists and may not be read. Only {@link #tree} shows that. */
    public RecordedHost deny(String path) {
        files.remove(path);
        links.remove(path);
        remove(path + "/");
        denied.add(path);
        return this;
    }

    /** Sets who may use a file. Only {@link #tree} shows that. */
    public RecordedHost own(String path, HostFiles.Owner owner) {
        owners.put(path, owner);
        return this;
    }

    /** The answers of VFIO on that host. */
    public List<Observed> observed() {
        return observed;
    }

    /** The files in memory. */
    public HostFiles tree() {
        return HostFiles.of(files, links, denied, owners);
    }

    /** Writes a capture of all files: one file takes a hundredth of the time of many. */
    public Path archive(Path directory) throws IOException {
        Path archive = Files.createTempFile(directory, "host", ".zip");
        try (OutputStream out = Files.newOutputStream(archive)) {
            Archive.write(new Capture(false, files, links, denied, owners), out);
        }
        return archive;
    }

    private static Path within(Set<Path> made, Path path) throws IOException {
        if (made.add(path.getParent())) {
            Files.createDirectories(path.getParent());
        }
        return path;
    }

    /** Writes the files below a directory. */
    public HostFiles writeTo(Path directory) throws IOException {
        Set<Path> made = new HashSet<>();
        for (Map.Entry<String, byte[]> file : files.entrySet()) {
            Files.write(within(made, directory.resolve(file.getKey())), file.getValue());
        }
        for (Map.Entry<String, String> link : links.entrySet()) {
            Files.createSymbolicLink(within(made, directory.resolve(link.getKey())), Path.of(link.getValue()));
        }
        return HostFiles.at(directory);
    }
}
