/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import com.kenai.jffi.MemoryIO;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.library.LibraryCache;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Objects;
import jnr.ffi.LibraryLoader;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;
import org.jspecify.annotations.Nullable;

/**
 * Calls libc through jnr-ffi. Its library jffi saves each call's errno for the calling thread before it returns to
 * Java, so no other call changes the saved errno.
 */
public final class JnrLibc extends ForeignLibc {
    /** The path of jffi's own library. Without it, jffi unpacks the library, possibly into the working directory. */
    private static final String LIBRARY = "jffi.boot.library.path";

    private static final String EXTRACT_DIRECTORY = "jffi.extract.dir";
    private static final String EXTRACT_NAME = "jffi.extract.name";

    private final Functions functions;
    private final Runtime runtime;

    private JnrLibc(Functions functions) {
        super(functions);
        this.functions = functions;
        this.runtime = Runtime.getRuntime(functions);
    }

    /** @throws BackendUnavailableException if jnr-ffi is not on the class path or cannot load its own library */
    public static Libc open() {
        try (ForeignProperties properties = new ForeignProperties()) {
            // Throws if jnr-ffi is absent, before a directory is created for its library.
            Objects.requireNonNull(LibraryLoader.class);
            if (System.getProperty(LIBRARY) == null && System.getProperty(EXTRACT_DIRECTORY) == null) {
                unpack(properties);
            }
            return new JnrLibc(LibraryLoader.create(Functions.class).load(LibraryLoader.DEFAULT_LIBRARY));
        } catch (NoClassDefFoundError e) {
            throw Missing.explain("com.github.jnr:jnr-ffi", e);
        } catch (UnsatisfiedLinkError e) {
            throw new BackendUnavailableException("jnr-ffi cannot load its library: " + e.getMessage(), e);
        }
    }

    /**
     * Puts jffi's library into our cache. jffi uses the file with the configured name if it equals the library in its
     * jar. Otherwise it fails and cannot be retried. The cache writes the complete file, under a name derived from its
     * content.
     */
    private static void unpack(ForeignProperties properties) {
        // Do not use jffi's Platform, because its first use loads the library.
        String architecture = System.getProperty("os.arch", "").equals("amd64") ? "x86_64" : "aarch64";
        String resource = "jni/" + architecture + "-Linux/libjffi-1.2.so";
        @Nullable Path held = LibraryCache.holdForOthers(MemoryIO.class, resource);
        if (held == null) {
            properties.set(EXTRACT_DIRECTORY, LibraryCache.directoryForOthers().toString());
        } else {
            properties.set(EXTRACT_DIRECTORY, String.valueOf(held.getParent()));
            properties.set(EXTRACT_NAME, String.valueOf(held.getFileName()));
        }
    }

    public static String description() {
        return "jnr-ffi";
    }

    /** The functions that jnr-ffi links. Public, because jnr-ffi generates code that implements them. */
    public interface Functions extends LibcFunctions {
        /** With a {@link Pointer}, jnr-ffi 2.3.4 avoids its x86-64 stubs, which pass six numbers wrongly. */
        long mmap(@Nullable Pointer address, long length, int protection, int flags, int fd, long offset);
    }

    @Override
    int errno() {
        return runtime.getLastError();
    }

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        return result(functions.mmap(null, length, protection, flags, fd, offset));
    }

    @Override
    public ByteBuffer view(long address, long length) {
        return MemoryIO.getInstance()
                .newDirectByteBuffer(address, Buffers.viewLength(length))
                .order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return Pointer.wrap(runtime, Buffers.readable(buffer, 0)).address();
    }
}
