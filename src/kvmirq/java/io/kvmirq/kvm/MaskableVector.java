/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;

/**
 * An emulated device's interrupt vector: an eventfd, the irqfd that it feeds, and a route from the irqfd's GSI to an
 * MSI message. Thread-safe.
 *
 * <pre>{@code
 * try (MaskableVector vector = MaskableVector.create(vm, MsiMessage.to(vcpu, number))) {
 *     vector.signal(); // the guest gets an interrupt
 *     vector.mask();
 *     vector.signal(); // waits
 *     vector.reroute(MsiMessage.to(other, number));
 *     vector.unmask(); // the other vCPU gets it
 * }
 * }</pre>
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="maskable"}
 */
public final class MaskableVector implements AutoCloseable {
    private final Vm vm;
    private final EventFd event;
    private final boolean ownsEvent;
    /** Held during system calls, where a monitor would pin a virtual thread's carrier. */
    private final ReentrantLock lock = new ReentrantLock();

    private final Irqfd irqfd;
    private volatile MsiMessage message;
    // Guarded by the lock
    private boolean closed;
    private boolean routed = true;

    private MaskableVector(Vm vm, Irqfd irqfd, boolean ownsEvent, MsiMessage message) {
        this.vm = vm;
        this.event = irqfd.event();
        this.ownsEvent = ownsEvent;
        this.irqfd = irqfd;
        this.message = message;
    }

    /**
     * Creates an unmasked vector on a free GSI.
     *
     * @throws RoutesExhaustedException if no GSI is free
     * @throws KernelException EMFILE if no descriptor is free; EINVAL if the VM has no in-kernel irqchip; EAGAIN before
     *     {@link Vgic#init} on arm64. After an error, nothing is left behind
     */
    public static MaskableVector create(Vm vm, MsiMessage message) {
        Objects.requireNonNull(message, "message is null");
        return createAll(vm, List.of(message)).get(0);
    }

    /** Creates a vector for each message, like {@link #create}, or none if one fails. One ioctl adds all routes. */
    public static List<MaskableVector> createAll(Vm vm, List<MsiMessage> messages) {
        Objects.requireNonNull(vm, "vm is null");
        Objects.requireNonNull(messages, "messages is null");
        messages.forEach(
                message -> Objects.requireNonNull(message, "messages contains null: pass a message for each vector"));
        List<MsiMessage> all = List.copyOf(messages);
        try (Undo undo = new Undo()) {
            List<EventFd> events = EventFd.createAll(vm.kernel(), all.size());
            undo.add(() -> events.forEach(EventFd::close));
            List<MaskableVector> made = connect(vm, events, true, all, gsis -> vm.assignIrqfds(events, gsis));
            undo.keep();
            return made;
        }
    }

    /**
     * Creates masked vectors for existing eventfds, one per message, or none if one fails. All routes are added in one
     * ioctl. If an eventfd was signalled before this call, {@link #unmask} raises an interrupt. {@link #close} leaves
     * the eventfds open, because another user, such as a vhost queue, may signal them.
     *
     * @throws IllegalArgumentException if the lists differ in length
     * @throws KernelException as {@link #create}
     */
    public static List<MaskableVector> createMasked(Vm vm, List<EventFd> events, List<MsiMessage> messages) {
        Objects.requireNonNull(vm, "vm is null");
        List<MsiMessage> all = List.copyOf(Objects.requireNonNull(messages, "messages is null"));
        if (Objects.requireNonNull(events, "events is null").size() != all.size()) {
            throw new IllegalArgumentException(
                    events.size() + " eventfds cannot have " + all.size() + " messages: pass one message for each");
        }
        return connect(vm, events, false, all, gsis -> vm.maskedIrqfds(events, gsis));
    }

