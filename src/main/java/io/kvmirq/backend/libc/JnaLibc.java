/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.library.LibraryCache;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * libc through JNA's direct mapping. JNA saves the errno of each call for the calling thread before it returns to Java,
 * so no other call changes it.
 */
public final class JnaLibc implements Libc {
    /** The directory into which JNA unpacks its own library. */
    private static final String TEMPORARY = "jna.tmpdir";
    /** If the user sets one of these, JNA needs no directory from kvmirq. */
    private static final List<String> GIVEN = List.of(TEMPORARY, "jna.boot.library.path", "jna.nounpack");

    private JnaLibc() {}

    /** @throws BackendUnavailableException if JNA is not on the class path or cannot load its own library */
    public static Libc open() {
        try (ForeignProperties properties = new ForeignProperties()) {
            if (GIVEN.stream().allMatch(property -> System.getProperty(property) == null)) {
                properties.set(TEMPORARY, LibraryCache.directoryForOthers().toString());
            }
            // Look symbols up in the whole process, so that a preloaded recorder sees the calls.
            Native.register(Functions.class, NativeLibrary.getProcess());
            return new JnaLibc();
        } catch (NoClassDefFoundError e) {
            throw Missing.explain("net.java.dev.jna:jna", e);
        } catch (UnsatisfiedLinkError e) {
            throw new BackendUnavailableException("JNA cannot load its library: " + e.getMessage(), e);
        }
    }

    /** The library and its version, for messages. */
    public static String description() {
        return "JNA " + Native.VERSION;
    }

    /** Signatures as in libc's headers, pointers and sizes as 64-bit numbers. */
    private static final class Functions {
        static native int open(long path, int flags, int mode);

        static native int close(int fd);

        static native int fcntl(int fd, int command, int argument);

        static native long read(int fd, long to, long length);

        static native long write(int fd, long from, long length);

        static native long pread(int fd, long to, long length, long offset);

        static native long pwrite(int fd, long from, long length, long offset);

        static native long preadv2(int fd, long vectors, int count, long offset, int flags);

        static native int ioctl(int fd, long request, long argument);

        static native long mmap(long address, long length, int protection, int flags, int fd, long offset);

        static native int munmap(long address, long length);

        static native int ppoll(long fds, long count, long timeout, long signals);

        static native int eventfd(int count, int flags);

        static native int epoll_create1(int flags);

        static native int epoll_ctl(int epoll, int operation, int fd, long event);

        static native int epoll_wait(int epoll, long events, int max, int timeout);
    }

    private static int result(int result) {
        return result < 0 ? -Native.getLastError() : result;
    }

    private static long result(long result) {
        return result == -1 ? -Native.getLastError() : result;
    }

    @Override
    public int open(long path, int flags, int mode) {
        return result(Functions.open(path, flags | Uapi.O_CLOEXEC, mode));
    }

    @Override
    public int close(int fd) {
        return result(Functions.close(fd));
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        return result(Functions.fcntl(fd, command, argument));
    }

    @Override
    public long read(int fd, long to, long length) {
        return result(Functions.read(fd, to, length));
    }

    @Override
    public long write(int fd, long from, long length) {
        return result(Functions.write(fd, from, length));
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        return result(Functions.pread(fd, to, length, offset));
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        return result(Functions.pwrite(fd, from, length, offset));
    }

    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        return result(Functions.preadv2(fd, vectors, count, offset, flags));
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        return result(Functions.ioctl(fd, request, argument));
    }

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        return result(Functions.mmap(0, length, protection, flags, fd, offset));
    }

    @Override
    public int munmap(long address, long length) {
        return result(Functions.munmap(address, length));
    }

    @Override
    public int ppoll(long fds, long count, long timeout) {
        return result(Functions.ppoll(fds, count, timeout, 0));
    }

    @Override
    public int eventfd(int count, int flags) {
        return result(Functions.eventfd(count, flags | Uapi.O_CLOEXEC));
    }

    @Override
    public int epollCreate(int flags) {
        return result(Functions.epoll_create1(flags | Uapi.EPOLL_CLOEXEC));
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        return result(Functions.epoll_ctl(epoll, operation, fd, event));
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        return result(Functions.epoll_wait(epoll, events, max, timeoutMillis));
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
