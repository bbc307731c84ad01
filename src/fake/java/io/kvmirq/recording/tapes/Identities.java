/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Maps a descriptor number to the file that is open behind it at the current line of a tape. */
final class Identities {
    private record Identity(FileKind type, int ordinal) {
        @Override
        public String toString() {
            return type.label() + "#" + ordinal;
        }
    }

    /** Open files, keyed by process and descriptor number. */
    private final Map<Integer, Map<Integer, Identity>> open = new HashMap<>();

    private final Map<FileKind, Integer> last = new EnumMap<>(FileKind.class);
    private int descriptors;

    String created(int pid, int fd, FileKind type) {
        Identity identity = new Identity(type, last.merge(type, 1, Integer::sum));
        put(pid, fd, identity);
        return identity.toString();
    }

    /** Makes {@code to} the same file as {@code from}, and closes the previous file of {@code to}. */
    void duplicated(int pid, int from, int to) {
        @Nullable Identity identity = get(pid, from);
        if (identity == null) {
            closed(pid, to);
        } else {
            put(pid, to, identity);
        }
    }

    /** The name of the file behind a number, if an earlier call opened or used it. */
    Optional<String> of(int pid, int fd) {
        return Optional.ofNullable(get(pid, fd)).map(Identity::toString);
    }

    /** The name of a call's file. {@code link} is its link in /proc; empty if the number was not open. */
    String of(int pid, int fd, Optional<String> link) {
        FileKind type = link.map(FileKind::ofLink).orElse(FileKind.NONE);
        if (type == FileKind.NONE) {
            return link.orElse("closed") + "(fd " + fd + ")";
        }
        @Nullable Identity identity = get(pid, fd);
        return identity != null && identity.type() == type ? identity.toString() : created(pid, fd, type);
    }

    /** Forgets the files of a process, because another program or process now has its id. */
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
