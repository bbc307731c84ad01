/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

import io.kvmirq.backend.BackendUnavailableException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/**
 * Finds and loads {@code libkvmirq.so}.
 *
 * <p>If {@value #PROPERTY} names a file, only this file is used. Without the property, the first usable file is loaded,
 * either from {@code java.library.path} or from kvmirq's jar, through {@link LibraryCache}. JNI allows only one class
 * loader to load a library file, so a second class loader loads a copy. The file and every directory above it must
 * belong to root or to this user and must not be writable by others. Thread-safe.
 */
public final class NativeLibrary {
    /** The system property with the absolute path of the library, which replaces the search. */
    public static final String PROPERTY = "kvmirq.library";

    private static final String NAME = "libkvmirq.so";
    private static final int ELF_MACHINE = 18;

    /** Files of which this class loader has loaded copies, because another had loaded the file. */
    private static final Set<Path> COPIED = new HashSet<>();

    /** Why each file was rejected. It stays loaded, so a second handshake could reach a library loaded later. */
    private static final Map<Path, String> REFUSED = new HashMap<>();

    // This code uses few classes, because in a starting JVM, loading one takes longer than loading the library.

    private final Optional<String> explicit;
    private final String libraryPath;
    private final String architecture;
    /** The machine number in the ELF header. Source: elf.h, EM_*. */
    private final int machine;

    private final LibraryCache cache;

    NativeLibrary(Optional<String> explicit, String libraryPath, String osArch, LibraryCache cache) {
        this.explicit = explicit;
        this.libraryPath = libraryPath;
        this.architecture = osArch;
        this.machine = switch (osArch) {
            case "amd64" -> 62;
            case "aarch64" -> 183;
            default ->
                throw new BackendUnavailableException(
                        "architecture " + osArch + " is not supported: expected amd64 or aarch64");
        };
        this.cache = cache;
    }

    /** Creates a search for {@code libkvmirq.so} from this process's system properties and environment. */
    public static NativeLibrary ofThisMachine() {
        return new NativeLibrary(
                Optional.ofNullable(System.getProperty(PROPERTY)),
                System.getProperty("java.library.path", ""),
                System.getProperty("os.arch", ""),
                LibraryCache.ofThisUser());
    }

    /**
     * Loads the first usable library into kvmirq's class loader and calls {@code opening}. A second call loads nothing.
     *
     * @param opening receives the file, and a message for each file that was found earlier but could not be used. If
     *     {@code opening} throws {@link BackendUnavailableException}, the next file is tried. Pass a class instance,
     *     not a lambda, because a JVM's first lambda takes longer than loading the library
     * @throws BackendUnavailableException if no library is usable. The message lists each place searched and what is
     *     wrong with it
     */
    public <T> T load(BiFunction<Path, List<String>, T> opening) {
        try {
            synchronized (NativeLibrary.class) {
                return find(opening);
            }
        } catch (IllegalCallerException e) {
            throw new BackendUnavailableException(NativeAccess.denied(), e);
        }
    }

    private <T> T open(Path file, List<String> refused, BiFunction<Path, List<String>, T> opening) {
        @Nullable String reason = REFUSED.get(file);
        if (reason != null) {
            throw new BackendUnavailableException(reason);
        }
        loadInto(file);
        try {
            return opening.apply(file, refused);
        } catch (BackendUnavailableException e) {
            REFUSED.put(file, String.valueOf(e.getMessage()));
            throw e;
        }
    }

    private void loadInto(Path file) {
        try {
            System.load(file.toString());
        } catch (UnsatisfiedLinkError e) {
            if (!String.valueOf(e.getMessage()).contains("already loaded in another classloader")) {
                throw loadFailure(file, e);
            }
            loadCopyOf(file);
        }
    }

    /** Loads a copy, because JNI allows a file to only one class loader at a time. */
    private void loadCopyOf(Path file) {
        if (COPIED.contains(file)) {
            return;
        }
        try (InputStream in = new FileInputStream(file.toFile())) {
            cache.loadCopy(in.readAllBytes(), copy -> {
                try {
                    System.load(copy.toString());
                } catch (UnsatisfiedLinkError e) {
                    throw loadFailure(copy, e);
                }
            });
        } catch (IOException | BackendUnavailableException e) {
            throw new BackendUnavailableException(
                    file + " serves another class loader and cannot be copied for this one: " + e.getMessage(), e);
        }
        COPIED.add(file);
    }

