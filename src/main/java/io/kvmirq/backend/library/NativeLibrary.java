/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

import io.kvmirq.backend.BackendUnavailableException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.jspecify.annotations.Nullable;

/**
 * Finds and loads {@code libkvmirq.so}; finds {@code libkvmirqtape.so}, the recorder, which other programs load.
 *
 * <p>Places, first hit wins: the file named by {@value #PROPERTY} ({@value #RECORDER_PROPERTY} for the recorder), and no
 * other when it is set; an installed one in {@code java.library.path}; the one in our jar, through {@link LibraryCache}.
 * What is loaded, and every directory above it, belongs to root or to this user and cannot be written by others.
 * Thread-safe.
 */
public final class NativeLibrary {
    /** The absolute path of the library, overriding the search. */
    public static final String PROPERTY = "kvmirq.library";

    /** The absolute path of the recorder, overriding the search. */
    public static final String RECORDER_PROPERTY = "kvmirq.recorder";

    private static final int ELF_MACHINE = 18;

    private final Name name;
    private final Optional<String> explicit;
    private final String libraryPath;
    private final Machine machine;
    private final LibraryCache cache;

    /** ELF machine numbers of the architectures we know; source: elf.h, EM_*. */
    enum Machine {
        X86_64("amd64", 62),
        AARCH64("aarch64", 183);

        private final String jvmName;
        private final int elf;

        Machine(String jvmName, int elf) {
            this.jvmName = jvmName;
            this.elf = elf;
        }

        String directory() {
            return this == X86_64 ? "linux-x86_64" : "linux-aarch64";
        }

        static Machine ofJvm(String osArch) {
            for (Machine machine : values()) {
                if (machine.jvmName.equals(osArch)) {
                    return machine;
                }
            }
            throw new BackendUnavailableException(
                    "architecture " + osArch + " is not supported: expected amd64 or aarch64");
        }
    }

    /** A library, and the property that says where it is. */
    private record Name(String file, String property) {
        static final Name LIBRARY = new Name("libkvmirq.so", PROPERTY);
        static final Name RECORDER = new Name("libkvmirqtape.so", RECORDER_PROPERTY);
    }

    NativeLibrary(Optional<String> explicit, String libraryPath, String osArch, LibraryCache cache) {
        this(Name.LIBRARY, explicit, libraryPath, osArch, cache);
    }

    private NativeLibrary(Name name, Optional<String> explicit, String libraryPath, String osArch, LibraryCache cache) {
        this.name = name;
        this.explicit = explicit;
        this.libraryPath = libraryPath;
        this.machine = Machine.ofJvm(osArch);
        this.cache = cache;
    }

    /** As system properties and environment of this process say. */
    public static NativeLibrary ofThisMachine() {
        return ofThisMachine(Name.LIBRARY);
    }

    /** The recorder of kernel calls, by the same rules. */
    public static NativeLibrary recorderOfThisMachine() {
        return ofThisMachine(Name.RECORDER);
    }

    private static NativeLibrary ofThisMachine(Name name) {
        return new NativeLibrary(
                name,
                Optional.ofNullable(System.getProperty(name.property())),
                System.getProperty("java.library.path", ""),
                System.getProperty("os.arch", ""),
                LibraryCache.ofThisUser());
    }

    /**
     * Loads the library into this JVM; a second call loads nothing new.
     *
     * @return the file it was loaded from
     * @throws BackendUnavailableException listing every place looked at and what was wrong with it
     */
    public Path load() {
        Path file = file();
        try {
            System.load(file.toString());
            return file;
        } catch (IllegalCallerException e) {
            throw new BackendUnavailableException(
                    "native access is denied: start Java with --enable-native-access=ALL-UNNAMED", e);
        } catch (UnsatisfiedLinkError e) {
            throw new BackendUnavailableException(loadFailure(file, String.valueOf(e.getMessage())), e);
        }
    }

    /**
     * Finds the library without loading it.
     *
     * @return a file without symbolic links in its path that only root or this user could have written
     * @throws BackendUnavailableException listing every place looked at and what was wrong with it
     */
    public Path file() {
        return find(new ArrayList<>());
    }

