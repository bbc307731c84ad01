/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.function.IntSupplier;
import java.util.function.IntUnaryOperator;

/**
 * One open file descriptor, closed by the object that owns it. Thread-safe: one thread may close it while others use
 * it. After {@code close}, new calls throw, and the last call or lease to end closes the descriptor.
 *
 * {@snippet class="io.kvmirq.snippets.KernelSnippetsTest" region="fd"}
 */
public final class Fd extends UseCount {
    private final Together made;
    /** The index among the handles that were made together. */
    private final int place;
    // Set before other code has the handle
    private int number = Handles.NO_NUMBER;
    /** Whether other code has had the number, so that the file may have other descriptors. */
    private volatile boolean shared;

    /** The common state of handles that are made together, garbage-collected with the last of them. */
    private static final class Together {
        private final Kernel kernel;
        private final String kind;
        private final Handles.Entry entry;
        /** Set before other code has the handles. */
        private Ownership ownership;

        private Together(Kernel kernel, String kind, int count, Ownership ownership) {
            this.kernel = kernel;
            this.kind = kind;
            this.ownership = ownership;
            this.entry = kernel.handles().entry(this, kind, count);
        }
    }

    /** Makes a handle without a descriptor until its number is set. Closing it earlier closes nothing. */
    private Fd(Together made, int place) {
        this.made = made;
        this.place = place;
    }

    /**
     * Makes a descriptor and its owner. If the owner cannot be made, the descriptor is closed.
     *
     * @param call returns the number, or {@code -errno}
     * @param failed makes the exception for {@code -errno}
     * @param owner makes the owner, which is not closed if this method fails
     * @return the owner
     */
    static <T> T make(
            Kernel kernel,
            String kind,
            IntSupplier call,
            IntFunction<KernelException> failed,
            Function<? super Fd, ? extends T> owner) {
        try (Undo undo = new Undo()) {
            Fd made = new Fd(new Together(kernel, kind, 1, Ownership.OWNED), 0);
            undo.add(made::close);
            kernel.handles().register(made.made.entry);
            int result = call.getAsInt();
            if (result < 0) {
                throw failed.apply(result);
            }
            made.setNumber(result);
            T owned = owner.apply(made);
            undo.keep();
            return owned;
        }
    }

    /**
     * Makes many descriptors in one call, like {@link #make}, or none if any fails.
     *
     * @param call receives direct memory with an int per descriptor, and writes numbers up to the first negative one
     * @param failed makes the exception for {@code -errno} and the number of descriptors made before it. These are
     *     closed first, because making the exception may need a descriptor
     */
    static <T> List<T> make(
            Kernel kernel,
            String kind,
            int count,
            Consumer<ByteBuffer> call,
            BiFunction<Integer, Integer, KernelException> failed,
            Function<? super Fd, ? extends T> owner) {
        if (count == 0) {
            return List.of();
        }
        Fd[] made = new Fd[count];
        Together together = new Together(kernel, kind, count, Ownership.OWNED);
        List<T> owners = new ArrayList<>(count);
        ByteBuffer numbers = Buffers.allocate(count * Integer.BYTES);
        for (int i = 0; i < count; i++) {
            made[i] = new Fd(together, i);
            owners.add(owner.apply(made[i]));
            numbers.putInt(i * Integer.BYTES, Handles.NO_NUMBER);
        }
        int opened;
        try (Undo undo = new Undo()) {
            undo.add(() -> {
                setNumbers(made, numbers);
                for (Fd fd : made) {
                    fd.close();
                }
            });
            kernel.handles().register(together.entry);
            call.accept(numbers);
            opened = setNumbers(made, numbers);
            if (opened == count) {
                undo.keep();
                return owners;
            }
        }
        throw failed.apply(numbers.getInt(opened * Integer.BYTES), opened);
    }

    /** @return the number of handles that have numbers */
    private static int setNumbers(Fd[] made, ByteBuffer numbers) {
        for (int i = 0; i < made.length; i++) {
            int number = numbers.getInt(i * Integer.BYTES);
            if (number < 0) {
                return i;
            }
            made[i].setNumber(number);
        }
        return made.length;
    }

    /**
     * Adopts a descriptor that other code opened.
     *
     * @param kind the kind of file in messages, such as {@code vm}
     * @throws IllegalArgumentException if {@code number} is negative
     */
    static Fd adopt(Kernel kernel, String kind, int number, Ownership ownership) {
        Objects.requireNonNull(kind, "kind is null");
        Objects.requireNonNull(ownership, "ownership is null");
        return adopt(kernel, kind, number, ownership, adopted -> adopted);
    }

