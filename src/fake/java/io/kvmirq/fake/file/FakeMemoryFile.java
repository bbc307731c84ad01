/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.uapi.Memfd;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.function.IntFunction;

/** A memfd. A program must set the file's size before mmap, and cannot use write(2). Source: mm/memfd.c, mm/shmem.c. */
public final class FakeMemoryFile extends FakeFile {
    private static final int LONGEST_NAME = 249;
    private static final int ALL_SEALS = 0x1f;
    private static final int ALL_FLAGS = 0x7;
    /** The most bytes of a read; a call may read less than requested. */
    private static final int MOST_READ = 1 << 20;

    private final IntFunction<ByteBuffer> allocator;
    private long size;
    private int seals;
    /** The memory, allocated at the first mmap. */
    private Optional<ByteBuffer> memory = Optional.empty();

    private FakeMemoryFile(KernelOfFile host, IntFunction<ByteBuffer> allocator, int seals) {
        super(host, READ | WRITE | CAN_READ | CAN_WRITE | PREAD | PWRITE);
        this.allocator = allocator;
        this.seals = seals;
    }

    /** Handles memfd_create(2); {@code name} is the address of the file's name. */
    public static int create(KernelOfFile host, long name, int flags, IntFunction<ByteBuffer> allocator) {
        boolean hasExec = host.build().isSince(6, 3);
        int known = ALL_FLAGS | (hasExec ? Memfd.MFD_NOEXEC_SEAL | Memfd.MFD_EXEC : 0);
        boolean both = (flags & (Memfd.MFD_NOEXEC_SEAL | Memfd.MFD_EXEC)) == (Memfd.MFD_NOEXEC_SEAL | Memfd.MFD_EXEC);
        if ((flags & Memfd.MFD_HUGETLB) != 0) {
            throw new NotModelledException("Memfd.MFD_HUGETLB");
        }
        if ((flags & ~known) != 0 || both) {
            return host.refuse(FileAnswer.MEMFD_FLAGS);
        }
        String text = host.memory().text(name, 2 * LONGEST_NAME);
        if (text == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        if (text.length() > LONGEST_NAME) {
            return host.refuse(FileAnswer.MEMFD_NAME);
        }
        int seals = (flags & Memfd.MFD_ALLOW_SEALING) == 0 ? Memfd.F_SEAL_SEAL : 0;
        return host.install(
                new FakeMemoryFile(host, allocator, (flags & Memfd.MFD_NOEXEC_SEAL) != 0 ? Memfd.F_SEAL_EXEC : seals));
    }

    /** Handles ftruncate(2) of any file. */
    public static int truncate(KernelOfFile host, int fd, long length) {
        FakeFile file = host.file(fd);
        if (length < 0) {
            return host.refuse(FileAnswer.TRUNCATE_NEGATIVE);
        }
        if (file == null) {
            return host.refuse(FileAnswer.FD_NOT_OPEN);
        }
        return file instanceof FakeMemoryFile memfd ? memfd.truncate(length) : host.refuse(FileAnswer.TRUNCATE_KIND);
    }

    private int truncate(long length) {
        boolean sealed = length < size && (seals & Memfd.F_SEAL_SHRINK) != 0
                || length > size && (seals & Memfd.F_SEAL_GROW) != 0;
        if (sealed) {
            return host.refuse(FileAnswer.TRUNCATE_SEALED);
        }
        if (memory.isPresent() && length != size) {
            throw new NotModelledException("another size of a memfd that was mapped");
        }
        size = length;
        return 0;
    }

    /** Handles F_ADD_SEALS and F_GET_SEALS of any file. */
    public static int seals(KernelOfFile host, FakeFile file, int command, int more) {
        if (!(file instanceof FakeMemoryFile memfd)) {
            return host.refuse(FileAnswer.SEALS_KIND);
        }
        return command == Memfd.F_GET_SEALS ? memfd.seals : memfd.addSeals(more);
    }

    private int addSeals(int more) {
        if ((more & ~(ALL_SEALS | (host.build().isSince(6, 3) ? Memfd.F_SEAL_EXEC : 0))) != 0) {
            return host.refuse(FileAnswer.SEALS_KIND);
        }
        if ((seals & Memfd.F_SEAL_SEAL) != 0) {
            return host.refuse(FileAnswer.SEALS_SEALED);
        }
        if ((more & ~(Memfd.F_SEAL_SEAL | Memfd.F_SEAL_SHRINK | Memfd.F_SEAL_GROW)) != 0) {
            throw new NotModelledException("seals against writing and executing");
        }
        seals |= more;
        return 0;
    }

    @Override
    public Optional<ByteBuffer> shared(long offset, int length, boolean copies) {
        if (copies) {
            throw new NotModelledException("a private mapping of a memfd");
        }
        if (memory.isEmpty()) {
            if (size > Integer.MAX_VALUE) {
                throw new NotModelledException("a mapping of 2 GiB or more");
            }
            memory = Optional.of(allocator.apply((int) size));
        }
        return part(memory.get(), offset, length);
    }

    @Override
    public int statusFlags() {
        return super.statusFlags() | OpenFlag.LARGEFILE.on(host.build());
    }

    @Override
    public long read(long to, long length) {
        throw notModelled();
    }

    @Override
    public long write(long from, long length) {
        throw notModelled();
    }

    /** {@code shmem_file_read_iter()}. */
    @Override
    public long pread(long to, long length, long offset) {
        int bytes = (int) Math.min(Math.min(length, MOST_READ), Math.max(size - offset, 0));
        ByteBuffer read = ByteBuffer.allocate(bytes);
        if (bytes > 0) {
            memory.ifPresent(made -> read.put(0, made, (int) offset, bytes));
        }
        if (!host.memory().put(to, read, bytes)) {
            throw new NotModelledException("reading a memfd into memory that cannot be written");
        }
        return bytes;
    }

    @Override
    public long pwrite(long from, long length, long offset) {
        throw notModelled();
    }

    private static NotModelledException notModelled() {
        return new NotModelledException("read and write of a memfd: map it");
    }
}
