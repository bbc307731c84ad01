/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.NotPromised;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import java.nio.ByteBuffer;
import java.util.EnumSet;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.function.IntSupplier;
import java.util.function.IntUnaryOperator;
import java.util.function.LongConsumer;
import java.util.function.Supplier;

/**
 * Base class of {@code VmCalls} and similar classes, which make system calls on files. It turns handles into descriptor
 * numbers, and {@code -errno} into a {@link KernelException}.
 *
 * <p>Each package that calls the kernel has one package-private subclass per kind of file. Before the kernel is called,
 * every method refuses handles of another kernel with {@link IllegalArgumentException} and closed handles with {@link
 * ClosedHandleException}. Thread-safe.
 */
@SuppressWarnings("exports") // Only packages of this module use it.
@NotPromised
public class Calls {
    private static final int EINTR = -Errno.EINTR.number();
    /** More attempts than a profiler can interrupt. Limited, because a system call filter may return EINTR forever. */
    private static final int ATTEMPTS = 1000;

    private final Kernel kernel;

    /** Makes calls on handles of this kernel. */
    protected Calls(Kernel kernel) {
        Objects.requireNonNull(kernel, "kernel is null");
        this.kernel = kernel;
    }

    /** The kernel whose handles the calls accept. */
    public final Kernel kernel() {
        return kernel;
    }

    /** The binding that makes the calls. */
    public final KernelBackend backend() {
        return kernel.backend();
    }

    /** The binding's raw system calls. */
    public final Libc libc() {
        return kernel.libc();
    }

    /**
     * This kernel's properties. The first call queries {@code file}, which is {@code /dev/kvm} or a VM. Later calls
     * make no system call. With a VM, the process needs no access to {@code /dev/kvm}.
     */
    public final KernelFacts facts(Fd file) {
        return kernel.facts(file);
    }

    /** The signal that ends vCPU runs: a number from 34 to 64. */
    public final int kickSignal() {
        return kernel.kickSignal();
    }

    /** Eight bytes for the result of one call in this thread; {@link #done} must return them. */
    public final ByteBuffer scratch() {
        return kernel.scratch();
    }

    /** Ends this thread's use of the bytes from {@link #scratch}. */
    public final void done(ByteBuffer scratch) {
        kernel.done(scratch);
    }

    // Errors

    /**
     * @param known VM or device state, such as a missing irqchip, that may explain the error
     * @param operands returns the operands for the error message; called only if the call failed
     * @return {@code result}
     * @throws KernelException if {@code result} is {@code -errno}
     */
    public final int check(int result, KernelCall call, Set<Condition> known, Supplier<String> operands) {
        if (result < 0) {
            throw failure(result, call, known, operands);
        }
        return result;
    }

    /** The exception for {@code result}, which is {@code -errno}. */
    public final KernelException failure(
            long result, KernelCall call, Set<Condition> known, Supplier<String> operands) {
        Errno errno = Errno.ofResult(result);
        Set<Condition> facts = EnumSet.copyOf(kernel.knownFacts());
        facts.addAll(known);
        return new KernelException(call.label(), operands.get(), errno, Answers.sentence(call, errno, facts));
    }

    // Callbacks

    /** Logs a warning for the user. A separate thread writes the log, because the caller may hold locks. */
    public final void warn(String text) {
        kernel.reports().warn(text + kernel.here(), null);
    }

    /**
     * Logs a warning about a mistake that the kernel accepts, once per mistake and {@link Kernel}. A separate thread
     * writes the log, because the caller may hold locks.
     *
     * @param where the operands of the call; they precede {@code mistake} in the logged text
     */
    public final void warnOnce(String where, String mistake) {
        kernel.reports().warnOnce(mistake, where + mistake + kernel.here());
    }

    /**
     * Records whether an irqfd now consumes the eventfd's signals, in which case readers see none. If {@code on} is
     * true, the caller must then make a full fence and call {@link #warnIfLoopsWait}.
     */
    public static void feedsIrqfd(EventFd event, boolean on) {
        event.feedsIrqfd(on);
    }

    /** Warns if event loops wait for signals of an eventfd that feeds an irqfd. */
    public static void warnIfLoopsWait(EventFd event) {
        event.warnIfLoopsWait();
    }

    /**
     * Runs a user's listener, such as a {@code VmListener}. Its exceptions are logged and not rethrown, because the
     * reported change has already happened.
     *
     * @param what the listener's name in the log
     */
    public final void tell(String what, Runnable listener) {
        try {
            listener.run();
        } catch (RuntimeException | Error e) {
            kernel.reports().warn(what + " failed", e);
        }
    }

    // Handles

    private void requireOurs(Kernel owner, Object handle) {
        if (owner != kernel) {
            throw new IllegalArgumentException(handle + " belongs to another Kernel: open both from the same Kernel");
        }
    }

