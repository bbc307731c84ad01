/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * Read-only access to a host's files. Paths such as {@code sys/bus/pci/devices} are relative to the host's root. An
 * unreadable file counts as absent. Thread-safe.
 */
@NotPromised
public interface HostFiles {
    /** The size in bytes of the longest text file that {@link #text} reads. */
    int LONGEST_TEXT = 1 << 25;

    /** This process's access to a file. */
    enum Access {
        /** The file does not exist. */
        ABSENT,
        /** This process lacks the permission to read the file, or to write it. */
        DENIED,
        /** This process may read and write the file. */
        ALLOWED
    }

    /** Whether a file, link or directory can be read. */
    enum Reading {
        /** The file, link or directory does not exist. */
        ABSENT,
        /** The file exists, but this process lacks the permission to read it. */
        DENIED,
        /** This process can read the file. */
        READABLE
    }

    /**
     * A file's owner and permissions.
     *
     * @param mode the permission bits as in chmod(1), such as 0644
     * @param user the owner's user id
     * @param group the file's group id
     */
    record Owner(int mode, int user, int group) {}

    /** A file's bytes from its start, at most {@code max}. */
    Optional<byte[]> bytes(String path, int max);

    /** Opens a file of any length for reading piece by piece. The caller closes the stream. */
    default Optional<InputStream> open(String path) {
        Objects.requireNonNull(path, "path is null");
        return bytes(path, Integer.MAX_VALUE).map(ByteArrayInputStream::new);
    }

    /** A file that stays open for repeated reads. Not thread-safe. */
    interface Kept extends AutoCloseable {
        /**
         * Reads bytes at a position in the file.
         *
         * @return the number of bytes read, or 0 or less at the end or if the file has become unreadable
         */
        int read(ByteBuffer to, long position);

        @Override
        void close();
    }

    /** Opens a file for repeated reads. By default, they return the file's bytes at the time of this call. */
    default Optional<Kept> keep(String path) {
        Objects.requireNonNull(path, "path is null");
        return bytes(path, Integer.MAX_VALUE).map(bytes -> new Kept() {
            @Override
            public int read(ByteBuffer to, long position) {
                int count = (int) Math.min(to.remaining(), bytes.length - position);
                to.put(bytes, (int) position, Math.max(0, count));
                return count;
            }

            @Override
            public void close() {
                // The bytes are in memory.
            }
        });
    }

    /** The target of a symbolic link, exactly as stored in the link. */
    Optional<String> link(String path);

    /** The sorted names in a directory. Empty if the directory does not exist or cannot be read. */
    List<String> list(String path);

    /** Checks, without opening the file, whether this process may read and write it. */
    Access access(String path);

    /** A file's owner and permissions. Empty if the file does not exist, or if the files were copied without owners. */
    default Optional<Owner> owner(String path) {
        Objects.requireNonNull(path, "path is null");
        return Optional.empty();
    }

    /** Whether a file or directory is readable by this process, not readable, or absent. */
    default Reading reading(String path) {
        Objects.requireNonNull(path, "path is null");
        if (bytes(path, 1).isPresent() || link(path).isPresent() || !list(path).isEmpty()) {
            return Reading.READABLE;
        }
        return access(path) == Access.ABSENT ? Reading.ABSENT : Reading.DENIED;
    }

    /**
     * A file's text without trailing whitespace. The text ends at the first zero byte, because archives may pad sysfs
     * files with zeros. Empty if the text is longer than {@link #LONGEST_TEXT}.
     */
    default Optional<String> text(String path) {
        Objects.requireNonNull(path, "path is null");
        Optional<byte[]> bytes = bytes(path, LONGEST_TEXT + 1);
        if (bytes.isEmpty() || bytes.get().length > LONGEST_TEXT) {
            return Optional.empty();
        }
        String text = new String(bytes.get(), StandardCharsets.UTF_8);
        int end = text.indexOf('\0');
        return Optional.of((end < 0 ? text : text.substring(0, end)).stripTrailing());
    }

    /**
     * The first number on the line that begins with {@code name}, in a text such as /proc/self/status. Empty if there
     * is no such line, or if it has a word such as {@code unlimited} instead of a number.
     */
    default OptionalLong number(String path, String name) {
        Objects.requireNonNull(path, "path is null");
        Objects.requireNonNull(name, "name is null");
        return text(path).stream()
                .flatMap(String::lines)
                .filter(line -> line.startsWith(name))
                .map(line -> line.substring(name.length()).strip().split("\\s+")[0])
                .filter(word -> word.matches("\\d{1,18}"))
                .mapToLong(Long::parseLong)
                .findFirst();
    }

    /**
     * The last path element of a symbolic link's target, such as the driver, group or device that a sysfs link names.
     */
    default Optional<String> linkName(String path) {
        Objects.requireNonNull(path, "path is null");
        Optional<String> target = link(path);
        return target.isEmpty()
                ? target
                : Optional.of(target.get().substring(target.get().lastIndexOf('/') + 1));
    }

    /**
     * Files below {@code root}, which is {@code /} or a copy of another machine's files. Symbolic links are followed
     * only within this directory, and only regular files are read.
     */
    static HostFiles at(Path root) {
        Objects.requireNonNull(root, "root is null");
        return new DirectoryFiles(root);
    }

    /**
     * Files in memory.
     *
     * @param files each file's contents, by path
     * @param links each symbolic link's target, by path. Links are not followed
     */
    static HostFiles of(Map<String, byte[]> files, Map<String, String> links) {
        return of(files, links, Set.of());
    }

    /**
     * Files in memory, with the read permissions of the process that copied them.
     *
     * @param denied the files and directories that the process could not read
     */
    static HostFiles of(Map<String, byte[]> files, Map<String, String> links, Set<String> denied) {
        return of(files, links, denied, Map.of());
    }

    /**
     * Files in memory, with their owners.
     *
     * @param owners each file's owner and permissions, by path
     */
    static HostFiles of(
            Map<String, byte[]> files, Map<String, String> links, Set<String> denied, Map<String, Owner> owners) {
        Objects.requireNonNull(files, "files is null");
        Objects.requireNonNull(links, "links is null");
        Objects.requireNonNull(denied, "denied is null");
        Objects.requireNonNull(owners, "owners is null");
        return new MemoryFiles(files, links, denied, owners);
    }
}
