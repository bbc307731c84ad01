/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.backend.HostFiles.Owner;
import io.kvmirq.text.Foreign;
import java.io.BufferedOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;
import org.jspecify.annotations.Nullable;

/**
 * The archive of a capture, a zip file: {@code kvmirq.capture} names its form, {@code links}, {@code denied} and {@code
 * owners} have a line for each, and {@code files/} has the rest with their paths.
 */
public final class Archive {
    /** The first line of an archive's form. */
    public static final String FORM = "kvmirq.capture/1";

    /** The most that an archive may hold, in bytes after decompression. */
    public static final long MOST_BYTES = 256L << 20;

    private static final Pattern NEWER = Pattern.compile("kvmirq\\.capture/\\d{1,9}(\n|$)");
    private static final int MOST_FILES = 1_000_000;
    private static final String FILES = "files/";
    private static final String HEAD = "kvmirq.capture";
    private static final String DAMAGED = "it is damaged or incomplete: copy it again";
    private static final Pattern OWNER = Pattern.compile("([0-7]{1,4}) (\\d{1,9}) (\\d{1,9})");

    private Archive() {}

    /** Writes a capture. The same capture gives the same bytes. */
    public static void write(Capture capture, OutputStream out) throws IOException {
        SortedMap<String, byte[]> entries = new TreeMap<>();
        StringBuilder lines = new StringBuilder();
        capture.links()
                .forEach((path, target) ->
                        lines.append(path).append('\t').append(target).append('\n'));
        entries.put("links", bytes(lines.toString()));
        entries.put("denied", bytes(String.join("\n", capture.denied())));
        StringBuilder modes = new StringBuilder();
        capture.owners()
                .forEach((path, owner) ->
                        modes.append(path).append('\t').append(text(owner)).append('\n'));
        entries.put("owners", bytes(modes.toString()));
        capture.files().forEach((path, content) -> entries.put(FILES + path, content));
        // A zip file is written in pieces of a few bytes.
        BufferedOutputStream buffer = new BufferedOutputStream(out);
        ZipOutputStream zip = new ZipOutputStream(buffer, StandardCharsets.UTF_8);
        put(zip, HEAD, bytes(FORM + "\nredacted=" + capture.redacted() + "\n" + sum(entries)));
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
     * more than {@link #MOST_BYTES}, or a path that leads out of the archive.
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
                            ? "it has the format " + Foreign.printable(head.substring(0, end < 0 ? head.length() : end))
                                    + ", but this kvmirq reads " + FORM
                                    + ": read it with the kvmirq that wrote it, or a newer one"
                            : "it is not a kvmirq capture archive, format " + FORM);
        }
        SortedMap<String, byte[]> rest = new TreeMap<>(entries);
        rest.remove(HEAD);
        text(entries, "denied").lines().forEach(Archive::check);
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
        if (!Capture.PATH.matcher(path).matches()) {
            throw new IllegalArgumentException("it has a path that leads out of the archive, " + Foreign.quoted(path));
        }
    }

    private static String text(Map<String, byte[]> entries, String name) {
        return new String(entries.getOrDefault(name, new byte[0]), StandardCharsets.UTF_8);
    }
}
