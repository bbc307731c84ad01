/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.HostFiles;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** A host's files, with additional ones that it lacks. */
record FilesOver(HostFiles first, HostFiles then) implements HostFiles {
    @Override
    public Optional<byte[]> bytes(String path, int max) {
        return first.bytes(path, max).or(() -> then.bytes(path, max));
    }

    @Override
    public Optional<String> link(String path) {
        return first.link(path).or(() -> then.link(path));
    }

    @Override
    public List<String> list(String path) {
        return Stream.concat(first.list(path).stream(), then.list(path).stream())
                .distinct()
                .sorted()
                .toList();
    }

    @Override
    public Access access(String path) {
        Access own = first.access(path);
        return own == Access.ABSENT ? then.access(path) : own;
    }
}
