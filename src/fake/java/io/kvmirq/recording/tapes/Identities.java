/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The open file that a descriptor number means at this point of a tape. */
final class Identities {
    private record Identity(FileKind type, int ordinal) {
        @Override
        public String toString() {
            return type.label() + "#" + ordinal;
        }
    }

    /** By process and number. */
    private final Map<Integer, Map<Integer, Identity>> open = new HashMap<>();

    private final Map<FileKind, Integer> last = new EnumMap<>(FileKind.class);
    private int descriptors;

    String created(int pid, int fd, FileKind type) {
        Identity identity = new Identity(type, last.merge(type, 1, Integer::sum));
        put(pid, fd, identity);
        return identity.toString();
    }

    /** {@code to} is the same file as {@code from}; what {@code to} was is closed. */
    void duplicated(int pid, int from, int to) {
        @Nullable Identity identity = get(pid, from);
        if (identity == null) {
            closed(pid, to);
        } else {
            put(pid, to, identity);
        }
    }

    /** The file behind a number, if a call made or named it. */
    Optional<String> of(int pid, int fd) {
        return Optional.ofNullable(get(pid, fd)).map(Identity::toString);
    }

    /** The file that a call was made on, of which the tape knows the link; absent when it was not open. */
    String of(int pid, int fd, Optional<String> link) {
        FileKind type = link.map(FileKind::ofLink).orElse(FileKind.NONE);
        if (type == FileKind.NONE) {
            return link.orElse("closed") + "(fd " + fd + ")";
        }
        @Nullable Identity identity = get(pid, fd);
        return identity != null && identity.type() == type ? identity.toString() : created(pid, fd, type);
    }

    /** Another program, or another process by the same number: what it has open is not what was. */
    void forgotten(int pid) {
        @Nullable Map<Integer, Identity> gone = open.remove(pid);
        descriptors -= gone == null ? 0 : gone.size();
    }

    void closed(int pid, int fd) {
        @Nullable Map<Integer, Identity> process = open.get(pid);
        if (process != null && process.remove(fd) != null) {
            descriptors--;
            if (process.isEmpty()) {
                open.remove(pid);
            }
        }
    }

    int descriptors() {
        return descriptors;
    }

    private @Nullable Identity get(int pid, int fd) {
        @Nullable Map<Integer, Identity> process = open.get(pid);
        return process == null ? null : process.get(fd);
    }

    private void put(int pid, int fd, Identity identity) {
        if (open.computeIfAbsent(pid, unknown -> new HashMap<>()).put(fd, identity) == null) {
            descriptors++;
        }
    }
}
