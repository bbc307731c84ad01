/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Libc;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Uapi;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Set;
import java.util.function.IntSupplier;
import java.util.function.LongConsumer;

/**
 * Memory mapped from the kernel. It is reached by offset only: address and buffer never leave this class, so nothing
 * touches the memory after it is unmapped. Only the {@link Owner} unmaps it. Offsets outside of it are refused with
 * {@link IndexOutOfBoundsException}, accesses after it was unmapped with {@link ClosedHandleException}. Thread-safe;
 * {@code int} accesses are volatile, since a guest or the kernel is on the other side.
 */
public final class Mapping {
    private static final VarHandle INT = MethodHandles.byteBufferViewVarHandle(int[].class, ByteOrder.nativeOrder());

    private final Kernel kernel;
    private static final long NOT_MAPPED = -1;

    private final String name;
    private final int length;
    private final ByteBuffer bytes;
    private final UseCount uses = new UseCount();
    private final Handles.Entry entry;
    /** Set once, before other code has the mapping. */
    private long address = NOT_MAPPED;

    private Mapping(Kernel kernel, String name, int length, int flags, int raw) {
        this.kernel = kernel;
        this.name = name;
        this.length = length;
        Libc libc = kernel.libc();
        try (Undo undo = new Undo()) {
            this.entry = kernel.handles().register(this, "mapping of " + name);
            undo.add(this::close);
            long result = libc.mmap(length, Uapi.PROT_READ | Uapi.PROT_WRITE, flags, raw, 0);
            if (result < 0) {
                throw kernel.calls().failure(result, KernelCall.MMAP, Set.of(), () -> name + " length=" + length);
            }
            this.address = result;
            this.bytes = libc.view(result, length);
            undo.keep();
        }
    }

    /**
     * The right to unmap a {@link Mapping}. It stays with the object that knows when the guest has let go of the
     * memory; users of that object get the mapping alone. Thread-safe.
     */
    public static final class Owner implements AutoCloseable {
        private final Mapping mapping;

        private Owner(Kernel kernel, String name, int length, int flags, int raw) {
            this.mapping = new Mapping(kernel, name, length, flags, raw); // last: no failure leaves it without owner
        }

        /** The memory; its users cannot unmap it. */
        public Mapping mapping() {
            return mapping;
        }

        /** Unmaps when no access is in flight; later accesses are refused. Idempotent. */
        @Override
        public void close() {
            mapping.close();
        }

        /** Refuses later accesses and never unmaps: for memory that a guest still uses. Idempotent. */
        public void abandon() {
            mapping.abandon();
        }
    }

    /**
     * Zeroed memory of this process.
     *
     * @param length bytes, a multiple of the page size
     * @throws io.kvmirq.KernelException ENOMEM
     */
    public static Owner anonymous(Kernel kernel, int length) {
        return new Owner(kernel, "memory", length, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1);
    }

    /** The memory that {@code fd} shares with this process, from the start of the file. */
    public static Owner of(Fd fd, int length) {
        int raw = fd.enter();
        try {
            return new Owner(fd.kernel(), fd.toString(), length, Uapi.MAP_SHARED, raw);
        } finally {
            fd.exit();
        }
    }

    Kernel kernel() {
        return kernel;
    }

    /** The length in bytes. */
    public int length() {
        return length;
    }

    /**
     * A use that lasts until the lease is closed: until then the memory stays mapped, whatever becomes of its owner.
     *
     * @throws ClosedHandleException after the owner closed it
     */
    public Lease lease() {
        Lease lease = new Lease(this); // before it is counted, which no failure may leave behind
        enter();
        return lease;
    }

    /** See {@link Mapping#lease}. Closing twice is closing once. Thread-safe. */
    public static final class Lease implements AutoCloseable {
        private final UseCount once = new UseCount();
        private final Mapping mapping;

        private Lease(Mapping mapping) {
            this.mapping = mapping;
        }

        @Override
        public void close() {
            if (once.close()) {
                mapping.exit();
            }
        }
    }

    private void enter(int offset, int bytes) {
        require(offset, bytes);
        enter();
    }

    private void enter() {
        if (!uses.enter()) {
            throw new ClosedHandleException("mapping of " + name);
        }
    }

    private void exit() {
        if (uses.exit()) {
            unmap();
        }
    }

    private void require(int offset, int bytes) {
        if (offset < 0 || offset > length - bytes) {
            throw new IndexOutOfBoundsException("offset " + offset + ", length " + bytes
                    + " is outside of the mapping of " + name + ", which has " + length + " bytes");
        }
    }

    private void requireAligned(int offset) {
        require(offset, Integer.BYTES);
        if (offset % Integer.BYTES != 0) {
            throw new IllegalArgumentException("offset " + offset + " is not a multiple of 4, as a volatile int needs");
        }
    }

    /**
     * @param offset bytes, a multiple of 4
     * @throws IllegalArgumentException for an offset that is no multiple of 4
     */
    public int getInt(int offset) {
        requireAligned(offset);
        enter();
        try {
            return (int) INT.getVolatile(bytes, offset);
        } finally {
            exit();
        }
    }

    /**
     * @param offset bytes, a multiple of 4
     * @throws IllegalArgumentException for an offset that is no multiple of 4
     */
    public void putInt(int offset, int value) {
        requireAligned(offset);
        enter();
        try {
            INT.setVolatile(bytes, offset, value);
        } finally {
            exit();
        }
    }

    /** Reads a byte. */
    public byte getByte(int offset) {
        enter(offset, Byte.BYTES);
        try {
            return bytes.get(offset);
        } finally {
            exit();
        }
    }

    /** Reads two bytes in native order. */
    public short getShort(int offset) {
        enter(offset, Short.BYTES);
        try {
            return bytes.getShort(offset);
        } finally {
            exit();
        }
    }

    /** Reads eight bytes in native order. */
    public long getLong(int offset) {
        enter(offset, Long.BYTES);
        try {
            return bytes.getLong(offset);
        } finally {
            exit();
        }
    }

    /** Plain store; visible to a guest that enters afterwards. */
    public void putByte(int offset, byte value) {
        enter(offset, Byte.BYTES);
        try {
            bytes.put(offset, value);
        } finally {
            exit();
        }
    }

    /** As {@link #putByte}. @return false, and nothing is stored, after the mapping was closed */
    boolean putByteIfMapped(int offset, byte value) {
        require(offset, Byte.BYTES);
        boolean entered = uses.enter();
        if (entered) {
            bytes.put(offset, value);
            exit();
        }
        return entered;
    }

    /** Copies bytes into the mapping; no order among them is promised. */
    public void put(int offset, byte[] content) {
        enter(offset, content.length);
        try {
            bytes.put(offset, content);
        } finally {
            exit();
        }
    }

    int after(IntSupplier call, int offset) {
        requireAligned(offset);
        enter();
        try {
            int result = call.getAsInt();
            return result < 0 ? result : (int) INT.getVolatile(bytes, offset);
        } finally {
            exit();
        }
    }

    void withAddress(LongConsumer call) {
        enter();
        try {
            call.accept(address);
        } finally {
            Reference.reachabilityFence(bytes);
            exit();
        }
    }

    @Override
    public String toString() {
        return "mapping of " + name;
    }

    private void close() {
        entry.closed();
        if (uses.close()) {
            unmap();
        }
    }

    private void abandon() {
        if (uses.enter()) { // a use that never ends
            entry.released();
            close();
        }
    }

    private void unmap() {
        entry.released();
        if (address != NOT_MAPPED) {
            kernel.libc().munmap(address, length);
        }
    }
}