    private static String loadFailure(Path file, String message) {
        String hint = message.contains("failed to map segment")
                ? ": is its filesystem mounted noexec? Set -D" + LibraryCache.PROPERTY + " to a directory that is not"
                : "";
        return "cannot load " + message + (message.contains(file.toString()) ? "" : " (" + file + ")") + hint;
    }

    private Path find(List<String> looked) {
        if (explicit.isPresent()) {
            Path path = Path.of(explicit.get());
            if (!path.isAbsolute()) {
                throw new BackendUnavailableException("-D" + name.property() + "=" + path
                        + " is not an absolute path, expected one such as /opt/" + name.file());
            }
            return usable(path, looked)
                    .orElseThrow(() -> new BackendUnavailableException("-D" + name.property()
                            + " cannot be used, and no other place is looked at: " + looked.get(0)));
        }
        for (String directory : libraryPath.split(":")) {
            if (!directory.startsWith("/")) {
                continue;
            }
            Optional<Path> installed = usable(Path.of(directory, name.file()), looked);
            if (installed.isPresent()) {
                return installed.get();
            }
        }
        Optional<Path> fromJar = fromJar(looked);
        if (fromJar.isPresent()) {
            return fromJar.get();
        }
        throw new BackendUnavailableException("no usable " + name.file() + "; looked at:\n  "
                + String.join("\n  ", looked) + "\n  Name one with -D" + name.property() + "=/path/to/" + name.file());
    }

    private Optional<Path> fromJar(List<String> looked) {
        String resource = "META-INF/native/" + machine.directory() + "/" + name.file();
        try {
            byte @Nullable [] content = resource(resource);
            if (content == null) {
                looked.add(resource + " in the jar: not there (built without a C compiler?)");
                return Optional.empty();
            }
            return usable(cache.hold(content), looked);
        } catch (IOException | BackendUnavailableException e) {
            looked.add(resource + " in the jar: " + describe(e));
            return Optional.empty();
        }
    }

    /** From our jar itself if it is a file: the first stream of a jar: URL takes a JVM longer than all the rest here. */
    private static byte @Nullable [] resource(String resource) throws IOException {
        @Nullable CodeSource source = NativeLibrary.class.getProtectionDomain().getCodeSource();
        if (source != null && source.getLocation() != null) {
            URL place = source.getLocation();
            boolean plain = !place.getPath().contains("%");
            if (place.getProtocol().equals("file") && place.getPath().endsWith(".jar") && plain) {
                try (ZipFile jar = new ZipFile(place.getPath())) {
                    @Nullable ZipEntry entry = jar.getEntry(resource);
                    return entry == null ? null : jar.getInputStream(entry).readAllBytes();
                }
            }
        }
        try (InputStream in = NativeLibrary.class.getClassLoader().getResourceAsStream(resource)) {
            return in == null ? null : in.readAllBytes();
        }
    }

    private static String describe(Exception e) {
        return e instanceof BackendUnavailableException ? String.valueOf(e.getMessage()) : e.toString();
    }

    private Optional<Path> usable(Path path, List<String> looked) {
        if (!Files.exists(path)) {
            looked.add(path + ": not there");
            return Optional.empty();
        }
        try {
            Path real = path.toRealPath();
            @Nullable String flaw = Trust.flawOfLinks(path);
            if (flaw == null) {
                flaw = Trust.flawOf(real);
            }
            if (flaw == null) {
                flaw = elfFlaw(real);
            }
            if (flaw == null) {
                return Optional.of(real);
            }
            looked.add(path + ": " + flaw);
        } catch (IOException e) {
            looked.add(path + ": " + e);
        }
        return Optional.empty();
    }

    /** The loader's own message for a foreign architecture is "No such file": say what it is instead. */
    private @Nullable String elfFlaw(Path file) throws IOException {
        byte[] head;
        try (InputStream in = new FileInputStream(file.toFile())) {
            head = in.readNBytes(ELF_MACHINE + Short.BYTES);
        }
        if (head.length < ELF_MACHINE + Short.BYTES || head[0] != 0x7f || head[1] != 'E') {
            return "not an ELF library";
        }
        int found = ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN).getShort(ELF_MACHINE) & 0xffff;
        if (found == machine.elf) {
            return null;
        }
        return "is for ELF machine " + found + ", this JVM is " + machine.jvmName + " (" + machine.elf + ")";
    }
}
