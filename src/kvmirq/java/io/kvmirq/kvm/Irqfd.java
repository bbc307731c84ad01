/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.events.Events;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.undo.Undo;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * An eventfd registered with KVM to raise a GSI. An irqfd keeps its VM and eventfds open even if their handles are
 * closed earlier, and reserves its GSI, so that {@link RouteTable#add} does not allocate it. Thread-safe.
 *
 * <p>Source: {@code kvm_irqfd()} in virt/kvm/eventfd.c.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="irqfd"}
 */
public final class Irqfd implements AutoCloseable {
    private final Vm vm;
    private final VmCalls calls;
    private final LevelLines lines;
    private final EventFd event;
    private final @Nullable EventFd resample;
    private volatile Gsi gsi;

    private enum State {
        ASSIGNED,
        /** An Error interrupted the assign or deassign, so the irqfd may exist. A second deassign is harmless. */
        UNSURE,
        MASKED,
        /** The irqfd ended with its eventfd, but the kernel may not have finished its shutdown. */
        ENDED,
        CLOSED
    }

    /** Held during system calls, where a monitor would pin a virtual thread's carrier. */
    private final ReentrantLock lock = new ReentrantLock();

    /** CLOSED until {@link #hold}, because the irqfd keeps nothing open yet. */
    private State state = State.CLOSED;

    // The descriptors while they are held. The files stay open even if their handles are closed.
    private int vmNumber;
    private int eventNumber;
    private int resampleNumber;

    private Irqfd(Vm vm, EventFd event, @Nullable EventFd resample, Gsi gsi) {
        Objects.requireNonNull(event, "event is null: pass the eventfd that raises the interrupt");
        Objects.requireNonNull(gsi, "gsi is null: pass the GSI to raise");
        if (event == resample) {
            throw new IllegalArgumentException(
                    event + " cannot be both the interrupt and its resample notification: each"
                            + " EOI would raise the next interrupt forever; use two eventfds");
        }
        this.vm = vm;
        this.calls = vm.calls();
        this.lines = vm.lines();
        this.event = event;
        this.resample = resample;
        this.gsi = gsi;
    }

    static EventFd requireResample(EventFd resample, String other) {
        return Objects.requireNonNull(
                resample,
                () -> "resample is null: pass the eventfd that is signalled at the guest's EOI, or use " + other
                        + " for an edge");
    }

    static Irqfd make(Vm vm, EventFd event, @Nullable EventFd resample, Gsi gsi, boolean masked) {
        Irqfd made = new Irqfd(vm, event, resample, gsi);
        try (Undo undo = new Undo()) {
            undo.add(made);
            made.lock.lock();
            try {
                made.hold();
                if (!masked) {
                    made.assign();
                }
            } finally {
                made.lock.unlock();
            }
            if (!masked) {
                made.record(Events.Type.IRQFD_ASSIGNED);
                new IrqfdMistakes(made.calls, vm.routes()).of(gsi, resample != null);
            }
            undo.keep();
        }
        return made;
    }

    /** Makes all of the irqfds, or none if one fails. */
    static List<Irqfd> edges(Vm vm, List<EventFd> events, List<Gsi> gsis, boolean masked) {
        Objects.requireNonNull(events, "events is null");
        Objects.requireNonNull(gsis, "gsis is null");
        if (events.size() != gsis.size()) {
            throw new IllegalArgumentException(
                    events.size() + " eventfds cannot feed " + gsis.size() + " GSIs: pass one GSI for each");
        }
        Irqfd[] made = new Irqfd[events.size()];
        List<Irqfd> all = Collections.unmodifiableList(Arrays.asList(made));
        ByteBuffer records = Buffers.allocate(made.length * KernelBackend.IRQFD_SIZE);
        try (Undo undo = new Undo()) {
            undo.add(() -> closeThose(made));
            for (int i = 0; i < made.length; i++) {
                Irqfd irqfd = new Irqfd(vm, events.get(i), null, gsis.get(i));
                made[i] = irqfd;
                irqfd.hold();
                int at = i * KernelBackend.IRQFD_SIZE;
                records.putInt(at + KernelBackend.IRQFD_FD, irqfd.eventNumber);
                records.putInt(at + KernelBackend.IRQFD_GSI, irqfd.gsi.number());
            }
            if (!masked && made.length > 0) {
                assign(vm, records, made);
                new IrqfdMistakes(vm.calls(), vm.routes()).ofNoRoute(gsis);
            }
            VarHandle.storeStoreFence(); // publishes fields that were written without the irqfds' locks
            undo.keep();
        }
        return all;
    }

