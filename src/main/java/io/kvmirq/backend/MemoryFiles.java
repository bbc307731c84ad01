/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** Files in memory. */
final class MemoryFiles implements HostFiles {
    private final Map<String, byte[]> files;
    private final Map<String, String> links;
    private final Set<String> denied;
    private final Map<String, Owner> owners;

    MemoryFiles(Map<String, byte[]> files, Map<String, String> links, Set<String> denied, Map<String, Owner> owners) {
        this.files = Map.copyOf(files);
        this.links = Map.copyOf(links);
        this.denied = Set.copyOf(denied);
        this.owners = Map.copyOf(owners);
    }

    @Override
    public Optional<byte[]> bytes(String path, int most) {
        return Optional.ofNullable(files.get(path)).map(bytes -> Arrays.copyOf(bytes, Math.min(bytes.length, most)));
    }

    @Override
    public Optional<String> link(String path) {
        return Optional.ofNullable(links.get(path));
    }

    @Override
    public List<String> list(String path) {
        String directory = path + "/";
        return Stream.concat(files.keySet().stream(), links.keySet().stream())
                .filter(file -> file.startsWith(directory))
                .map(file -> file.substring(directory.length()))
                .map(file -> file.indexOf('/') < 0 ? file : file.substring(0, file.indexOf('/')))
                .distinct()
                .sorted()
                .toList();
    }

    @Override
    public Access access(String path) {
        if (denied.contains(path)) {
            return Access.DENIED;
        }
        return files.containsKey(path) ? Access.ALLOWED : Access.ABSENT;
    }

    @Override
    public Optional<Owner> owner(String path) {
        return Optional.ofNullable(owners.get(path));
    }
}
