/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.library.LibraryCache;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Calls libc through JNA's direct mapping. JNA saves each call's errno for the calling thread before it returns to
 * Java, so no other thread's call changes the saved errno.
 */
public final class JnaLibc extends ForeignLibc {
    /** The directory into which JNA unpacks its own library. */
    private static final String TEMPORARY = "jna.tmpdir";
    /** The directory in which JNA finds its own unpacked library. */
    private static final String PLACE = "jna.boot.library.path";
    /** The name of that library, without lib and .so. */
    private static final String NAME = "jna.boot.library.name";
    /** If the user sets one of these, JNA needs no directory from kvmirq. */
    private static final List<String> GIVEN = List.of(TEMPORARY, PLACE, NAME, "jna.nounpack");

    private final Functions functions;

    private JnaLibc(Functions functions) {
        super(functions);
        this.functions = functions;
    }

    /** @throws BackendUnavailableException if JNA is not on the class path or cannot load its own library */
    public static Libc open() {
        try (ForeignProperties properties = new ForeignProperties()) {
            // Throws if JNA is absent, before a directory is created for its library.
            Objects.requireNonNull(NativeLibrary.class);
            if (!isGiven()) {
                unpack(properties);
            }
            Native.register(Functions.class, NativeLibrary.getProcess());
            return new JnaLibc(new Functions());
        } catch (NoClassDefFoundError e) {
            throw Missing.explain("net.java.dev.jna:jna", e);
        } catch (UnsatisfiedLinkError e) {
            throw new BackendUnavailableException("JNA cannot load its library: " + e.getMessage(), e);
        }
    }

    private static boolean isGiven() {
        for (String property : GIVEN) {
            if (System.getProperty(property) != null) {
                return true;
            }
        }
        return false;
    }

    /** Caches JNA's library, which JNA would unpack at each start. For a second class loader, JNA still unpacks it. */
    private static void unpack(ForeignProperties properties) {
        String architecture = System.getProperty("os.arch", "").equals("amd64") ? "x86-64" : "aarch64";
        String resource = "com/sun/jna/linux-" + architecture + "/libjnidispatch.so";
        @Nullable Path held = LibraryCache.holdForOthers(NativeLibrary.class, resource);
        if (held == null) {
            properties.set(TEMPORARY, LibraryCache.directoryForOthers().toString());
            return;
        }
        String file = String.valueOf(held.getFileName());
        properties.set(TEMPORARY, String.valueOf(held.getParent()));
        properties.set(PLACE, String.valueOf(held.getParent()));
        properties.set(NAME, file.substring("lib".length(), file.length() - ".so".length()));
    }

    /** The running JNA version, read by reflection because javac would copy the constant compiled against. */
    public static String description() {
        try {
            Field version = Native.class.getField("VERSION"); // inherited from an interface that is not public
            return "JNA "
                    + (version.trySetAccessible()
                            ? version.get(null)
                            : Native.class
                                    .getModule()
                                    .getDescriptor()
                                    .rawVersion()
                                    .orElse(""));
        } catch (ReflectiveOperationException e) {
            return "JNA";
        }
    }

    private static final class Functions implements LibcFunctions {
        @Override
        public native int open(long path, int flags, int mode);

        @Override
        public native int close(int fd);

        @Override
        public native int fcntl(int fd, int command, int argument);

        @Override
        public native long read(int fd, long to, long length);

        @Override
        public native long write(int fd, long from, long length);

        @Override
        public native long pread(int fd, long to, long length, long offset);

        @Override
        public native long pwrite(int fd, long from, long length, long offset);

        @Override
        public native long preadv2(int fd, long vectors, int count, long offset, int flags);

        @Override
        public native int ioctl(int fd, long request, long argument);

        @Override
        public native int munmap(long address, long length);

        @Override
        public native int ppoll(long fds, long count, long timeout, long signals);

        @Override
        public native int eventfd(int count, int flags);

        @Override
        public native int epoll_create1(int flags);

        @Override
        public native int epoll_ctl(int epoll, int operation, int fd, long event);

        @Override
        public native int epoll_wait(int epoll, long events, int max, int timeout);

        @Override
        public native long syscall(long number, long a, long b, long c, long d, long e, long f);

        native long mmap(long address, long length, int protection, int flags, int fd, long offset);
    }

    @Override
    int errno() {
        return Native.getLastError();
    }

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        return result(functions.mmap(0, length, protection, flags, fd, offset));
    }

    @Override
    public ByteBuffer view(long address, long length) {
        return new Pointer(address).getByteBuffer(0, Buffers.viewLength(length)).order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return Pointer.nativeValue(Native.getDirectBufferPointer(Buffers.readable(buffer, 0)));
    }
}
