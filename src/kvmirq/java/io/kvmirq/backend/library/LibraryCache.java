/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

import io.kvmirq.backend.BackendUnavailableException;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.CodeSource;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.jspecify.annotations.Nullable;

/**
 * A private directory for the native library that the jar contains. The file name is derived from the content, so the
 * library is written once instead of at each start.
 *
 * <p>A file is written under a temporary name and renamed. The writer locks the temporary file, so an unlocked
 * temporary file is the leftover of a killed process. A file in the directory is used only if its length and CRC-32
 * equal those of the jar's file. A process that writes a library removes libraries that no process has used for a week.
 * Thread-safe. Several processes may share the directory.
 */
public final class LibraryCache {
    /**
     * The cache directory, an absolute path. The default is {@code $XDG_CACHE_HOME/kvmirq}, then {@code
     * ~/.cache/kvmirq}, or {@code kvmirq-UID} in {@code java.io.tmpdir} for a user without a writable home.
     */
    static final String PROPERTY = "kvmirq.cache";

    private static final int ATTEMPTS = 3;

    /**
     * A library's modification time is the day of its last use. A library unused for this long belongs to a build that
     * is gone.
     */
    private static final long UNUSED_MILLIS = TimeUnit.DAYS.toMillis(7);

    private static final long DAY_MILLIS = TimeUnit.DAYS.toMillis(1);

    /** Locked before any file lock, because file locks belong to the process. Class loaders share a string literal. */
    private static final Object MONITOR = "io.kvmirq.backend.library.LibraryCache";

    private static final String TEMPORARY = "libkvmirq";
    private static final String NAME = "kvmirq";
    private static final String LIBRARY = "libkvmirq-";

    private final Path directory;

    LibraryCache(Path directory) {
        this.directory = directory;
    }

    static LibraryCache ofThisUser() {
        return new LibraryCache(place(
                System.getProperty(PROPERTY),
                System.getenv("XDG_CACHE_HOME"),
                System.getProperty("user.home", ""),
                System.getProperty("java.io.tmpdir", "/tmp")));
    }

    /** The directory into which this user's libraries are unpacked, which need not exist. */
    public static Path directory() {
        return ofThisUser().directory;
    }

    /** The first directory that is set, or the temporary directory if the user's home is absent or not writable. */
    static Path place(@Nullable String property, @Nullable String xdg, String home, String temporary) {
        if (property != null) {
            return Path.of(property);
        }
        if (xdg != null && xdg.startsWith("/")) {
            return Path.of(xdg, NAME);
        }
        if (home.startsWith("/")) {
            Path cache = Path.of(home, ".cache", NAME);
            if (existing(cache).toFile().canWrite()) {
                return cache;
            }
        }
        return Path.of(temporary, NAME + "-" + Trust.thisUser());
    }

    /** The nearest existing ancestor of {@code path}, or {@code path} itself. */
    private static Path existing(Path path) {
        Path existing = path;
        while (!existing.toFile().exists() && existing.getParent() != null) {
            existing = existing.getParent();
        }
        return existing;
    }

    /**
     * A directory private to this user, into which another binding's library is unpacked. Some bindings fail for the
     * rest of the process if their library cannot be loaded, so the directory must allow execution.
     *
     * @throws BackendUnavailableException if the directory cannot be created, is not private to this user, or is
     *     mounted noexec
     */
    public static Path directoryForOthers() {
        LibraryCache others = new LibraryCache(ofThisUser().directory.resolve("others"));
        try {
            Path real = others.makePrivate();
            refuse(isExecutable(real) ? null : real + " is mounted noexec");
            return real;
        } catch (IOException e) {
            throw new BackendUnavailableException("cache directory " + others.directory + ": " + e, e);
        }
    }

    /**
     * Unpacks another binding's library {@code resource}. Null if the jar of {@code binding} lacks this resource.
     * Throws BackendUnavailableException if no private directory can be created.
     */
    public static @Nullable Path holdForOthers(Class<?> binding, String resource) {
        LibraryCache others = new LibraryCache(directoryForOthers());
        try {
            return others.hold(binding, resource);
        } catch (IOException e) {
            throw new BackendUnavailableException("cache directory " + others.directory + ": " + e, e);
        }
    }