    private static void closeThose(@Nullable Irqfd... made) {
        for (@Nullable Irqfd irqfd : made) {
            if (irqfd != null) {
                irqfd.close();
            }
        }
    }

    /** Assigns edge-triggered irqfds in one call of the binding, which stops when the kernel refuses one. */
    private static void assign(Vm vm, ByteBuffer records, Irqfd... edges) {
        for (Irqfd edge : edges) {
            edge.state = State.UNSURE;
        }
        int assigned = vm.calls().backend().irqfdsAssign(edges[0].vmNumber, records, edges.length);
        for (int i = 0; i < assigned; i++) {
            vm.routes().live(edges[i].gsi, 1);
        }
        for (int i = 0; i < edges.length; i++) {
            edges[i].state = i < assigned ? State.ASSIGNED : State.MASKED;
            if (i < assigned) {
                VmCalls.feedsIrqfd(edges[i].event, true);
            }
        }
        VarHandle.fullFence(); // one fence for all of them
        for (int i = 0; i < assigned; i++) {
            VmCalls.warnIfLoopsWait(edges[i].event);
            edges[i].record(Events.Type.IRQFD_ASSIGNED);
        }
        if (assigned < edges.length) {
            int result = records.getInt(assigned * KernelBackend.IRQFD_SIZE + KernelBackend.IRQFD_FD);
            throw edges[assigned].refused(result);
        }
    }

    /** Keeps the VM and the eventfds open, or none of them if any is closed. */
    private void hold() {
        boolean all = false;
        int held = 0;
        try {
            vmNumber = calls.begin(vm.fd());
            held++;
            eventNumber = calls.begin(event.fd());
            held++;
            resampleNumber = resample == null ? 0 : calls.begin(resample.fd());
            all = true;
        } finally {
            if (!all && held > 1) {
                VmCalls.end(event.fd());
            }
            if (!all && held > 0) {
                VmCalls.end(vm.fd());
            }
        }
        vm.routes().hold(gsi);
        state = State.MASKED;
    }

    private void record(Events.Type type) {
        Events.record(type, vmNumber, eventNumber, gsi.number());
    }

    // The irqfd in the kernel

    /** Assigns the irqfd, whose state must be {@link State#MASKED}. The state stays MASKED if the kernel refuses. */
    private void assign() {
        if (resample == null) {
            vm.routes().live(gsi, 1);
        } else {
            lines.enter(gsi);
        }
        state = State.UNSURE;
        try {
            KernelBackend backend = calls.backend();
            int result = resample == null
                    ? backend.irqfdAssign(vmNumber, eventNumber, gsi.number())
                    : backend.irqfdAssignLevel(vmNumber, eventNumber, resampleNumber, gsi.number());
            if (result < 0) {
                state = State.MASKED;
                throw refused(result);
            }
            VmCalls.feedsIrqfd(event, true);
            VarHandle.fullFence();
            VmCalls.warnIfLoopsWait(event);
            state = State.ASSIGNED;
        } finally {
            if (state != State.ASSIGNED) {
                vm.routes().live(gsi, -1);
            }
            if (state == State.UNSURE) {
                tryMask();
            }
        }
    }

