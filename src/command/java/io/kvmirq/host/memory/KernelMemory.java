/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.path.Known;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;

/**
 * The memory of a kernel by virtual address, as an ELF core file shows it. Opened for reading only. Unmapped pages read as
 * zeros. For use by one thread.
 *
 * <p>Source: {@code read_kcore_iter()} in fs/proc/kcore.c; elf(5).
 */
final class KernelMemory implements AutoCloseable {
    private static final int HEADER = 64;
    private static final int PROGRAM = 56;
    private static final int MAGIC = 0x464c_457f;
    private static final int CLASS_64 = 2;
    private static final int CORE = 4;
    private static final int LOAD = 1;
    /** The longest read, in bytes: no structure of a walk is longer. */
    private static final int LONGEST_READ = 4096;

    private static final int MOST_TRIES = 3;
    private static final String ELSEWHERE = "use kvmirq on the host itself, with a kernel that has CONFIG_PROC_KCORE";

    /** Reads at a position, as pread does. */
    interface Source {
        int read(ByteBuffer into, long position) throws IOException;
    }

    private final String name;
    private final Source file;
    private final Closeable end;
    private final ByteBuffer bytes = ByteBuffer.allocateDirect(LONGEST_READ).order(ByteOrder.nativeOrder());
    /** Address, length and offset of each segment, unsigned. */
    private long[] segments = {};

    private KernelMemory(String name, Source file, Closeable end) {
        this.name = name;
        this.file = file;
        this.end = end;
    }

    /**
     * Opens a core file.
     *
     * @throws Unseen if it cannot be read, or is none of a 64-bit kernel in this machine's byte order
     */
    static KernelMemory open(Path core) {
        String name = core.toString();
        try {
            FileChannel file = FileChannel.open(core, StandardOpenOption.READ);
            return open(name, file::read, file);
        } catch (IOException e) {
            throw refused(name, e);
        }
    }

    /** The memory that a source has. */
    static KernelMemory open(String name, Source source, Closeable end) {
        KernelMemory memory = new KernelMemory(name, source, end);
        try {
            memory.readSegments();
            return memory;
        } catch (Unseen e) {
            memory.close();
            throw e;
        }
    }

    private static Unseen refused(String name, IOException e) {
        String why = name + " cannot be read: ";
        if (e instanceof NoSuchFileException) {
            return new Unseen(Known.Reason.ABSENT, why + "no such file", ELSEWHERE);
        }
        if (e instanceof AccessDeniedException) {
            return new Unseen(Known.Reason.REFUSED, why + "permission denied", "run as root");
        }
        String reason = e instanceof FileSystemException of && of.getReason() != null ? of.getReason() : e.getMessage();
        boolean locked = String.valueOf(reason).startsWith("Operation not permitted");
        return locked
                ? new Unseen(
                        Known.Reason.REFUSED,
                        why + reason + " (this process lacks CAP_SYS_RAWIO, or the kernel is locked down for"
                                + " confidentiality)",
                        "run as root outside a container; lockdown=integrity does not hide /proc/kcore")
                : new Unseen(why + reason, ELSEWHERE);
    }

    /** Fills {@link #bytes} with a part of the file. */
    private void fill(long offset, int length, String what) {
        bytes.clear().limit(length);
        try {
            while (bytes.hasRemaining()) {
                if (file.read(bytes, offset + bytes.position()) <= 0) {
                    throw Unseen.wrong(name + " ends within " + what);
                }
            }
        } catch (IOException e) {
            throw refused(name, e);
        }
    }

    private void readSegments() {
        try {
            if (file.read(bytes.clear().limit(1), 0) <= 0) {
                throw new Unseen(name + " cannot be read: it is empty, as in a container", ELSEWHERE);
            }
        } catch (IOException e) {
            throw refused(name, e);
        }
        fill(0, HEADER, "its header");
        boolean isCore = bytes.getInt(0) == MAGIC && bytes.get(4) == CLASS_64 && bytes.getShort(0x10) == CORE;
        if (!isCore || bytes.getShort(0x36) != PROGRAM) {
            throw new Unseen(name + " cannot be read: it is not a 64-bit ELF core file", ELSEWHERE);
        }
        long at = bytes.getLong(0x20);
        int count = Short.toUnsignedInt(bytes.getShort(0x38));
        long[] found = new long[count * 3];
        int used = 0;
        for (int i = 0; i < count; i++) {
            fill(at + (long) i * PROGRAM, PROGRAM, "its program headers");
            if (bytes.getInt(0) == LOAD) {
                found[used] = bytes.getLong(0x10);
                found[used + 1] = bytes.getLong(0x28);
                found[used + 2] = bytes.getLong(8);
                used += 3;
            }
        }
        segments = Arrays.copyOf(found, used);
    }

    /** The offset of an address in the file; -1 if no segment has all of its bytes. */
    private long offset(long address, int length) {
        for (int i = 0; i < segments.length; i += 3) {
            long within = address - segments[i];
            if (Long.compareUnsigned(within, segments[i + 1]) < 0
                    && Long.compareUnsigned(segments[i + 1] - within, length) >= 0) {
                return segments[i + 2] + within;
            }
        }
        return -1;
    }

    /**
     * The bytes at an address, read once. They are valid until the next read.
     *
     * @param length {@value #LONGEST_READ} at most
     * @param what is there, for the sentence of a failure
     */
    private ByteBuffer once(long address, int length, String what) {
        long offset = offset(address, length);
        if (offset < 0) {
            readSegments(); // a module was loaded, or memory was added
            offset = offset(address, length);
        }
        if (offset < 0) {
            throw Unseen.wrong(name + " has no segment with " + what);
        }
        fill(offset, length, what);
        return bytes;
    }

    /** The bytes at an address: two reads agree on them. */
    byte[] read(long address, int length, String what) {
        byte[] before = new byte[length];
        byte[] after = new byte[length];
        once(address, length, what).get(0, before);
        for (int left = MOST_TRIES; left > 0; left--) {
            once(address, length, what).get(0, after);
            if (Arrays.equals(before, after)) {
                return after;
            }
            System.arraycopy(after, 0, before, 0, length);
        }
        throw Unseen.torn(what);
    }

    /** The word at an address. */
    long word(long address, String what) {
        return words(address, 1, what)[0];
    }

    /** The 32 bits at an address, unsigned. */
    long half(long address, String what) {
        return Integer.toUnsignedLong(ByteBuffer.wrap(read(address, Integer.BYTES, what))
                .order(ByteOrder.nativeOrder())
                .getInt());
    }

    /** Words at an address. */
    long[] words(long address, int count, String what) {
        long[] words = new long[count];
        ByteBuffer.wrap(read(address, count * Long.BYTES, what))
                .order(ByteOrder.nativeOrder())
                .asLongBuffer()
                .get(words);
        return words;
    }

    /** Checks a pointer to a structure: in the kernel's half of the addresses, and aligned as structures are. */
    static long checked(long pointer, String what) {
        if (pointer >= 0 || pointer % Long.BYTES != 0) {
            throw Unseen.wrong(what + (pointer == 0 ? " is 0" : " is not the address of a kernel structure")
                    + ", expected a pointer");
        }
        return pointer;
    }

    @Override
    public void close() {
        try {
            end.close();
        } catch (IOException e) {
            // It was open for reading.
        }
    }
}
