/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.Set;
import java.util.function.IntSupplier;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Memory that this process has mapped. The methods access single values by offset, and throw {@link
 * ClosedHandleException} after the mapping is closed. Each access costs a few extra nanoseconds to keep the memory
 * mapped, so use a {@link #view} for frequent accesses, such as to a virtqueue. Only the {@link Owner} can unmap the
 * memory. An offset outside the mapping throws {@link IndexOutOfBoundsException}. Thread-safe; {@code int} accesses are
 * volatile, because a guest or the kernel accesses the same memory.
 *
 * <p>Child processes do not inherit the memory (MADV_DONTFORK), and core dumps omit it (MADV_DONTDUMP).
 *
 * {@snippet class="io.kvmirq.snippets.KernelSnippetsTest" region="memory"}
 */
public final class Mapping {
    private static final long NOT_MAPPED = -1;
    static final int LEAST_PAGE = 4096;
    private static final int[] KEPT = {Uapi.MADV_DONTFORK, Uapi.MADV_DONTDUMP};

    private final Kernel kernel;
    private final String name;
    private final long length;
    private final MemoryParts parts;

    private final UseCount uses = new UseCount();
    private final Handles.Entry entry;
    /** Set once, before other code has the mapping. */
    private long address = NOT_MAPPED;
    /** Null until the first view. */
    private volatile @Nullable Addresses given;

    private Mapping(Kernel kernel, String name, long length, int flags, int raw, long offset, boolean guestOnly) {
        this.kernel = kernel;
        this.name = name;
        this.length = length;
        Libc libc = kernel.libc();
        try (Undo undo = new Undo()) {
            this.entry = kernel.handles().entry(this, "mapping of " + name, 1);
            kernel.handles().register(entry);
            undo.add(this::close);
            long result = libc.mmap(length, Uapi.PROT_READ | Uapi.PROT_WRITE, flags, raw, offset);
            if (result < 0) {
                throw kernel.calls()
                        .failure(
                                result,
                                KernelCall.MMAP,
                                Set.of(),
                                () -> name + " offset=" + offset + " length=" + length);
            }
            this.address = result;
            keepToItself(kernel.calls(), name, result, length);
            this.parts = new MemoryParts(libc, result, guestOnly ? 0 : length);
            undo.keep();
        }
    }

    /**
     * Keeps memory that a guest, a device or the kernel writes out of child processes and core dumps, because after a
     * fork the first write to a page would leave one of the two processes with a private copy, and a core dump would
     * contain guest secrets.
     *
     * @throws io.kvmirq.KernelException if a system call filter refuses madvise(2)
     */
    static void keepToItself(Calls calls, String name, long address, long length) {
        for (int advice : KEPT) {
            long result = calls.libc().syscall(SystemCall.MADVISE, address, length, advice, 0);
            if (result < 0) {
                throw calls.failure(result, KernelCall.MADVISE, Set.of(), () -> name + " advice=" + advice);
            }
        }
    }

    private static void requireRange(Object name, long offset, long length) {
        if (length <= 0) {
            throw new IllegalArgumentException(
                    "a mapping of " + name + " with " + length + " bytes is invalid: expected at least one page");
        }
        if (offset < 0 || offset % LEAST_PAGE != 0) {
            throw new IllegalArgumentException("offset " + offset + " of " + name
                    + " is invalid: expected 0 or a multiple of the page size, 4096 or more");
        }
    }

    /**
     * The right to unmap a {@link Mapping}. Code that manages the memory's lifetime keeps the owner and passes only the
     * mapping to other code. Thread-safe.
     */
    public static final class Owner implements AutoCloseable {
        private final Mapping mapping;

        private Owner(Kernel kernel, String name, long length, int flags, int raw, long offset, boolean guestOnly) {
            // last, so that no failure leaves the mapping without an owner
            this.mapping = new Mapping(kernel, name, length, flags, raw, offset, guestOnly);
        }

        /** The mapping, which its users cannot unmap. */
        public Mapping mapping() {
            return mapping;
        }

        /**
         * Refuses further accesses. Unmaps the memory once no access is running and every {@link Lease} is closed, and
         * so never while a guest or a device uses it. Idempotent.
         */
        @Override
        public void close() {
            mapping.close();
        }
    }

    /**
     * Allocates zeroed memory.
     *
     * @param length the length in bytes, for guest memory a multiple of the page size; may be 2 GiB or more
     * @throws IllegalArgumentException if {@code length} is not positive
     * @throws io.kvmirq.KernelException ENOMEM
     */
    public static Owner anonymous(Kernel kernel, long length) {
        Objects.requireNonNull(kernel, "kernel is null");
        requireRange("memory", 0, length);
        return new Owner(kernel, "memory", length, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0, false);
    }

    /** Maps {@code length} bytes from the start of the file, like {@link #of(Fd,long,long)} with offset 0. */
    public static Owner of(Fd fd, long length) {
        return of(fd, 0, length);
    }

    /**
     * Maps a file, such as a {@link MemoryFile}, which may use huge pages. Closing {@code fd} does not unmap it. The
     * file is sealed against shrinking (F_SEAL_SHRINK), because an access beyond its end would raise SIGBUS.
     *
     * @param offset the offset in the file in bytes, a multiple of the page size (or of the huge page size)
     * @throws IllegalArgumentException if the file cannot be sealed, such as a regular file, or ends before {@code
     *     offset + length} (use {@link #forGuest} instead), if {@code offset} is negative or not a multiple of 4096, or
     *     if {@code length} is not positive
     * @throws io.kvmirq.KernelException EINVAL for an offset that is not a multiple of a larger page size; EACCES if
     *     {@code fd} is not open for reading and writing; ENOMEM, including when no huge page is free
     */
    public static Owner of(Fd fd, long offset, long length) {
        Objects.requireNonNull(fd, "fd is null: pass the descriptor of the memory");
        requireRange(fd, offset, length);
        int raw = fd.enter();
        try (Undo undo = new Undo()) {
            FileSeals file = new FileSeals(fd.kernel().libc(), fd.toString(), raw);
            boolean sealed = file.isSealed();
            requireLength(fd, file, offset + length);
            Owner owner = undo.add(new Owner(fd.kernel(), fd.toString(), length, Uapi.MAP_SHARED, raw, offset, false));
            if (!sealed) { // only now, so that a refused file stays unchanged
                file.seal();
                requireLength(fd, file, offset + length);
            }
            undo.keep();
            return owner;
        } finally {
            fd.exit();
        }
    }

    private static void requireLength(Fd fd, FileSeals file, long length) {
        ByteBuffer scratch = fd.kernel().scratch();
        try {
            file.requireLength(length, scratch);
        } finally {
            fd.kernel().done(scratch);
        }
    }

    /** The page that a vCPU shares with this process, mapped as long as the vCPU exists. */
    static Owner ofVcpu(Fd vcpu, long length) {
        return of(vcpu, 0, length, false);
    }

    /**
     * Maps device memory, or a file that may shrink, only for a guest. This process's accesses throw, because they
     * could raise SIGBUS, for example while the guest has disabled the device's memory space.
     *
     * @param offset the offset in the file in bytes, a multiple of the page size
     * @throws io.kvmirq.KernelException the errno of mmap(2), which differs between kinds of files
     */
    public static Owner forGuest(Fd file, long offset, long length) {
        Objects.requireNonNull(file, "file is null: pass the descriptor of a region or a file");
        requireRange(file, offset, length);
        return of(file, offset, length, true);
    }

    private static Owner of(Fd fd, long offset, long length, boolean guestOnly) {
        int raw = fd.enter();
        try {
            return new Owner(fd.kernel(), fd.toString(), length, Uapi.MAP_SHARED, raw, offset, guestOnly);
        } finally {
            fd.exit();
        }
    }

    Kernel kernel() {
        return kernel;
    }

    /** The length in bytes. */
    public long length() {
        return length;
    }

    /**
     * Leases the mapping, which stays mapped until the lease is closed, even if the Owner is closed earlier.
     *
     * @throws ClosedHandleException after the owner closed the mapping
     */
    public Lease lease() {
        Lease lease = new Lease(this); // before the use is counted, so that no failure leaves it counted
        enter();
        return lease;
    }

    /** Keeps the memory mapped, see {@link Mapping#lease}. A second close does nothing. Thread-safe. */
    public static final class Lease implements AutoCloseable {
        private final UseCount once = new UseCount();
        private final Mapping mapping;

        private Lease(Mapping mapping) {
            this.mapping = mapping;
        }

        @Override
        public void close() {
            if (once.end()) {
                mapping.exit();
            }
        }

        Mapping mapping() {
            return mapping;
        }

        long address() {
            return mapping.address;
        }

        /** Keeps the lease forever, so that memory that a guest still uses stays mapped until the process exits. */
        public void abandon() {
            if (once.end()) {
                mapping.entry.released(0);
            }
        }
    }

    /**
     * A little-endian buffer over part of the memory, for fast access from any thread. For memory that a guest or a
     * device also accesses, use a {@code VarHandle}: {@code MethodHandles.byteBufferViewVarHandle(short[].class,
     * LITTLE_ENDIAN)} has {@code getAcquire} and {@code setRelease} for the indices of a virtqueue. The handles for
     * {@code int[]} and {@code long[]} also have {@code compareAndSet}.
     *
     * <p>After the memory is unmapped, the buffer reads zeros (on the fake kernel, the old bytes), and writes to it
     * reach neither guest nor file. An access throws only if the index is out of range. Unmapping frees the pages at
     * once. In a process with mlockall(MCL_FUTURE), zeroed pages replace them. If RLIMIT_MEMLOCK forbids that, the old
     * pages stay and a warning is logged. The address range is freed once the buffer, its slices and its memory
     * segments are unreachable.
     *
     * @param offset the offset from the start of the memory in bytes
     * @param length the length in bytes, 1 to 1 GiB
     * @throws IllegalArgumentException if {@code length} is not 1 to 1 GiB
     * @throws ClosedHandleException after the owner closed the memory
     */
    public ByteBuffer view(long offset, int length) {
        if (length <= 0 || length > MemoryParts.PART_BYTES) {
            throw new IllegalArgumentException("a view of " + length + " bytes is invalid: expected 1 to "
                    + MemoryParts.PART_BYTES + "; for more memory, use several views");
        }
        enter(offset, length);
        try {
            return addresses().view(offset, length);
        } finally {
            exit();
        }
    }

    private synchronized Addresses addresses() {
        Addresses now = given == null ? new Addresses(kernel.libc(), kernel.reports(), address, length) : given;
        given = now;
        return now;
    }

    private void enter(long offset, long bytes) {
        require(offset, bytes);
        enter();
    }

    private void enter() {
        if (!uses.begin()) {
            throw new ClosedHandleException("mapping of " + name);
        }
    }

    private void exit() {
        if (uses.finish()) {
            unmap();
        }
    }

    private void require(long offset, long bytes) {
        if (offset < 0 || offset > length - bytes) {
            throw new IndexOutOfBoundsException("offset " + offset + ", length " + bytes
                    + " is outside of the mapping of " + name + ", which has " + length + " bytes");
        }
        if (parts.isEmpty()) {
            throw new UnsupportedOperationException("the mapping of " + name + " is for the guest: an access from"
                    + " here could raise SIGBUS, while a device's memory space is off or after a file shrank; use read"
                    + " and write of the device's region, or Mapping.of of a memfd");
        }
    }

    private void requireAligned(long offset) {
        require(offset, Integer.BYTES);
        if (offset % Integer.BYTES != 0) {
            throw new IllegalArgumentException("offset " + offset + " is not a multiple of 4, as a volatile int needs");
        }
    }

    /** Volatile 32-bit load, little-endian. @throws IllegalArgumentException unless the offset is a multiple of 4 */
    public int getInt(long offset) {
        requireAligned(offset);
        enter();
        try {
            return parts.getInt(offset);
        } finally {
            exit();
        }
    }

    /** Volatile 32-bit store, little-endian. @throws IllegalArgumentException unless the offset is a multiple of 4 */
    public void putInt(long offset, int value) {
        requireAligned(offset);
        enter();
        try {
            parts.putInt(offset, value);
        } finally {
            exit();
        }
    }

    /** Reads a byte. */
    public byte getByte(long offset) {
        enter(offset, Byte.BYTES);
        try {
            return parts.getByte(offset);
        } finally {
            exit();
        }
    }

    /** Reads two bytes, little-endian. */
    public short getShort(long offset) {
        enter(offset, Short.BYTES);
        try {
            return (short) parts.get(offset, Short.BYTES);
        } finally {
            exit();
        }
    }

    /** Reads eight bytes, little-endian. */
    public long getLong(long offset) {
        enter(offset, Long.BYTES);
        try {
            return parts.get(offset, Long.BYTES);
        } finally {
            exit();
        }
    }

    /** Stores two bytes, little-endian, as a plain (not volatile) access. */
    public void putShort(long offset, short value) {
        put(offset, Short.BYTES, value);
    }

    /** Stores eight bytes, little-endian, as a plain (not volatile) access. */
    public void putLong(long offset, long value) {
        put(offset, Long.BYTES, value);
    }

    private void put(long offset, int bytes, long value) {
        enter(offset, bytes);
        try {
            parts.put(offset, bytes, value);
        } finally {
            exit();
        }
    }

    /** Stores one byte as a plain (not volatile) access, which a vCPU sees when it next enters the guest. */
    public void putByte(long offset, byte value) {
        enter(offset, Byte.BYTES);
        try {
            parts.putByte(offset, value);
        } finally {
            exit();
        }
    }

    /** Stores a byte like {@link #putByte}. @return false if nothing was stored, because the mapping is closed */
    boolean putByteIfMapped(long offset, byte value) {
        require(offset, Byte.BYTES);
        boolean entered = uses.begin();
        if (entered) {
            parts.putByte(offset, value);
            exit();
        }
        return entered;
    }

    /** Copies bytes into the mapping, in no particular order. */
    public void put(long offset, byte[] content) {
        Objects.requireNonNull(content, "content is null");
        put(offset, ByteBuffer.wrap(content));
    }

    /** Copies a buffer's remaining bytes into the mapping in no particular order. The position moves to the limit. */
    public void put(long offset, ByteBuffer content) {
        Objects.requireNonNull(content, "content is null");
        enter(offset, content.remaining());
        try {
            parts.put(offset, content);
        } finally {
            exit();
        }
    }

    /** Fills a buffer's remaining part from the mapping in no particular order. The position moves to the limit. */
    public void get(long offset, ByteBuffer content) {
        Objects.requireNonNull(content, "content is null");
        if (content.isReadOnly()) {
            throw new IllegalArgumentException("content is a read-only buffer, but bytes of the mapping of " + name
                    + " are to be copied into it: pass a writable buffer");
        }
        enter(offset, content.remaining());
        try {
            parts.get(offset, content);
        } finally {
            exit();
        }
    }

    int after(IntSupplier call, long[] start) {
        require(0, start.length * (long) Long.BYTES);
        enter();
        try {
            int result = call.getAsInt();
            for (int i = 0; i < start.length; i++) {
                start[i] = parts.get(i * (long) Long.BYTES, Long.BYTES);
            }
            return result;
        } finally {
            exit();
        }
    }

    void withAddress(LongConsumer call) {
        enter();
        try {
            call.accept(address);
        } finally {
            Reference.reachabilityFence(parts);
            exit();
        }
    }

    @Override
    public String toString() {
        return "mapping of " + name;
    }

    private void close() {
        entry.closed(0);
        if (uses.end()) {
            unmap();
        }
    }

    private void unmap() {
        entry.released(0);
        @Nullable Addresses viewed = given;
        if (viewed != null) {
            viewed.withdraw();
        } else if (address != NOT_MAPPED) {
            kernel.libc().munmap(address, length);
        }
    }
}