    /**
     * Adopts a descriptor like {@link #adopt(Kernel,String,int,Ownership)}, and makes the object that owns it. If the
     * owner cannot be made, the descriptor stays open and still belongs to the caller.
     *
     * @return the owner
     */
    static <T> T adopt(
            Kernel kernel, String kind, int number, Ownership ownership, Function<? super Fd, ? extends T> owner) {
        if (number < 0) {
            throw new IllegalArgumentException(
                    "fd " + number + " cannot be adopted: expected an open descriptor, >= 0");
        }
        try (Undo undo = new Undo()) {
            Fd adopted = new Fd(new Together(kernel, kind, 1, Ownership.BORROWED), 0);
            undo.add(adopted::close);
            kernel.handles().register(adopted.made.entry);
            adopted.setNumber(number);
            adopted.shared = true;
            T owned = owner.apply(adopted);
            adopted.made.ownership = ownership;
            undo.keep();
            return owned;
        }
    }

    private void setNumber(int descriptor) {
        number = descriptor;
        made.entry.setNumber(place, descriptor);
    }

    /** The kernel that the descriptor belongs to. */
    public Kernel kernel() {
        return made.kernel;
    }

    /**
     * Begins a call.
     *
     * @return the number, valid until {@link #exit}
     * @throws ClosedHandleException after {@link #close}
     */
    int enter() {
        if (!begin()) {
            throw new ClosedHandleException(toString());
        }
        return number;
    }

    /** The number, valid between {@link #enter} and {@link #exit}. */
    int number() {
        return number;
    }

    /** Ends a call. Closes the descriptor if a close was requested during the call. */
    void exit() {
        if (finish()) {
            release();
        }
    }

    /**
     * Leases the descriptor, which stays open until the lease is closed, even if the handle is closed earlier. Throws
     * ClosedHandleException after {@link #close}.
     */
    public Lease lease() {
        Lease lease = new Lease(this); // before the use is counted, so that no failure leaves it counted
        enter();
        shared = true;
        return lease;
    }

    /**
     * Makes an ioctl that has no method in the library. It must not block, because the library repeats it after EINTR.
     *
     * @param request the request number, such as a {@code KVM_*} of {@code io.kvmirq.uapi.Uapi}
     * @param argument a direct buffer that is as long as the structure
     * @return the kernel's result, 0 or more
     * @throws KernelException the kernel's errno, with the request's name if known
     * @throws ClosedHandleException after {@link #close}
     */
    public int ioctl(long request, ByteBuffer argument) {
        Objects.requireNonNull(argument, "argument is null");
        return ioctl(request, raw -> kernel().libc().ioctl(raw, request, argument));
    }

    /** Makes an ioctl like {@link #ioctl(long,ByteBuffer)}, whose argument is a number. */
    public int ioctl(long request, long argument) {
        return ioctl(request, raw -> kernel().libc().ioctl(raw, request, argument));
    }

    private int ioctl(long request, IntUnaryOperator call) {
        int result = kernel().calls().call(this, call);
        if (result < 0) {
            String name = UapiTable.find(request).stream()
                    .map(UapiTable.Request::name)
                    .findFirst()
                    .orElse("ioctl 0x" + Long.toHexString(request));
            throw KernelCall.parse(name)
                    .map(known -> kernel().calls().failure(result, known, Set.of(), this::toString))
                    .orElseGet(() -> new KernelException(name, toString(), Errno.ofResult(result), ""));
        }
        return result;
    }

    /** See {@link Calls#holdsLastFile}. */
    boolean isLastUseOfPrivateFile() {
        return isLast() && !shared;
    }

    /** Keeps the descriptor open until the lease is closed, see {@link Fd#lease}. A second close does nothing. */
    public static final class Lease implements AutoCloseable {
        private final UseCount once = new UseCount();
        private final Fd fd;

        private Lease(Fd fd) {
            this.fd = fd;
        }

        /**
         * The descriptor's number. After the lease is closed, the kernel may reuse it for another file.
         *
         * @throws ClosedHandleException after {@link #close}
         */
        public int number() {
            if (once.isClosed()) {
                throw new ClosedHandleException("lease of " + fd);
            }
            return fd.number;
        }

        Fd fd() {
            return fd;
        }

        @Override
        public void close() {
            if (once.end()) {
                fd.exit();
            }
        }
    }

    /** Whether {@code close} was called; leases may still hold the descriptor open. */
    @Override
    public boolean isClosed() {
        return super.isClosed();
    }

    /** Refuses new calls without waiting. The descriptor is closed now or by the last call or lease. Idempotent. */
    void close() {
        made.entry.closed(place);
        if (end()) {
            release();
        }
    }

    private void release() {
        made.entry.released(place);
        if (made.ownership == Ownership.OWNED && number >= 0) {
            // Never retried, because whatever close(2) returned, the number is free and may be another file's already.
            made.kernel.backend().fdClose(number);
        }
    }

    @Override
    public String toString() {
        return made.kind + " (fd " + number + ")";
    }
}