    /**
     * Unpacks a resource. Null if it does not exist. Reads the class's jar directly, because the first jar: URL takes
     * longer than everything else here.
     */
    @Nullable
    Path hold(Class<?> beside, String resource) throws IOException {
        @Nullable CodeSource source = beside.getProtectionDomain().getCodeSource();
        if (source != null && source.getLocation() != null) {
            URL place = source.getLocation();
            boolean plain = !place.getPath().contains("%");
            if (place.getProtocol().equals("file") && place.getPath().endsWith(".jar") && plain) {
                try (ZipFile jar = new ZipFile(place.getPath())) {
                    @Nullable ZipEntry entry = jar.getEntry(resource);
                    if (entry != null) {
                        @Nullable Path held = held(entry.getCrc(), entry.getSize());
                        return held == null ? hold(jar.getInputStream(entry).readAllBytes()) : held;
                    }
                }
            }
        }
        try (InputStream in = beside.getClassLoader().getResourceAsStream(resource)) {
            return in == null ? null : hold(in.readAllBytes());
        }
    }

    /**
     * The library with the length and CRC-32 from the jar's directory. Null if it has not been unpacked yet. Throws
     * BackendUnavailableException if no directory is private to this user.
     */
    @Nullable
    Path held(long crc, long length) throws IOException {
        synchronized (MONITOR) {
            Path file = place().resolve(nameOf(crc, length));
            return isIntact(file, crc, length) ? file : null;
        }
    }

    /** Returns a file with this content. Throws BackendUnavailableException if no directory is private to this user. */
    Path hold(byte[] content) throws IOException {
        synchronized (MONITOR) {
            return holdAlone(content);
        }
    }