    /**
     * Deassigns the irqfd if it may exist in the kernel. Afterwards none of its interrupts is in flight, and the kernel
     * has shut down every irqfd on the host whose eventfd was closed before. The kernel accepts any open eventfd. In a
     * process that did not create the VM, the kernel returns EIO and the irqfd stays.
     *
     * @return the kernel's result, negative if the irqfd may still exist; 0 if no call was made
     */
    private int deassign() {
        boolean lowered = false;
        if (state == State.ASSIGNED) {
            state = State.UNSURE;
            if (resample == null) {
                vm.routes().live(gsi, -1);
            } else {
                lowered = lines.leave(gsi);
            }
        }
        if (state != State.UNSURE) {
            return 0;
        }
        int result = calls.backend().irqfdDeassign(vmNumber, eventNumber, gsi.number());
        if (result >= 0) {
            VmCalls.feedsIrqfd(event, false);
        } else if (lowered) {
            signalResample(); // so that the device asserts the line again
        }
        return result;
    }

    private void signalResample() {
        if (resample != null) {
            calls.backend().eventfdSignal(resampleNumber, 1); // its handle may have been closed
        }
    }

    private KernelException refused(int result) {
        return failure(
                result,
                resample == null ? KernelCall.IRQFD : KernelCall.IRQFD_LEVEL,
                EnumSet.of(resample == null ? Condition.EDGE : Condition.LEVEL),
                resample == null ? "" : " resamplefd=" + resampleNumber);
    }

    private KernelException failure(int result, KernelCall call, Set<Condition> facts, String more) {
        if (!VmCalls.isAdopted(event)) {
            facts.add(Condition.OWN_EVENTFD);
        }
        return calls.failure(
                result,
                call,
                calls.known(facts.toArray(Condition[]::new)),
                () -> "vm=" + vmNumber + " eventfd=" + eventNumber + more + " gsi=" + gsi.number());
    }

    // State

    /** The eventfd that raises the interrupt. */
    public EventFd event() {
        return event;
    }

    /** The eventfd that KVM signals at the guest's EOI; empty for an edge-triggered irqfd. */
    public Optional<EventFd> resample() {
        return Optional.ofNullable(resample);
    }

    /** Whether the irqfd is masked, so that signals stay in the eventfd. */
    public boolean isMasked() {
        lock.lock();
        try {
            return state == State.MASKED;
        } finally {
            lock.unlock();
        }
    }

    /** Whether this irqfd belongs to VM {@code other}. */
    public boolean isOf(Vm other) {
        Objects.requireNonNull(other, "other is null");
        return vm == other;
    }

    /** The GSI that this irqfd raises. */
    public Gsi gsi() {
        return gsi;
    }

    /**
     * Masks the interrupt, so that signals stay in the eventfd. If it is level-triggered, this also lowers the GSI and
     * signals the resample eventfd, so that the driver signals again if its line is still asserted. Idempotent.
     *
     * @throws KernelException EIO in a process that did not create the VM; EBADF if other code closed the eventfd's
     *     descriptor. After an error the irqfd is not masked, and the next call tries again
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public void mask() {
        lock.lock();
        try {
            requireOpen();
            int result = state == State.MASKED ? 0 : tryMask();
            if (result < 0) {
                throw failure(result, KernelCall.IRQFD_DEASSIGN, EnumSet.noneOf(Condition.class), "");
            }
        } finally {
            lock.unlock();
        }
    }

    /** @return the kernel's result, negative if it still delivers interrupts */
    private int tryMask() {
        boolean wasAssigned = state == State.ASSIGNED;
        int result = deassign();
        if (result >= 0) {
            signalResample();
            state = State.MASKED;
            record(Events.Type.IRQFD_MASKED);
        } else if (wasAssigned) {
            vm.routes().live(gsi, 1);
            state = State.ASSIGNED;
        }
        return result;
    }

