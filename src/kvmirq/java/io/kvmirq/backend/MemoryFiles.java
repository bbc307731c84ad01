/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/** Files in memory. */
final class MemoryFiles implements HostFiles {
    private static final char AFTER_SLASH = '/' + 1;

    private final Map<String, byte[]> files;
    private final Map<String, String> links;
    private final Set<String> denied;
    private final Map<String, Owner> owners;
    /** All files, links and denied entries. */
    private final NavigableSet<String> names = new TreeSet<>();

    MemoryFiles(Map<String, byte[]> files, Map<String, String> links, Set<String> denied, Map<String, Owner> owners) {
        this.files = Map.copyOf(files);
        this.links = Map.copyOf(links);
        this.denied = Set.copyOf(denied);
        this.owners = Map.copyOf(owners);
        names.addAll(files.keySet());
        names.addAll(links.keySet());
        names.addAll(denied); // their directories list them too
    }

    @Override
    public Optional<byte[]> bytes(String path, int max) {
        return Optional.ofNullable(files.get(path)).map(bytes -> Arrays.copyOf(bytes, Math.min(bytes.length, max)));
    }

    @Override
    public Optional<String> link(String path) {
        return Optional.ofNullable(links.get(path));
    }

    @Override
    public List<String> list(String path) {
        List<String> list = new ArrayList<>();
        String directory = path + "/";
        String next = names.ceiling(directory);
        while (next != null && next.startsWith(directory)) {
            int end = next.indexOf('/', directory.length());
            String name = next.substring(directory.length(), end < 0 ? next.length() : end);
            if (list.isEmpty() || !list.get(list.size() - 1).equals(name)) {
                list.add(name);
            }
            // Continue with the next name that is not below this one.
            next = end < 0 ? names.higher(next) : names.ceiling(directory + name + AFTER_SLASH);
        }
        return list.stream().sorted().distinct().toList();
    }

    @Override
    public Access access(String path) {
        // The kernel denies access to everything below a directory that cannot be searched.
        for (int end = path.length(); end > 0; end = path.lastIndexOf('/', end - 1)) {
            if (denied.contains(path.substring(0, end))) {
                return Access.DENIED;
            }
        }
        return files.containsKey(path) ? Access.ALLOWED : Access.ABSENT;
    }

    @Override
    public Optional<Owner> owner(String path) {
        Objects.requireNonNull(path, "path is null");
        return Optional.ofNullable(owners.get(path));
    }
}
