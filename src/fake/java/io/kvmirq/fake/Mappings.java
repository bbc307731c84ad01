/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.NotModelledException;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.FileTable;
import io.kvmirq.fake.file.UserMemory;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteOrder;

/** The fake kernel's mmap, munmap and madvise. Callers hold the kernel's lock. */
final class Mappings {
    private static final long PAGE = 4096;
    /** The start of a process's last page, which cannot be mapped. */
    static final long LAST_ADDRESS = (1L << 47) - PAGE;
    /** The mask of the mapping type: MAP_SHARED, MAP_PRIVATE and two more bits. */
    private static final int MAP_TYPE = 0xf;
    /** MAP_SHARED_VALIDATE, for files only. */
    private static final int SHARED_VALIDATE = 3;
    /** MAP_DROPPABLE, for anonymous memory only, since 6.11. */
    private static final int DROPPABLE = 8;

    private static final long LARGEST_MEMORY = 1L << 40;
    private static final long LARGEST_MAPPING = (1L << 31) - PAGE;

    private final FakeHost host;
    private final UserMemory memory;
    private final FileTable files;

    Mappings(FakeHost host) {
        this.host = host;
        this.memory = host.memory();
        this.files = host.files();
    }

    private int refuse(Answer rule) {
        return host.refuse(rule);
    }

    /** Checks in the order of {@code ksys_mmap_pgoff()} and {@code do_mmap()}. */
    long map(long length, int protection, int flags, int fd, long offset) {
        FakeFile file = (flags & Uapi.MAP_ANONYMOUS) != 0 ? null : files.get(fd);
        if (offset % PAGE != 0) {
            return refuse(FileAnswer.MAP_LENGTH);
        }
        if ((flags & Uapi.MAP_ANONYMOUS) == 0 && file == null) {
            return refuse(FileAnswer.FD_NOT_OPEN);
        }
        if (length == 0) {
            return refuse(FileAnswer.MAP_LENGTH);
        }
        if (length < 0 || length > LAST_ADDRESS) {
            return refuse(FileAnswer.MAP_ROOM);
        }
        int kind = flags & MAP_TYPE;
        boolean shares = kind == Uapi.MAP_SHARED || file != null && kind == SHARED_VALIDATE;
        if (!shares && kind != Uapi.MAP_PRIVATE) {
            return refusesKind(kind, file == null);
        }
        if (file == null) {
            if (length > LARGEST_MEMORY) {
                throw new NotModelledException("a mapping of more than 1 TiB");
            }
            return memory.map((length + PAGE - 1) / PAGE * PAGE, protection, FreshMemory::allocate);
        }
        if (kind == SHARED_VALIDATE && flags != kind) {
            throw new NotModelledException("flags of MAP_SHARED_VALIDATE");
        }
        boolean writes = shares && (protection & Uapi.PROT_WRITE) != 0;
        if (!file.may(FakeFile.READ) || writes && !file.may(FakeFile.WRITE)) {
            return refuse(FileAnswer.MAP_ACCESS);
        }
        return file.shared(offset, whole(length), kind == Uapi.MAP_PRIVATE)
                .map(shared -> memory.map(shared.order(ByteOrder.nativeOrder()), protection))
                .orElseGet(() -> (long) refuse(file.refusesMapping()));
    }

    private int refusesKind(int kind, boolean anonymous) {
        if (anonymous && kind == DROPPABLE && host.build().isSince(6, 11)) {
            throw new NotModelledException("MAP_DROPPABLE");
        }
        return refuse(FileAnswer.MAP_KIND);
    }

    private static int whole(long length) {
        if (length > LARGEST_MAPPING) {
            throw new NotModelledException("a mapping of 2 GiB or more of a file");
        }
        return (int) ((length + PAGE - 1) / PAGE * PAGE);
    }

    int unmap(long address, long length) {
        if (address % PAGE != 0 || length <= 0) {
            return refuse(FileAnswer.UNMAP_ALIGNMENT);
        }
        memory.unmap(address, (length + PAGE - 1) / PAGE * PAGE);
        return 0;
    }

    /** Maps zeros over mapped pages by MAP_FIXED. */
    long replace(long address, long length, long protection, long flags) {
        if (protection != (Uapi.PROT_READ | Uapi.PROT_WRITE)
                || flags != SystemCall.MAP_ZEROS
                || length % PAGE != 0
                || !memory.has(address, length, 0)) {
            throw new NotModelledException("mmap by syscall, except of zeros in place of mapped pages");
        }
        memory.replace(address, length, FreshMemory::allocate);
        return address;
    }

    /** Accepts advice about child processes and core dumps, which this kernel does not have. */
    int advise(long address, long length, long advice) {
        boolean modelled = advice == Uapi.MADV_DONTFORK || advice == Uapi.MADV_DONTDUMP;
        if (!modelled || address % PAGE != 0 || !memory.has(address, length, 0)) {
            throw new NotModelledException("madvise, except MADV_DONTFORK and MADV_DONTDUMP of mapped pages");
        }
        return 0;
    }
}
