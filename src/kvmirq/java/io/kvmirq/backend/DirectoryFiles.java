/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.io.Closeable;
import java.io.FileInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Files below a directory. The directory can be a copy from an untrusted source, so nothing outside it is read. Short
 * commands use this class, so it avoids lambdas, streams and, for most files, channels, whose classes take longer to
 * load than the files.
 */
final class DirectoryFiles implements HostFiles {
    private static final int PERMISSIONS = 0xfff;

    /** A directory's name and its path with all links resolved. */
    private record Directory(String name, Path path) {}

    private final Path root;
    /** Whether the root is /, so that no file is outside it. */
    private final boolean isHost;

    private volatile @Nullable Path top;
    private volatile @Nullable Directory last;

    DirectoryFiles(Path root) {
        this.root = root;
        this.isHost = root.isAbsolute() && root.getNameCount() == 0;
    }

    /** The file with all links resolved. Null if it does not exist or is outside the root. */
    private @Nullable Path resolved(String path) {
        try {
            if (isHost) {
                Path file = root.resolve(path);
                return file.toFile().exists() ? file : null; // stat(2), because access(2) ignores capabilities
            }
            Path top = top();
            Path file = top.resolve(path).toRealPath();
            return file.startsWith(top) ? file : null;
        } catch (IOException | InvalidPathException e) {
            return null;
        }
    }

    private Path top() throws IOException {
        Path known = top;
        if (known == null) {
            known = root.toRealPath();
            top = known;
        }
        return known;
    }

    /**
     * The file with its directory's links resolved, but not its own. The last directory is cached, because a process
     * has many links in one directory. Nothing is cached for /, where a directory can be replaced.
     */
    private @Nullable Path unresolved(String path) {
        try {
            if (isHost) {
                return root.resolve(path);
            }
            int name = path.lastIndexOf('/') + 1;
            Directory known = last;
            if (known == null || !known.name().equals(path.substring(0, name))) {
                Path directory = resolved(path.substring(0, name));
                if (directory == null) {
                    return null;
                }
                known = new Directory(path.substring(0, name), directory);
                last = known;
            }
            return known.path().resolve(path.substring(name));
        } catch (InvalidPathException e) {
            return null;
        }
    }

    /**
     * The file or its target. Null if that is outside the root or not a regular file, because opening others could
     * block or have side effects.
     */
    private @Nullable Path regular(String path) {
        try {
            Path file = unresolved(path);
            if (file == null) {
                return null;
            }
            BasicFileAttributes is = Files.readAttributes(file, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
            if (!is.isSymbolicLink()) {
                return is.isRegularFile() ? file : null;
            }
            Path target = resolved(path);
            return target != null && Files.isRegularFile(target) ? target : null;
        } catch (IOException e) {
            return null;
        }
    }

    @Override
    public Optional<byte[]> bytes(String path, int max) {
        Path file = regular(path);
        if (file == null) {
            return Optional.empty();
        }
        try (InputStream in = new FileInputStream(file.toFile())) {
            // FileInputStream.readNBytes would seek, which debugfs attributes do not support.
            return Optional.of(new FilterInputStream(in) {}.readNBytes(max));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    @Override
    public Optional<InputStream> open(String path) {
        Path file = regular(path);
        if (file == null) {
            return Optional.empty();
        }
        try {
            return Optional.of(new FileInputStream(file.toFile()));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /** Is a class, so that channels are loaded only when a file is kept open. */
    private record Channel(FileChannel channel) implements Kept {
        @Override
        public int read(ByteBuffer to, long position) {
            try {
                return channel.read(to, position);
            } catch (IOException e) {
                return -1;
            }
        }

        @Override
        public void close() {
            try {
                channel.close();
            } catch (IOException e) {
                // Nothing was written, so nothing is lost.
            }
        }
    }

    @Override
    public Optional<Kept> keep(String path) {
        Path file = regular(path);
        if (file == null) {
            return Optional.empty();
        }
        try {
            return Optional.of(new Channel(FileChannel.open(file)));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    @Override
    public Optional<String> link(String path) {
        Path file = unresolved(path);
        if (file == null) {
            return Optional.empty();
        }
        try {
            return Optional.of(Files.readSymbolicLink(file).toString());
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    @Override
    public List<String> list(String path) {
        Path directory = resolved(path);
        String @Nullable [] names =
                directory == null ? null : directory.toFile().list();
        if (names == null) {
            return List.of();
        }
        Arrays.sort(names);
        return List.of(names);
    }

    /** Whether a directory above the file cannot be searched, so that opening it fails with EACCES, not ENOENT. */
    private boolean isBelowRefused(String path) {
        if (isHost) {
            try {
                Files.readAttributes(root.resolve(path), BasicFileAttributes.class);
                return false;
            } catch (AccessDeniedException e) {
                return true;
            } catch (IOException | InvalidPathException e) {
                return false;
            }
        }
        // In a copy, a link can lead outside, so only directories in the copy are checked.
        for (int end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
            Path directory = resolved(path.substring(0, end));
            if (directory != null) {
                return !Files.isExecutable(directory);
            }
        }
        return false;
    }

    @Override
    public Access access(String path) {
        Path file = resolved(path);
        if (file == null) {
            Path name = unresolved(path);
            return name != null && Files.exists(name, LinkOption.NOFOLLOW_LINKS) || isBelowRefused(path)
                    ? Access.DENIED
                    : Access.ABSENT;
        }
        return Files.isReadable(file) && Files.isWritable(file) ? Access.ALLOWED : Access.DENIED;
    }

    @Override
    public Optional<Owner> owner(String path) {
        Path file = resolved(path);
        // The files of a copy belong to the user who copied them.
        if (file == null || root.getNameCount() > 0) {
            return Optional.empty();
        }
        try {
            Map<String, Object> all = Files.readAttributes(file, "unix:mode,uid,gid");
            return all.get("mode") instanceof Integer mode
                            && all.get("uid") instanceof Integer user
                            && all.get("gid") instanceof Integer group
                    ? Optional.of(new Owner(mode & PERMISSIONS, user, group))
                    : Optional.empty();
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /** Whether open(2) succeeds, which obeys CAP_DAC_READ_SEARCH. access(2) drops the capabilities of other users. */
    private static boolean opens(Path file) {
        try (Closeable opened = Files.isDirectory(file)
                ? Files.newDirectoryStream(file)
                : Files.isRegularFile(file) ? Files.newByteChannel(file) : null) {
            return opened != null;
        } catch (IOException e) {
            return false;
        }
    }

    @Override
    public Reading reading(String path) {
        Path file = resolved(path);
        if (file != null) {
            return Files.isReadable(file) || opens(file) ? Reading.READABLE : Reading.DENIED;
        }
        return access(path) == Access.ABSENT ? Reading.ABSENT : Reading.DENIED;
    }
}
