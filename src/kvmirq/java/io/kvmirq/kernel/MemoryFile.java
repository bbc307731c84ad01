/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.MemoryDescriptor;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.text.Foreign;
import io.kvmirq.uapi.Memfd;
import java.util.Objects;
import java.util.Set;

/**
 * Memory with a file descriptor (memfd_create(2)). A process that receives the descriptor, such as a vhost-user device,
 * can map the same memory. The size is sealed, so that no process can shrink the file while others use it. The memory
 * is freed when all its descriptors and mappings are closed. Thread-safe.
 *
 * <p>Source: mm/memfd.c, mm/shmem.c.
 *
 * {@snippet class="io.kvmirq.snippets.KernelSnippetsTest" region="memory"}
 */
public final class MemoryFile implements AutoCloseable {
    private static final int SEALS = Memfd.F_SEAL_SHRINK | Memfd.F_SEAL_GROW;

    private final Fd fd;
    private final long length;

    private MemoryFile(Fd fd, long length) {
        this.fd = fd;
        this.length = length;
    }

    /**
     * Creates zeroed memory. A page is allocated when it is first written.
     *
     * @param name the file's name in /proc/PID/maps, at most 249 bytes
     * @param length the file's length in bytes, at least one page and a multiple of 4096; may be 2 GiB or more
     * @throws IllegalArgumentException if {@code length} is invalid, or {@code name} has a NUL
     * @throws io.kvmirq.KernelException EMFILE, ENFILE, ENOMEM; EINVAL for a name that is too long; EFBIG beyond
     *     RLIMIT_FSIZE. vm.memfd_noexec causes no error, because the file is not executable
     */
    public static MemoryFile create(Kernel kernel, String name, long length) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(kernel, "kernel is null");
        if (name.indexOf('\0') >= 0) {
            throw new IllegalArgumentException("the name " + Foreign.quoted(name)
                    + " of a memory file has a NUL, where the kernel would truncate it: remove it");
        }
        if (length <= 0 || length % Mapping.LEAST_PAGE != 0) {
            throw new IllegalArgumentException("the memory file " + Foreign.quoted(name) + " cannot have " + length
                    + " bytes: expected a multiple of " + Mapping.LEAST_PAGE + " above 0");
        }
        Calls calls = kernel.calls();
        Libc libc = kernel.libc();
        return calls.made(
                "memory file",
                () -> MemoryDescriptor.create(libc, name),
                result -> calls.failure(result, KernelCall.MEMFD, Set.of(), () -> "name=" + Foreign.shown(name)),
                fd -> {
                    int raw = fd.number();
                    calls.check(
                            (int) libc.syscall(SystemCall.FTRUNCATE, raw, length, 0, 0),
                            KernelCall.TRUNCATE,
                            Set.of(),
                            () -> fd + " length=" + length);
                    calls.check(libc.fcntl(raw, Memfd.F_ADD_SEALS, SEALS), KernelCall.SEALS, Set.of(), fd::toString);
                    return new MemoryFile(fd, length);
                });
    }

    /**
     * Wraps a memfd made by another program, such as the VMM for which this process emulates a device.
     *
     * @param number the number of an open memfd descriptor of this process
     * @param length the bytes that {@link #map} maps from the file's start; {@code map} fails if the file is shorter
     * @throws IllegalArgumentException if {@code number} is not an open descriptor, or its file cannot be sealed
     */
    public static MemoryFile adopt(Kernel kernel, int number, long length, Ownership ownership) {
        Objects.requireNonNull(ownership, "ownership is null");
        Objects.requireNonNull(kernel, "kernel is null");
        int seals = kernel.libc().fcntl(number, Memfd.F_GET_SEALS, 0);
        if (number >= 0 && seals < 0) {
            String expected = "a memfd, made by memfd_create(2)";
            throw seals == -Errno.EBADF.number()
                    ? OpenFile.notOpen(number, expected)
                    : new IllegalArgumentException(
                            "fd " + number + " is open on a file that does not support seals: expected " + expected);
        }
        return Fd.adopt(kernel, "memory file", number, ownership, fd -> new MemoryFile(fd, length));
    }

    /** The memory's descriptor. {@link Fd#lease} returns the number to share. */
    public Fd fd() {
        return fd;
    }

    /** The length in bytes. */
    public long length() {
        return length;
    }

    /**
     * Maps all of the memory in this process, where it stays mapped when this MemoryFile is closed.
     *
     * @throws IllegalArgumentException as {@link Mapping#of(Fd,long)}
     * @throws io.kvmirq.KernelException ENOMEM
     */
    public Mapping.Owner map() {
        return Mapping.of(fd, length);
    }

    /** Closes the descriptor once no {@link Fd.Lease} is left. Mappings stay mapped. Idempotent, never fails. */
    @Override
    public void close() {
        fd.close();
    }

    @Override
    public String toString() {
        return fd.toString();
    }
}
