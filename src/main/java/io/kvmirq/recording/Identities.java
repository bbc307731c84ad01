/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Which open file a descriptor number means at this point of a tape. */
final class Identities {
    private record Descriptor(int pid, int number) {}

    private record Identity(FileKind type, int ordinal) {
        @Override
        public String toString() {
            return type.label() + "#" + ordinal;
        }
    }

    private final Map<Descriptor, Identity> open = new HashMap<>();
    private final Map<FileKind, Integer> last = new EnumMap<>(FileKind.class);

    /** A call made this descriptor. */
    String created(int pid, int fd, FileKind type) {
        Identity identity = new Identity(type, last.merge(type, 1, Integer::sum));
        open.put(new Descriptor(pid, fd), identity);
        return identity.toString();
    }

    /** {@code to} is the same file as {@code from}; what {@code to} was is closed. */
    void duplicated(int pid, int from, int to) {
        @Nullable Identity identity = open.get(new Descriptor(pid, from));
        if (identity == null) {
            closed(pid, to);
        } else {
            open.put(new Descriptor(pid, to), identity);
        }
    }

    /** The file behind a number, if a call made or named it. */
    Optional<String> of(int pid, int fd) {
        return Optional.ofNullable(open.get(new Descriptor(pid, fd))).map(Identity::toString);
    }

    /** The file that a call was made on, of which the tape knows the link; absent when it was not open. */
    String of(int pid, int fd, Optional<String> link) {
        FileKind type = link.map(FileKind::ofLink).orElse(FileKind.NONE);
        if (type == FileKind.NONE) {
            return link.orElse("closed") + "(fd " + fd + ")";
        }
        @Nullable Identity identity = open.get(new Descriptor(pid, fd));
        return identity != null && identity.type() == type ? identity.toString() : created(pid, fd, type);
    }

    /** Another program, or another process by the same number: what it has open is not what was. */
    void forgotten(int pid) {
        open.keySet().removeIf(descriptor -> descriptor.pid() == pid);
    }

    void closed(int pid, int fd) {
        open.remove(new Descriptor(pid, fd));
    }
}