    /**
     * Unmasks the interrupt. If the eventfd was signalled while the irqfd was masked, one interrupt is raised at once. A
     * signal during this call may raise two, because kvm_irqfd_assign() polls the eventfd, and may see a count that
     * irqfd_wakeup() is about to consume.
     *
     * @throws io.kvmirq.KernelException EBUSY if another irqfd already uses the eventfd; this irqfd then stays masked.
     *     After a failed {@link #mask}, unmask first repeats the mask, and throws if that fails again
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
                assign();
                record(Events.Type.IRQFD_UNMASKED);
            }
        } finally {
            lock.unlock();
        }
    }

    /**
     * Makes a masked irqfd raise another GSI, for example when a VM is restored. Signals pending in the eventfd raise
     * the new GSI at {@link #unmask}.
     *
     * @throws IllegalStateException unless the irqfd is masked
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public void moveTo(Gsi to) {
        Objects.requireNonNull(to, "to is null: pass the GSI to raise");
        lock.lock();
        try {
            requireOpen();
            if (state != State.MASKED) {
                throw new IllegalStateException(
                        this + " cannot move to " + to + " while it is not masked: mask it first");
            }
            vm.routes().hold(to);
            vm.routes().release(gsi);
            gsi = to;
        } finally {
            lock.unlock();
        }
    }

    private void requireOpen() {
        if (state == State.CLOSED || state == State.ENDED) {
            throw new ClosedHandleException(toString());
        }
    }

    /**
     * Closes many irqfds, of one VM or several, as {@link #close} does. Close the {@link EventFd}s first, because an
     * irqfd ends with its eventfd's last descriptor, which is much faster than a deassign. Irqfds are deassigned one by
     * one only if their eventfds may stay open (because they are adopted or leased), or on arm64 if they are
     * level-triggered.
     *
     * <p>A child process that another thread starts during this call keeps the eventfds, and so the irqfds, open until
     * its exec, but does not signal them. Idempotent, never fails.
     */
    public static void closeAll(Collection<Irqfd> irqfds) {
        Objects.requireNonNull(irqfds, "irqfds is null");
        irqfds.forEach(irqfd -> Objects.requireNonNull(irqfd, "irqfds contains null: pass irqfds"));
        @Nullable Irqfd kept = null;
        for (Irqfd irqfd : irqfds) {
            if (irqfd.isEndedByItsFile()) {
                if (kept != null) {
                    kept.endByFile();
                }
                kept = irqfd;
            }
        }
        // Each deassign also waits until the kernel has shut down the irqfds above, so one of them is deassigned last.
        if (kept != null) {
            kept.close();
        }
        irqfds.forEach(Irqfd::close);
    }

    private boolean isEndedByItsFile() {
        lock.lock();
        try {
            return state == State.ASSIGNED
                    && (resample == null || !lines.areLowered())
                    && VmCalls.holdsLastFile(event.fd());
        } finally {
            lock.unlock();
        }
    }

    /** Releases the eventfd, which ends the irqfd in the kernel. {@link #close} must follow. */
    private void endByFile() {
        lock.lock();
        try {
            if (isEndedByItsFile()) {
                VmCalls.end(event.fd());
                vm.routes().live(gsi, -1);
                state = State.ENDED;
            }
        } finally {
            lock.unlock();
        }
    }

    /**
     * Deassigns the irqfd. After the call, this eventfd raises no interrupt. Idempotent, never fails.
     *
     * <p>In a process that did not create the VM, the kernel returns EIO, and the irqfd stays until the VM or the
     * eventfd is closed in every process. Meanwhile, {@link RouteTable#add} may allocate the GSI again.
     */
    @Override
    public void close() {
        lock.lock();
        try {
            if (state == State.CLOSED) {
                return;
            }
            deassign();
            vm.routes().release(gsi);
            if (resample != null) {
                VmCalls.end(resample.fd());
            }
            if (state != State.ENDED) {
                VmCalls.end(event.fd());
            }
            state = State.CLOSED;
            VmCalls.end(vm.fd());
        } finally {
            lock.unlock();
        }
    }

    @Override
    public String toString() {
        return "irqfd " + event + " → " + gsi + (resample == null ? "" : ", resample " + resample);
    }
}