    private Path holdAlone(byte[] content) throws IOException {
        Path place = place();
        long crc = crcOf(content);
        Path file = place.resolve(nameOf(crc, content.length));
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            if (isIntact(file, crc, content.length)) {
                return file;
            }
            removeUnused(place);
            try {
                write(place, file, content);
            } catch (NoSuchFileException e) {
                // Before we locked our file, another process removed it as abandoned, so try again.
            }
        }
        throw removedAgain("keep " + file);
    }

    private Path place() throws IOException {
        Path place = makePrivate();
        removeAbandoned(place, TEMPORARY, ".tmp");
        return place;
    }

    /** Compares checksums, not bytes, because this is a hundred times faster in a JVM that has just started. */
    private static boolean isIntact(Path library, long crc, long length) throws IOException {
        File file = library.toFile();
        if (!Files.isRegularFile(library, LinkOption.NOFOLLOW_LINKS)
                || file.length() != length
                || crcOf(read(file)) != crc) {
            return false;
        }
        long now = System.currentTimeMillis();
        if (now - file.lastModified() > DAY_MILLIS) {
            file.setLastModified(now);
        }
        return true;
    }

    private static void removeUnused(Path place) {
        String @Nullable [] names = place.toFile().list();
        for (String name : names == null ? new String[0] : names) {
            Path library = place.resolve(name);
            if (name.startsWith(LIBRARY)
                    && name.endsWith(".so")
                    && System.currentTimeMillis() - library.toFile().lastModified() > UNUSED_MILLIS) {
                removeIfAbandoned(library);
            }
        }
    }

    private BackendUnavailableException removedAgain(String attempted) {
        return new BackendUnavailableException("cannot " + attempted + ": other processes remove it as fast as it is"
                + " written; remove " + directory + " and start again");
    }

    /** Uses java.io, like the code below, so that a start that finds the file does not load slow channel classes. */
    private static byte[] read(File file) throws IOException {
        try (FileInputStream in = new FileInputStream(file)) {
            return in.readAllBytes();
        }
    }

    /** CRC32C would have to be loaded first. */
    private static long crcOf(byte[] content) {
        CRC32 crc = new CRC32();
        crc.update(content);
        return crc.getValue();
    }

    /** The name keeps versions apart, and the checksum detects damage. Only the directory protects from other users. */
    private static String nameOf(long crc, long length) {
        return LIBRARY + Long.toHexString(crc) + "-" + length + ".so";
    }

    /** The directory without symbolic links, which are resolved once because another user may change one anytime. */
    private Path makePrivate() throws IOException {
        if (!directory.isAbsolute()) {
            throw new BackendUnavailableException(
                    "cache directory " + directory + " is not an absolute path; set -D" + PROPERTY + " to one");
        }
        Path above = existing(directory);
        Path real = above.toRealPath();
        refuse(Trust.flawOfLinks(directory, real));
        if (!above.equals(directory)) {
            refuse(Trust.flawOfAbove(real));
            real = real.resolve(above.relativize(directory));
            make(real);
        }
        refuse(Trust.flawOfPrivate(real));
        return real;
    }

    private static void make(Path real) {
        try {
            Files.createDirectories(
                    real, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (IOException e) {
            throw new BackendUnavailableException(
                    "cannot create cache directory " + real + " (" + e + "); set $XDG_CACHE_HOME or -D" + PROPERTY
                            + " to a place where one can be created",
                    e);
        }
    }

    private static void refuse(@Nullable String flaw) {
        if (flaw != null) {
            throw new BackendUnavailableException(
                    "cache directory: " + flaw + "; or set $XDG_CACHE_HOME or -D" + PROPERTY + " to another place");
        }
    }

    /** Tries again if another process removes the probe as abandoned, because that says nothing about the directory. */
    private static boolean isExecutable(Path directory) throws IOException {
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            Path probe = makeTemporary(directory, "rwx------");
            boolean executable = Files.isExecutable(probe);
            if (Files.deleteIfExists(probe) || executable) {
                return executable;
            }
        }
        return true;
    }

    /** Removes this user's files with this prefix and suffix, except those that a running writer has locked. */
    public static void removeAbandoned(Path directory, String prefix, String suffix) {
        String @Nullable [] names = directory.toFile().list();
        for (String name : names == null ? new String[0] : names) {
            if (name.startsWith(prefix) && name.endsWith(suffix)) {
                removeIfAbandoned(directory.resolve(name));
            }
        }
    }

    private static void removeIfAbandoned(Path leftover) {
        try {
            // Skip a FIFO, because opening it for writing would wait for a reader.
            if (!Files.isRegularFile(leftover, LinkOption.NOFOLLOW_LINKS)
                    || Trust.userOf(leftover) != Trust.thisUser()) {
                return;
            }
            try (FileChannel channel = FileChannel.open(leftover, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
                    @Nullable FileLock lock = channel.tryLock()) {
                if (lock != null) {
                    Files.deleteIfExists(leftover);
                }
            }
        } catch (IOException | OverlappingFileLockException e) {
            // The writer is alive, because it renamed the file or holds the lock.
        }
    }

    private static void write(Path directory, Path file, byte[] content) throws IOException {
        // Executable, because one of the files is a program.
        Path temporary = makeTemporary(directory, "rwx------");
        try (FileOutputStream out = locked(temporary)) {
            out.write(content);
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            Files.deleteIfExists(temporary);
            throw e;
        }
    }

    /** Creates an empty file. Only this user writes here, so no random number is needed. */
    private static Path makeTemporary(Path directory, String permissions) throws IOException {
        while (true) {
            Path temporary = directory.resolve(TEMPORARY + Long.toHexString(System.nanoTime()) + ".tmp");
            try {
                return Files.createFile(
                        temporary, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(permissions)));
            } catch (FileAlreadyExistsException e) {
                // Another process created it in the same nanosecond.
            }
        }
    }

    /** Locks a file with a stream and tryLock(), because an interrupted thread cannot use a channel or lock(). */
    private static FileOutputStream locked(Path temporary) throws IOException {
        FileOutputStream out = new FileOutputStream(temporary.toFile());
        boolean ours = false;
        try {
            ours = out.getChannel().tryLock() != null && Files.exists(temporary);
        } catch (OverlappingFileLockException e) {
            // A kvmirq in another class loader, which does not use our monitor, is removing it.
        } finally {
            if (!ours) {
                out.close();
            }
        }
        if (!ours) {
            throw new NoSuchFileException(temporary.toString(), null, "another start removes it");
        }
        return out;
    }

    /** Loads a uniquely named copy, then removes it. Throws BackendUnavailableException without a private directory. */
    void loadCopy(byte[] content, Consumer<Path> loading) throws IOException {
        synchronized (MONITOR) {
            Path place = place();
            for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
                Path copy = makeTemporary(place, "rw-------");
                try (FileOutputStream out = locked(copy)) {
                    out.write(content);
                    loading.accept(copy);
                    return;
                } catch (NoSuchFileException e) {
                    // Before we locked our file, another process removed it as abandoned, so try again.
                } finally {
                    Files.deleteIfExists(copy);
                }
            }
            throw removedAgain("keep a copy of the library");
        }
    }
}