    private static BackendUnavailableException loadFailure(Path file, UnsatisfiedLinkError e) {
        String message = String.valueOf(e.getMessage());
        String hint = message.contains("failed to map segment")
                ? ": is its filesystem mounted noexec? Set -D" + LibraryCache.PROPERTY + " to a directory that is not"
                : "";
        return new BackendUnavailableException(
                "cannot load " + message + (message.contains(file.toString()) ? "" : " (" + file + ")") + hint, e);
    }

    // The search

    private <T> T find(BiFunction<Path, List<String>, T> opening) {
        if (explicit.isPresent()) {
            return open(named(Path.of(explicit.get())), List.of(), opening);
        }
        List<String> looked = new ArrayList<>();
        List<String> refused = new ArrayList<>();
        for (String directory : libraryPath.split(":")) {
            if (directory.startsWith("/")) {
                Path path = Path.of(directory, NAME);
                if (!Files.exists(path)) {
                    looked.add(path + ": not there");
                    continue;
                }
                try {
                    return open(usable(path), refused, opening);
                } catch (BackendUnavailableException e) {
                    refused.add(String.valueOf(e.getMessage()));
                    looked.add(String.valueOf(e.getMessage()));
                }
            }
        }
        try {
            return open(fromJar(), refused, opening);
        } catch (BackendUnavailableException e) {
            looked.add(String.valueOf(e.getMessage()));
        }
        throw new BackendUnavailableException("no usable " + NAME + "; looked at:\n  " + String.join("\n  ", looked)
                + "\n  Name one with -D" + PROPERTY + "=/path/to/" + NAME);
    }

    private Path named(Path path) {
        if (!path.isAbsolute()) {
            throw new BackendUnavailableException(
                    "-D" + PROPERTY + "=" + path + " is not an absolute path, expected one such as /opt/" + NAME);
        }
        String only = "-D" + PROPERTY + " cannot be used, and no other place is searched: ";
        if (!Files.exists(path)) {
            throw new BackendUnavailableException(only + path + ": not there");
        }
        try {
            return usable(path);
        } catch (BackendUnavailableException e) {
            throw new BackendUnavailableException(only + e.getMessage(), e);
        }
    }

    private Path fromJar() {
        String resource =
                "META-INF/native/linux-" + (architecture.equals("amd64") ? "x86_64" : architecture) + "/" + NAME;
        try {
            @Nullable Path held = cache.hold(NativeLibrary.class, resource);
            if (held == null) {
                throw new BackendUnavailableException("not there (built without a C compiler?)");
            }
            return usable(held);
        } catch (IOException e) {
            throw new BackendUnavailableException(resource + " in the jar: " + e, e);
        } catch (BackendUnavailableException e) {
            throw new BackendUnavailableException(resource + " in the jar: " + e.getMessage(), e);
        }
    }

    /** Checks a file and returns its path without symbolic links. */
    private Path usable(Path path) {
        try {
            Path real = path.toRealPath();
            @Nullable String flaw = Trust.flawOfLinks(path, real);
            if (flaw == null) {
                flaw = Trust.flawOf(real);
            }
            if (flaw == null) {
                flaw = elfFlaw(real);
            }
            if (flaw == null) {
                return real;
            }
            throw new BackendUnavailableException(path + ": " + flaw);
        } catch (IOException e) {
            throw new BackendUnavailableException(path + ": " + e, e);
        }
    }

    /** Checks the architecture, because the dynamic loader only reports "No such file" for a wrong one. */
    private @Nullable String elfFlaw(Path file) throws IOException {
        byte[] head;
        try (InputStream in = new FileInputStream(file.toFile())) {
            head = in.readNBytes(ELF_MACHINE + Short.BYTES);
        }
        if (head.length < ELF_MACHINE + Short.BYTES || head[0] != 0x7f || head[1] != 'E') {
            return "not an ELF library";
        }
        int found = ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN).getShort(ELF_MACHINE) & 0xffff;
        if (found == machine) {
            return null;
        }
        return "is for ELF machine " + found + ", this JVM is " + architecture + " (" + machine + ")";
    }
}