    private static List<MaskableVector> connect(
            Vm vm,
            List<EventFd> events,
            boolean ownsEvents,
            List<MsiMessage> all,
            Function<List<Gsi>, List<Irqfd>> assign) {
        try (Undo undo = new Undo()) {
            List<Gsi> gsis =
                    vm.routes().change(edit -> all.stream().map(edit::add).toList());
            undo.add(() -> vm.routes().letGo(gsis));
            List<Irqfd> irqfds = assign.apply(gsis);
            undo.add(() -> Irqfd.closeAll(irqfds));
            List<MaskableVector> made = new ArrayList<>();
            for (int i = 0; i < events.size(); i++) {
                made.add(new MaskableVector(vm, irqfds.get(i), ownsEvents, all.get(i)));
            }
            undo.keep();
            return List.copyOf(made);
        }
    }

    /**
     * The eventfd that raises the interrupt. Another thread, process or device may signal it. Do not close it, because
     * {@link #signal} needs it. {@link #close} closes it if {@link #create} made it.
     */
    public EventFd event() {
        return event;
    }

    /** Whether this vector belongs to VM {@code other}. */
    public boolean isOf(Vm other) {
        Objects.requireNonNull(other, "other is null");
        return vm == other;
    }

    /** The GSI of this vector, routed to {@link #message}. */
    public Gsi gsi() {
        return irqfd.gsi();
    }

    /** The MSI message that the next interrupt sends. */
    public MsiMessage message() {
        return message;
    }

    /** Whether the vector is masked, so that signals wait in the eventfd until {@link #unmask}. */
    public boolean isMasked() {
        return irqfd.isMasked();
    }

    /**
     * Raises the interrupt. While the vector is masked, signals wait until {@link #unmask} and become one interrupt.
     *
     * @throws ClosedHandleException after {@link #close}
     */
    public void signal() {
        event.signal();
    }

    /**
     * Masks the vector until {@link #unmask}. Idempotent.
     *
     * @throws KernelException as {@link Irqfd#mask}
     * @throws ClosedHandleException after {@link #close}
     */
    public void mask() {
        irqfd.mask();
    }

    /**
     * Unmasks the vector like {@link Irqfd#unmask}. If the eventfd was signalled while the vector was masked, one
     * interrupt is raised at once.
     *
     * @throws KernelException as {@link Irqfd#unmask}
     * @throws ClosedHandleException after {@link #close}
     */
    public void unmask() {
        irqfd.unmask();
    }

    /**
     * Routes the vector to another message. Later interrupts send this message, including one that waits for {@link
     * #unmask}. No interrupt is lost. Makes no system call if the message is unchanged.
     *
     * @throws KernelException as {@link RouteTable#change}; after an error the message is unchanged
     * @throws ClosedHandleException after {@link #close}
     */
    public void reroute(MsiMessage to) {
        rerouteAll(List.of(this), List.of(Objects.requireNonNull(to, "to is null: pass the message to send")));
    }

    /**
     * Reroutes vectors of one VM, each to its own message, in one ioctl.
     *
     * @throws IllegalArgumentException if the lists differ in length, or the vectors belong to several VMs
     * @throws KernelException as {@link RouteTable#change}; all messages then stay as they were
     * @throws ClosedHandleException if a vector is closed
     */
    public static void rerouteAll(List<MaskableVector> vectors, List<MsiMessage> to) {
        Objects.requireNonNull(to, "to is null");
        if (Objects.requireNonNull(vectors, "vectors is null").size() != to.size()) {
            throw new IllegalArgumentException(
                    vectors.size() + " vectors cannot have " + to.size() + " messages: pass one message for each");
        }
        if (vectors.isEmpty()) {
            return;
        }
        Vm vm = vectors.get(0).vm;
        vectors.forEach(vector -> vector.requireOf(vm));
        // In GSI order, so that two threads with the same vectors do not deadlock
        List<MaskableVector> ordered = new ArrayList<>(vectors);
        ordered.sort(Comparator.comparing(vector -> vector.gsi().number()));
        int locked = 0;
        try {
            for (MaskableVector vector : ordered) {
                vector.lock.lock();
                locked++;
                if (vector.closed) {
                    throw new ClosedHandleException(vector.toString());
                }
            }
            vm.routes().edit(edit -> {
                for (int i = 0; i < to.size(); i++) {
                    edit.replace(vectors.get(i).gsi(), to.get(i));
                }
            });
            for (int i = 0; i < to.size(); i++) {
                vectors.get(i).message = to.get(i);
            }
        } finally {
            ordered.subList(0, locked).forEach(vector -> vector.lock.unlock());
        }
    }

