/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The files behind the descriptors of the recorded process. For one thread at a time; lookups allocate nothing. */
final class RecordedFiles {
    private static final int MOST = 1 << 20;

    private final boolean real;
    /** Writers replace the array, because it is also read without the lock. */
    private volatile @Nullable String[] names = new @Nullable String[64];

    private volatile @Nullable FileKind[] types = new @Nullable FileKind[64];
    private final Map<FileKind, Integer> last = new EnumMap<>(FileKind.class);

    /** @param real whether {@code /proc/self/fd} lists the descriptors */
    RecordedFiles(boolean real) {
        this.real = real;
    }

    /** A new name for an object without a descriptor. */
    String next(FileKind type) {
        return type.label() + "#" + last.merge(type, 1, Integer::sum);
    }

    String made(int fd, FileKind type) {
        String name = next(type);
        put(fd, name, type);
        return name;
    }

    private void put(int fd, @Nullable String name, @Nullable FileKind type) {
        if (fd < 0 || fd >= MOST) {
            return;
        }
        if (fd >= names.length) {
            int length = Math.max(fd + 1, 2 * names.length);
            names = Arrays.copyOf(names, length);
            types = Arrays.copyOf(types, length);
        }
        names[fd] = name;
        types[fd] = type;
    }

    void closed(int fd) {
        if (fd >= 0 && fd < names.length) {
            put(fd, null, null);
        }
    }

    /** @return the name of the file, which both descriptors have */
    @Nullable
    String duplicated(int from, int to) {
        @Nullable String name = find(from);
        put(to, name, type(from));
        return name;
    }

    /** The name of an open file; null if no recorded call opened or used it. */
    @Nullable
    String find(int fd) {
        return fd >= 0 && fd < names.length ? names[fd] : null;
    }

    FileKind type(int fd) {
        @Nullable FileKind type = fd >= 0 && fd < types.length ? types[fd] : null;
        return type == null ? FileKind.NONE : type;
    }

    /** The file of a call. A file that was opened before the recording gets its name now. */
    String subject(int fd) {
        @Nullable String known = find(fd);
        if (known != null) {
            return known;
        }
        Optional<String> link = real && fd >= 0 ? link(fd) : Optional.empty();
        return link.map(FileKind::ofLink)
                .filter(type -> type != FileKind.NONE)
                .map(type -> made(fd, type))
                .orElseGet(() -> link.orElse("closed") + "(fd " + fd + ")");
    }

    private static Optional<String> link(int fd) {
        try {
            return Optional.of(
                    Files.readSymbolicLink(Path.of("/proc/self/fd/" + fd)).toString());
        } catch (IOException e) {
            return Optional.empty();
        }
    }
}
