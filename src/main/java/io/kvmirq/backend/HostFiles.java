/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** The part of a host's sysfs that says which devices it has, read-only. Thread-safe. */
public interface HostFiles {
    /** The last name in the target of a symbolic link; empty if there is no such link, or it cannot be read. */
    Optional<String> link(String path);

    /** The names in a directory, sorted; none if there is no such directory, or it cannot be read. */
    List<String> list(String path);

    /** The files of this machine. */
    static HostFiles ofThisMachine() {
        return new HostFiles() {
            @Override
            public Optional<String> link(String path) {
                try {
                    return Optional.ofNullable(
                                    Files.readSymbolicLink(Path.of(path)).getFileName())
                            .map(Path::toString);
                } catch (IOException | UnsupportedOperationException e) {
                    return Optional.empty();
                }
            }

            @Override
            public List<String> list(String path) {
                try (Stream<Path> files = Files.list(Path.of(path))) {
                    return files.map(file -> String.valueOf(file.getFileName()))
                            .sorted()
                            .toList();
                } catch (IOException e) {
                    return List.of();
                }
            }
        };
    }
}
