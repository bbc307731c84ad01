/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.undo.Undo;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * An eventfd registered with KVM to raise a GSI. It leases the VM and its eventfds: closing one of them earlier takes
 * effect when this is closed. While it is open, {@link RouteTable} does not allocate its GSI. Thread-safe.
 *
 * <p>Source: {@code kvm_irqfd()} in virt/kvm/eventfd.c.
 */
public final class Irqfd implements AutoCloseable {
    private final Vm vm;
    private final EventFd event;
    private final @Nullable EventFd resample;
    private final Gsi gsi;

    private enum State {
        ASSIGNED,
        /** An Error interrupted the assign or deassign, so the kernel may have the irqfd; a deassign is harmless. */
        UNSURE,
        MASKED,
        /** The irqfd ended with its eventfd; the kernel may not have finished. */
        ENDED,
        CLOSED
    }

    /** Held during system calls. A monitor would pin the carrier of a virtual thread. */
    private final ReentrantLock lock = new ReentrantLock();

    /** Closed before {@link #begin}, because the irqfd holds nothing yet. */
    private State state = State.CLOSED;

    private Irqfd(Vm vm, EventFd event, @Nullable EventFd resample, Gsi gsi) {
        Objects.requireNonNull(event, "event is null: give the eventfd that raises the interrupt");
        Objects.requireNonNull(gsi, "gsi is null: give the GSI to raise");
        if (event == resample) {
            throw new IllegalArgumentException(
                    event + " cannot be both the interrupt and its resample notification: each"
                            + " EOI would raise the next interrupt for ever; use two eventfds");
        }
        this.vm = vm;
        this.event = event;
        this.resample = resample;
        this.gsi = gsi;
    }

    private IrqfdCalls calls() {
        return vm.irqfds();
    }

    static Irqfd make(Vm vm, EventFd event, @Nullable EventFd resample, Gsi gsi, boolean masked) {
        Irqfd made = new Irqfd(vm, event, resample, gsi);
        try (Undo undo = new Undo()) {
            undo.add(made);
            made.lock.lock();
            try {
                made.begin();
                if (!masked) {
                    made.unmask();
                }
            } finally {
                made.lock.unlock();
            }
            if (!masked) {
                made.calls().warnOfMistakes(vm.routes(), gsi, resample != null);
            }
            undo.keep();
        }
        return made;
    }

    /** All, or none. */
    static List<Irqfd> edges(Vm vm, List<EventFd> events, List<Gsi> gsis, boolean masked) {
        Objects.requireNonNull(events, "events is null");
        Objects.requireNonNull(gsis, "gsis is null");
        if (events.size() != gsis.size()) {
            throw new IllegalArgumentException(
                    events.size() + " eventfds cannot feed " + gsis.size() + " GSIs: give one GSI for each");
        }
        Irqfd[] made = new Irqfd[events.size()];
        List<Irqfd> all = Collections.unmodifiableList(Arrays.asList(made));
        ByteBuffer records = IrqfdCalls.records(made.length);
        try (Undo undo = new Undo()) {
            undo.add(() -> closeThose(made));
            for (int i = 0; i < made.length; i++) {
                Irqfd one = new Irqfd(vm, events.get(i), null, gsis.get(i));
                made[i] = one;
                one.begin();
                IrqfdCalls.put(records, i, one.event, one.gsi);
            }
            if (!masked && made.length > 0) {
                IrqfdCalls calls = vm.irqfds();
                RouteTable routes = vm.routes();
                assign(calls, routes, records, made);
                calls.warnOfNoRoute(routes, gsis);
            }
            VarHandle.storeStoreFence(); // a thread that finds one sees what was written without its lock
            undo.keep();
        }
        return all;
    }

    private static void closeThose(@Nullable Irqfd... made) {
        for (@Nullable Irqfd one : made) {
            if (one != null) {
                one.close();
            }
        }
    }

    private static void assign(IrqfdCalls calls, RouteTable routes, ByteBuffer records, Irqfd... edges) {
        for (Irqfd edge : edges) {
            edge.state = State.UNSURE;
        }
        int assigned = calls.assign(records, edges.length);
        for (int i = 0; i < assigned; i++) {
            routes.live(edges[i].gsi, 1);
        }
        for (int i = 0; i < edges.length; i++) {
            edges[i].state = i < assigned ? State.ASSIGNED : State.MASKED;
            if (i < assigned) {
                IrqfdCalls.feeds(edges[i].event);
            }
        }
        VarHandle.fullFence(); // one for all
        for (int i = 0; i < assigned; i++) {
            IrqfdCalls.warnIfDispatched(edges[i].event);
        }
        if (assigned < edges.length) {
            throw calls.refused(records, assigned, edges[assigned].event, edges[assigned].gsi);
        }
    }

    private void begin() {
        calls().hold(event.fd(), resample == null ? null : resample.fd());
        vm.routes().hold(gsi);
        state = State.MASKED;
    }

    /** The eventfd that raises the interrupt. */
    public EventFd event() {
        return event;
    }

    /** The eventfd that is signalled at the guest's EOI of a level interrupt; empty for an edge-triggered irqfd. */
    public Optional<EventFd> resample() {
        return Optional.ofNullable(resample);
    }

    /** Whether {@link #mask} holds interrupts back. */
    public boolean isMasked() {
        lock.lock();
        try {
            return state == State.MASKED;
        } finally {
            lock.unlock();
        }
    }

    /** Whether this irqfd belongs to {@code other}. */
    public boolean isOf(Vm other) {
        Objects.requireNonNull(other, "other is null");
        return vm == other;
    }

    /** The GSI that it raises. */
    public Gsi gsi() {
        return gsi;
    }

