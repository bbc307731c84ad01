/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The files of a host for one command. Each file is read once, and every request is remembered, so a capture holds
 * exactly the files that an analysis reads. Files larger than {@value #LARGE} bytes are not kept in memory; they are
 * read again. Thread-safe.
 */
public final class ReadOnce implements HostFiles {
    private static final int LARGE = 1 << 20;

    /** The first bytes of a file, at most {@code max}. */
    private static final class Content {
        /** Null if the file is too large to be kept. */
        final byte @Nullable [] bytes;

        final int max;

        Content(byte @Nullable [] bytes, int max) {
            this.bytes = bytes;
            this.max = max;
        }
    }

    /**
     * The files that were read.
     *
     * @param files the bytes of each file that were asked for
     * @param links the target of each symbolic link
     * @param names files and directories that were only seen as names in a listing
     * @param denied files and directories that may not be read
     * @param owners mode and owner of files
     */
    public record Seen(
            SortedMap<String, byte[]> files,
            SortedMap<String, String> links,
            SortedSet<String> names,
            SortedSet<String> denied,
            SortedMap<String, Owner> owners) {}

    private final HostFiles tree;
    private final Map<String, Optional<Content>> contents = new ConcurrentHashMap<>();
    private final Map<String, Optional<String>> links = new ConcurrentHashMap<>();
    private final Map<String, List<String>> lists = new ConcurrentHashMap<>();
    private final Map<String, Access> accesses = new ConcurrentHashMap<>();
    private final Map<String, Optional<Owner>> owners = new ConcurrentHashMap<>();
    private final Map<String, Reading> readings = new ConcurrentHashMap<>();

    /** Looks at the files below. */
    public ReadOnce(HostFiles tree) {
        this.tree = tree;
    }

    @Override
    public Optional<byte[]> bytes(String path, int max) {
        Optional<Content> before = contents.get(path);
        if (before != null && before.isEmpty()) {
            return Optional.empty();
        }
        Content content = before == null ? null : before.get();
        byte[] known = content == null ? null : content.bytes;
        if (content != null && known != null && (known.length >= max || known.length < content.max)) {
            return Optional.of(Arrays.copyOf(known, Math.min(known.length, max)));
        }
        Optional<byte[]> now = tree.bytes(path, max);
        contents.put(path, now.isEmpty() ? Optional.empty() : Optional.of(content(now.get(), max)));
        return now;
    }

    /** Not kept in memory; a capture reads it again. Of the kernel's log it keeps the reports, and only these are read. */
    @Override
    public Optional<InputStream> open(String path) {
        if (path.equals(KernelLog.FILE)) {
            byte[] reports = KernelLog.read(tree).text().getBytes(StandardCharsets.UTF_8);
            if (reports.length == 0) {
                return Optional.empty();
            }
            contents.put(path, Optional.of(new Content(reports, Integer.MAX_VALUE)));
            return Optional.of(new ByteArrayInputStream(reports));
        }
        Optional<InputStream> in = tree.open(path);
        contents.put(path, in.isEmpty() ? Optional.empty() : Optional.of(new Content(null, Integer.MAX_VALUE)));
        return in;
    }

    private static Content content(byte[] bytes, int max) {
        return new Content(bytes.length > LARGE ? null : bytes.clone(), max);
    }

    // Below, not computeIfAbsent: it locks while a file is read. No lambda: short commands start faster without any.

    private static <T> T kept(Map<String, T> answers, String path, T answer) {
        answers.put(path, answer);
        return answer;
    }

    @Override
    public Optional<String> link(String path) {
        Optional<String> known = links.get(path);
        return known == null ? kept(links, path, tree.link(path)) : known;
    }

    @Override
    public List<String> list(String path) {
        List<String> known = lists.get(path);
        return known == null ? kept(lists, path, tree.list(path)) : known;
    }

    @Override
    public Access access(String path) {
        Access known = accesses.get(path);
        return known == null ? kept(accesses, path, tree.access(path)) : known;
    }

    @Override
    public Optional<Owner> owner(String path) {
        Optional<Owner> known = owners.get(path);
        return known == null ? kept(owners, path, tree.owner(path)) : known;
    }

    @Override
    public Reading reading(String path) {
        Reading known = readings.get(path);
        return known == null ? kept(readings, path, tree.reading(path)) : known;
    }

    /** The files read until now. Files that were not kept are read again. */
    public Seen seen() {
        Seen seen = new Seen(new TreeMap<>(), new TreeMap<>(), new TreeSet<>(), new TreeSet<>(), new TreeMap<>());
        contents.forEach((path, content) -> content.flatMap(
                        read -> read.bytes == null ? tree.bytes(path, read.max) : Optional.of(read.bytes))
                .ifPresent(bytes -> seen.files().put(path, bytes)));
        links.forEach((path, link) -> link.ifPresent(target -> seen.links().put(path, target)));
        owners.forEach((path, owner) -> owner.ifPresent(found -> seen.owners().put(path, found)));
        lists.forEach((path, names) -> names.forEach(name -> seen.names().add(path + "/" + name)));
        readings.forEach((path, reading) -> deny(seen, path, reading == Reading.DENIED));
        accesses.forEach((path, access) -> deny(seen, path, access == Access.DENIED));
        accesses.forEach((path, access) -> {
            if (access == Access.ALLOWED) {
                seen.names().add(path);
            }
        });
        seen.names()
                .removeIf(name -> seen.files().containsKey(name)
                        || seen.links().containsKey(name)
                        || seen.denied().contains(name));
        return seen;
    }

    private static void deny(Seen seen, String path, boolean denied) {
        if (denied) {
            seen.denied().add(path);
        }
    }
}