    private void requireOf(Vm other) {
        if (vm != other) {
            throw new IllegalArgumentException(
                    this + " is of " + vm + ", and another vector is of " + other + ": pass the vectors of one VM");
        }
    }

    /**
     * Masks vectors of one VM and moves each to another GSI and message, such as those in a snapshot. The vectors keep
     * their eventfds and pending signals. All vectors are moved in one route table change, or none. No other thread may
     * use the vectors during the call.
     *
     * @param to the new GSI and message of each vector. Earlier routes of these GSIs are replaced
     * @throws IllegalArgumentException if the lists differ in length, or the vectors belong to several VMs
     * @throws KernelException as {@link RouteTable#change} for the routes, and as {@link Irqfd#mask}
     * @throws ClosedHandleException if a vector is closed
     */
    public static void moveAll(List<MaskableVector> vectors, List<Route.Msi> to) {
        Objects.requireNonNull(vectors, "vectors is null");
        Objects.requireNonNull(to, "to is null");
        if (vectors.size() != to.size()) {
            throw new IllegalArgumentException(
                    vectors.size() + " vectors cannot have " + to.size() + " routes: pass one route for each");
        }
        if (vectors.isEmpty()) {
            return;
        }
        Vm vm = vectors.get(0).vm;
        try (Undo undo = new Undo()) {
            for (MaskableVector vector : vectors) {
                vector.requireOf(vm);
                if (!vector.isMasked()) {
                    undo.step(vector::mask, vector::unmask);
                }
                vector.irqfd.mask(); // throws if the vector is closed
            }
            vm.routes().edit(edit -> {
                vectors.forEach(vector -> edit.remove(vector.gsi()));
                to.forEach(route -> edit.replace(route.gsi(), route.message()));
            });
            undo.keep();
        }
        for (int i = 0; i < to.size(); i++) {
            vectors.get(i).become(to.get(i));
        }
    }

    private void become(Route.Msi route) {
        lock.lock();
        try {
            irqfd.moveTo(route.gsi());
            message = route.message();
        } finally {
            lock.unlock();
        }
    }

    /**
     * Deassigns the irqfd, removes the route, and closes an eventfd that {@link #create} made. Do not call this method
     * within a {@link RouteTable#change} of this VM: it would log a warning and leave the route in the table.
     * Idempotent, never fails.
     */
    @Override
    public void close() {
        lock.lock();
        try {
            closed = true;
            irqfd.close();
            if (ownsEvent) {
                event.close();
            }
            if (routed) {
                vm.routes().letGo(List.of(irqfd.gsi()));
                routed = false;
            }
        } finally {
            lock.unlock();
        }
    }

    /**
     * Closes many vectors, of one VM or several. The routes are removed in one ioctl per VM, and the irqfds by {@link
     * Irqfd#closeAll}. A {@link #close} in another thread does not wait for this call.
     */
    public static void closeAll(Collection<MaskableVector> vectors) {
        Objects.requireNonNull(vectors, "vectors is null");
        vectors.forEach(vector -> Objects.requireNonNull(vector, "vectors contains null: pass vectors"));
        Map<Vm, List<Gsi>> gsis = new LinkedHashMap<>();
        for (MaskableVector vector : vectors) {
            vector.lock.lock();
            try {
                vector.closed = true;
                if (vector.routed) {
                    gsis.computeIfAbsent(vector.vm, same -> new ArrayList<>()).add(vector.gsi());
                    vector.routed = false;
                }
            } finally {
                vector.lock.unlock();
            }
        }
        vectors.stream().filter(vector -> vector.ownsEvent).forEach(vector -> vector.event.close());
        Irqfd.closeAll(vectors.stream().map(vector -> vector.irqfd).toList());
        gsis.forEach((vm, all) -> vm.routes().letGo(all));
    }

    @Override
    public String toString() {
        return "vector " + message() + " by " + irqfd;
    }
}
