/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** The files below a directory. A copy may come from anybody: nothing outside the directory is read. */
record DirectoryFiles(Path root) implements HostFiles {
    private static final int PERMISSIONS = 0xfff;

    /** The file itself, after all links. Absent if it is outside the root. */
    private Optional<Path> resolved(String path) {
        try {
            Path top = root.toRealPath();
            Path file = top.resolve(path).toRealPath();
            return file.startsWith(top) ? Optional.of(file) : Optional.empty();
        } catch (IOException | InvalidPathException e) {
            return Optional.empty();
        }
    }

    /** The file with the links of its directory resolved, but not itself. */
    private Optional<Path> unresolved(String path) {
        int name = path.lastIndexOf('/') + 1;
        return resolved(path.substring(0, name)).map(directory -> directory.resolve(path.substring(name)));
    }

    @Override
    public Optional<byte[]> bytes(String path, int most) {
        // A pipe or a device would block, or do more than being read.
        return resolved(path).filter(file -> Files.isRegularFile(file)).flatMap(file -> {
            try (InputStream in = Files.newInputStream(file)) {
                return Optional.of(in.readNBytes(most));
            } catch (IOException e) {
                return Optional.empty();
            }
        });
    }

    @Override
    public Optional<String> link(String path) {
        return unresolved(path).filter(Files::isSymbolicLink).flatMap(file -> {
            try {
                return Optional.of(Files.readSymbolicLink(file).toString());
            } catch (IOException e) {
                return Optional.empty();
            }
        });
    }

    @Override
    public List<String> list(String path) {
        return resolved(path).map(DirectoryFiles::names).orElse(List.of());
    }

    private static List<String> names(Path directory) {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> String.valueOf(file.getFileName()))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            return List.of();
        }
    }

    @Override
    public Access access(String path) {
        Optional<Path> file = resolved(path);
        if (file.isEmpty()) {
            boolean there = unresolved(path)
                    .filter(name -> Files.exists(name, LinkOption.NOFOLLOW_LINKS))
                    .isPresent();
            return there ? Access.DENIED : Access.ABSENT;
        }
        return Files.isReadable(file.get()) && Files.isWritable(file.get()) ? Access.ALLOWED : Access.DENIED;
    }

    @Override
    public Optional<Owner> owner(String path) {
        // The owners in a copy are those of who copied it.
        return resolved(path).filter(file -> root.getNameCount() == 0).flatMap(file -> {
            try {
                Map<String, Object> all = Files.readAttributes(file, "unix:mode,uid,gid");
                return Optional.of(
                        new Owner((int) all.get("mode") & PERMISSIONS, (int) all.get("uid"), (int) all.get("gid")));
            } catch (IOException e) {
                return Optional.empty();
            }
        });
    }

    @Override
    public Reading reading(String path) {
        return resolved(path)
                .map(file -> Files.isReadable(file) ? Reading.READABLE : Reading.DENIED)
                .orElseGet(() -> access(path) == Access.ABSENT ? Reading.ABSENT : Reading.DENIED);
    }
}