    /**
     * Holds interrupts back: signals stay in the eventfd. If the line of a level interrupt is high, it is lowered and
     * the resample eventfd is signalled, so that a device that still asserts its interrupt signals again. A second mask
     * changes nothing.
     *
     * @throws KernelException EIO from another process than the one that made the VM; EBADF if other code closed the
     *     descriptor of the eventfd. The irqfd is then not masked, and the next mask tries again
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public void mask() {
        lock.lock();
        try {
            requireOpen();
            int result = state == State.MASKED ? 0 : tryMask();
            if (result < 0) {
                throw calls().refusedDeassign(result, event, gsi);
            }
        } finally {
            lock.unlock();
        }
    }

    /** @return the kernel's answer: less than 0 if it still delivers */
    private int tryMask() {
        boolean wasAssigned = state == State.ASSIGNED;
        int result = leave();
        if (result >= 0) {
            if (resample != null) {
                calls().signal(resample);
            }
            state = State.MASKED;
        } else if (wasAssigned) {
            vm.routes().live(gsi, 1);
            state = State.ASSIGNED;
        }
        return result;
    }

    /**
     * Ends {@link #mask}. If the eventfd was signalled during the mask, one interrupt is raised now.
     *
     * @throws io.kvmirq.KernelException EBUSY when the eventfd was assigned to another GSI during the mask; this irqfd
     *     stays masked. As {@link #mask} if the last mask failed
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public void unmask() {
        lock.lock();
        try {
            requireOpen();
            if (state == State.UNSURE) {
                mask();
            }
            if (state == State.MASKED) {
                if (resample == null) {
                    vm.routes().live(gsi, 1);
                } else {
                    calls().enterLine(vm.routes(), gsi);
                }
                state = State.UNSURE;
                try {
                    calls().assign(event, resample, gsi);
                    state = State.ASSIGNED;
                } catch (KernelException e) {
                    state = State.MASKED;
                    throw e;
                } finally {
                    if (state != State.ASSIGNED) {
                        vm.routes().live(gsi, -1);
                    }
                    if (state == State.UNSURE) {
                        tryMask();
                    }
                }
            }
        } finally {
            lock.unlock();
        }
    }

    /** @return the kernel's answer; 0 if it was not asked */
    private int leave() {
        boolean lowered = false;
        if (state == State.ASSIGNED) {
            state = State.UNSURE;
            if (resample == null) {
                vm.routes().live(gsi, -1);
            } else {
                lowered = calls().leaveLine(vm.routes(), gsi);
            }
        }
        int result = state == State.UNSURE ? calls().deassign(event, gsi) : 0;
        if (result < 0 && lowered) {
            calls().signal(Objects.requireNonNull(resample)); // the device asserts the line again
        }
        return result;
    }

    private void requireOpen() {
        if (state == State.CLOSED || state == State.ENDED) {
            throw new ClosedHandleException(toString());
        }
    }

    /**
     * Closes many irqfds, of one VM or of several: when it returns none of them is left in the kernel. An irqfd ends
     * when the last descriptor of its eventfd is closed, so close the {@link EventFd}s first: closing all irqfds then
     * costs a fraction of closing each. An eventfd that was adopted or leased by {@link EventFd#fd} may have a
     * duplicate, and an eventfd that has another lease is in use: the irqfds of these are deassigned one by one.
     *
     * <p>If another thread is starting a child process at this moment, the child holds the files until its exec, and
     * the irqfds stay as long; no signal can come by then. Idempotent, never fails.
     */
    public static void closeAll(Collection<Irqfd> irqfds) {
        Objects.requireNonNull(irqfds, "irqfds is null");
        irqfds.forEach(one -> Objects.requireNonNull(one, "irqfds has a null: give irqfds"));
        @Nullable Irqfd kept = null;
        for (Irqfd one : irqfds) {
            if (one.isEndedByItsFile()) {
                if (kept != null) {
                    kept.endByFile();
                }
                kept = one;
            }
        }
        // Each deassign also waits for the kernel's end of those above: so one of them is deassigned after the others.
        if (kept != null) {
            kept.close();
        }
        irqfds.forEach(Irqfd::close);
    }

    private boolean isEndedByItsFile() {
        lock.lock();
        try {
            return state == State.ASSIGNED && (resample == null || !calls().lowersLines()) && calls().isLastHold(event);
        } finally {
            lock.unlock();
        }
    }

    /** Lets go of the eventfd, which ends the irqfd. {@link #close} does the rest. */
    private void endByFile() {
        lock.lock();
        try {
            if (isEndedByItsFile()) {
                calls().letGo(event.fd());
                vm.routes().live(gsi, -1);
                state = State.ENDED;
            }
        } finally {
            lock.unlock();
        }
    }

    /**
     * Deassigns the irqfd: after the call, no interrupt comes from this eventfd. Idempotent, and nothing is thrown.
     *
     * <p>Called from another process than the one that made the VM, the kernel returns EIO and the irqfd stays until
     * the VM or the eventfd is closed in every process. The GSI is free for other irqfds all the same.
     */
    @Override
    public void close() {
        lock.lock();
        try {
            if (state == State.CLOSED) {
                return;
            }
            leave();
            vm.routes().release(gsi);
            calls().letGo(resample == null ? null : resample.fd());
            if (state != State.ENDED) {
                calls().letGo(event.fd());
            }
            state = State.CLOSED;
            calls().letGo(vm.fd());
        } finally {
            lock.unlock();
        }
    }

    @Override
    public String toString() {
        return "irqfd " + event + " → " + gsi + (resample == null ? "" : ", resample " + resample);
    }
}