    /**
     * Begins a call on {@code fd}; {@link #end} must follow.
     *
     * @return the descriptor's number
     */
    public final int begin(Fd fd) {
        requireOurs(fd.kernel(), fd);
        return fd.enter();
    }

    /** Ends the call that {@link #begin} began. */
    public static void end(Fd fd) {
        fd.exit();
    }

    /**
     * Makes a nonblocking call on {@code fd}, and repeats it after EINTR, because the interrupted call changed nothing.
     * {@code KVM_CREATE_VM}, for example, returns EINTR whenever a signal is pending, such as a profiler's ({@code
     * mm_take_all_locks()} in mm/mmap.c). Code that must not allocate uses {@link #begin} and {@link #end}.
     */
    public final int call(Fd fd, IntUnaryOperator call) {
        int raw = begin(fd);
        try {
            int result = call.applyAsInt(raw);
            for (int again = 0; result == EINTR && again < ATTEMPTS; again++) {
                result = call.applyAsInt(raw);
            }
            return result;
        } finally {
            end(fd);
        }
    }

    /**
     * Keeps a file open until {@link #release}, even if its handle is closed earlier. Unlike {@link Fd#lease}, this
     * does not allocate, but the caller must not duplicate the descriptor. Refuses a closed handle.
     */
    public final Fd hold(Fd fd) {
        begin(fd);
        return fd;
    }

    /** Ends a {@link #hold}. */
    public static void release(Fd held) {
        held.exit();
    }

    /** The descriptor number of a file from {@link #hold}. */
    public static int number(Fd held) {
        return held.number();
    }

    /**
     * Whether {@link #release} will close the file in the kernel: the handle is closed, no other call uses the file,
     * and the descriptor never left the library, so it has no duplicate. Once true, this stays true.
     */
    public static boolean holdsLastFile(Fd held) {
        return held.isLastUseOfPrivateFile();
    }

    /** A leased descriptor's number. The descriptor stays open even if its handle is closed. */
    public final int number(Fd.Lease lease) {
        requireOurs(lease.fd().kernel(), lease.fd());
        return lease.number();
    }

    /**
     * Wraps the descriptor that {@code call} returns in its owner, such as a VM. Closes the descriptor on failure.
     *
     * @param call returns the descriptor's number, or {@code -errno}
     * @param failed makes the exception for {@code -errno}
     */
    public final <T> T made(
            String kind,
            IntSupplier call,
            IntFunction<KernelException> failed,
            Function<? super Fd, ? extends T> owner) {
        return Fd.make(kernel, kind, call, failed, owner);
    }

    /**
     * Wraps a descriptor that other code opened in its owner. On failure, the descriptor stays open.
     *
     * @param expected the expected kind of file, for the error message
     * @param kinds the allowed kinds of file, as labels of {@code UapiTable.FileKind}
     * @throws IllegalArgumentException if {@code number} is negative, or if /proc shows that the descriptor is not open
     *     or belongs to another kind of file
     */
    public final <T> T adopted(
            String kind,
            int number,
            Ownership ownership,
            Function<? super Fd, ? extends T> owner,
            String expected,
            String... kinds) {
        if (number >= 0 && kernel.isReal()) {
            OpenFile.require(number, expected, kinds);
        }
        return Fd.adopt(kernel, kind, number, ownership, owner);
    }

    /** Whether other code opened the eventfd's descriptor, which may then be another kind of file. */
    public static boolean isAdopted(EventFd event) {
        return event.isAdopted();
    }

    /** Closes the handle. Idempotent, never fails. */
    public static void close(Fd fd) {
        fd.close();
    }

    /** Maps the pages that KVM shares with this process for a vCPU: {@code struct kvm_run}. */
    protected static Mapping.Owner page(Fd vcpu, long length) {
        return Mapping.ofVcpu(vcpu, length);
    }

    /**
     * Makes a call that writes to the mapping, such as KVM_RUN, and copies the mapping's first bytes to {@code start}.
     *
     * @param start receives the first bytes of the mapping after the call, even if the call failed or the mapping's
     *     owner was closed during the call
     * @return the call's result
     */
    public static int after(Mapping mapping, IntSupplier call, long[] start) {
        return mapping.after(call, start);
    }

    /** Stores a byte, unless the mapping was closed. @return whether the byte was stored */
    public static boolean put(Mapping mapping, long offset, byte value) {
        return mapping.putByteIfMapped(offset, value);
    }

    /** Throws IllegalArgumentException if the memory belongs to another Kernel. */
    public final void requireOurs(Mapping.Lease pages) {
        requireOurs(pages.mapping().kernel(), pages.mapping());
    }

    /** The address of leased memory, which is valid until the lease is closed. */
    public static long address(Mapping.Lease pages) {
        return pages.address();
    }

    /** Passes the address of the mapped memory to {@code call}. */
    public final void withAddress(Mapping mapping, LongConsumer call) {
        requireOurs(mapping.kernel(), mapping);
        mapping.withAddress(call);
    }
}
