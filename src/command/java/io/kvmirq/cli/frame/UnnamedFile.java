/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.MemoryDescriptor;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.uapi.Memfd;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/**
 * A file in memory, for programs that this command starts: they open it by its path in /proc. It is in no directory, so
 * a killed command leaves none behind. Its memory is free when no process has it open.
 */
public final class UnnamedFile implements AutoCloseable {
    private final Libc libc;
    private final int descriptor;

    private UnnamedFile(Libc libc, int descriptor) {
        this.libc = libc;
        this.descriptor = descriptor;
    }

    /**
     * Makes an empty file, named for /proc/PID/maps. UnreadableInputException without a descriptor,
     * BackendUnavailableException without a binding to the real kernel.
     */
    public static UnnamedFile create(String name) {
        Libc libc = Backends.ofThisMachine().open(Backends.AUTO).libc();
        int descriptor = MemoryDescriptor.create(libc, name + "-" + System.nanoTime());
        if (descriptor < 0) {
            Errno errno = new Errno(-descriptor);
            boolean limit = errno.equals(Errno.EMFILE) || errno.equals(Errno.ENFILE);
            throw new UnreadableInputException("cannot make a file in memory: memfd_create gives " + errno
                    + (limit ? "; raise the limit on open files (ulimit -n), or close some" : ""));
        }
        return new UnnamedFile(libc, descriptor);
    }

    /** Seals the file: no process can shrink it or remove the seal. */
    public void keepLength() {
        int result = libc.fcntl(descriptor, Memfd.F_ADD_SEALS, Memfd.F_SEAL_SHRINK | Memfd.F_SEAL_SEAL);
        requireDone(result, "fcntl F_ADD_SEALS");
    }

    /** Locks it until it is closed. A lock of FileChannel would end when this process closes any descriptor of it. */
    public void lock() {
        ByteBuffer whole = ByteBuffer.allocateDirect(Memfd.FLOCK_SIZE).order(ByteOrder.nativeOrder());
        whole.putShort(0, Memfd.F_WRLCK);
        try {
            long result = libc.syscall(SystemCall.FCNTL, descriptor, Memfd.F_OFD_SETLK, libc.addressOf(whole), 0);
            requireDone(result, "fcntl F_OFD_SETLK");
        } finally {
            Reference.reachabilityFence(whole);
        }
    }

    /** Frees the memory of a range, if the kernel can. The range then reads as zeros. */
    public void release(long from, long to) {
        int mode = Memfd.FALLOC_FL_PUNCH_HOLE | Memfd.FALLOC_FL_KEEP_SIZE;
        libc.syscall(SystemCall.FALLOCATE, descriptor, mode, from, to - from);
    }

    private static void requireDone(long result, String call) {
        if (result < 0) {
            throw new IllegalStateException(call + " of our own file gives " + new Errno((int) -result));
        }
    }

    /** Its path for every process of this user in this PID namespace, while this object is open. */
    public Path path() {
        return Path.of("/proc/" + ProcessHandle.current().pid() + "/fd/" + descriptor);
    }

    @Override
    public void close() {
        libc.close(descriptor);
    }
}
