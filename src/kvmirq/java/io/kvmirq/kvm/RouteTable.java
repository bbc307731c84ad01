/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.events.Events;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.uapi.Uapi;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * A VM's GSI routes. KVM_SET_GSI_ROUTING replaces the whole table, so the cost of a change grows with the number of
 * routes. Make related changes in one {@link #change}, which makes at most one system call and, if it fails, changes
 * nothing. The library cannot see routes set by another program, so its next change removes them.
 *
 * <p>{@link #add} allocates the lowest GSI that is not reserved for a pin and has no route and no {@link Irqfd}.
 * Thread-safe. A lock serializes KVM_SET_GSI_ROUTING. It is not held while the function passed to {@link #change} runs,
 * and methods that read the table do not wait for it.
 *
 * <p>Source: {@code kvm_set_irq_routing()} in virt/kvm/irqchip.c.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="routes"}
 */
public final class RouteTable {
    /** The largest number of entries in a table: {@code KVM_MAX_IRQ_ROUTES}. */
    public static final int CAPACITY = 4096;

    private static final int IOAPIC_PINS = 24;
    private static final Routes NONE = new Routes();

    private final VmCalls calls;
    private final ReentrantLock lock = new ReentrantLock();
    /** The table as last committed: immutable, and replaced under the lock. */
    private volatile Routes table = new Routes();

    // Guarded by the lock
    private final RouteRecords records = new RouteRecords();
    /** The table that {@link #records} encodes. The next table is encoded only from the first GSI that differs. */
    private Routes encoded = NONE;

    /** The number of irqfds on each GSI. */
    private final AtomicIntegerArray held = new AtomicIntegerArray(Gsi.MAX + 1);

    /** The number of irqfds on each GSI that are assigned in the kernel. */
    private final AtomicIntegerArray live = new AtomicIntegerArray(Gsi.MAX + 1);

    /** Whether an adopted VM may have routes that this table does not list. */
    private volatile boolean mayHaveOthers;

    /** Whether an adopted VM's routes are unknown and must stay, so that {@link #change} is refused. */
    private volatile boolean othersStay;
    /** Written before {@link #table}, and read after it. */
    private volatile int firstFree;

    private final AtomicLong commits = new AtomicLong();
    private final Set<Thread> changing = ConcurrentHashMap.newKeySet();

    private RouteTable(VmCalls calls, List<? extends Route> now, int firstFree) {
        this.calls = calls;
        this.firstFree = firstFree;
        now.forEach(route -> {
            requireOurs(route);
            table.put(route);
        });
    }

    static RouteTable empty(VmCalls calls) {
        return new RouteTable(calls, List.of(), 0);
    }

    /** An adopted VM's routes. An empty list does not mean that the VM has none. */
    static RouteTable ofAdopted(VmCalls calls, List<Route> now, Gsi firstFree) {
        RouteTable table = new RouteTable(
                calls,
                now,
                Objects.requireNonNull(firstFree, "firstFree is null").number());
        table.mayHaveOthers = now.isEmpty();
        return table;
    }

    static RouteTable ofAdopted(VmCalls calls, RoutesNow now) {
        List<Route.Pin> routes = now == RoutesNow.OF_FULL_IRQCHIP ? defaultsOfX86() : List.of();
        RouteTable table = new RouteTable(calls, routes, IOAPIC_PINS);
        table.othersStay = now == RoutesNow.UNKNOWN;
        return table;
    }

    /** A chip number denotes different chips on x86 and arm64. */
    private void requireOurs(Route route) {
        if (route instanceof Route.Pin pin) {
            boolean isVgic = pin.chip() == Route.Chip.VGIC;
            if (isVgic != calls.isArm64()) {
                throw new UnsupportedOperationException(calls.vm() + " has no " + pin.chip() + " pins: "
                        + (isVgic ? "arm64 has them" : "x86 has them, use pins of Route.Chip.VGIC"));
            }
        }
    }

    /** Creates the irqchip, which sets default routes in the kernel. The first free GSI follows these. */
    void becomeDefaults(Supplier<List<Route.Pin>> createIrqchip) {
        lock.lock();
        try {
            Routes defaults = new Routes();
            createIrqchip.get().forEach(defaults::put);
            firstFree = defaults.gsisOfPins();
            table = defaults;
            encode(defaults);
        } finally {
            lock.unlock();
        }
    }

    private void encode(Routes next) {
        Routes last = encoded;
        encoded = NONE; // until the next table is fully encoded
        next.encode(records, last);
        encoded = next;
    }

    /**
     * The default routes of {@link X86Vm#createIrqchip}: GSI n to IOAPIC pin n, and GSI 0–15 also to the two PICs' 16
     * pins ({@code default_routing} in arch/x86/kvm/irq.c). Add these routes in a {@link #change} to restore them, or
     * pass them to {@link Vm#adopt(io.kvmirq.kernel.Kernel,int,io.kvmirq.kernel.Ownership,List,Gsi) Vm.adopt}.
     */
    public static List<Route.Pin> defaultsOfX86() {
        List<Route.Pin> routes = new ArrayList<>();
        for (int pin = 0; pin < IOAPIC_PINS; pin++) {
            Gsi gsi = new Gsi(pin);
            routes.add(new Route.Pin(gsi, Route.Chip.IOAPIC, pin));
            if (pin < 16) {
                Route.Chip pic = pin < 8 ? Route.Chip.PIC_MASTER : Route.Chip.PIC_SLAVE;
                routes.add(new Route.Pin(gsi, pic, pin % 8));
            }
        }
        return routes;
    }

    /** Creates a split irqchip and empties the table. {@link #add} skips the GSIs below {@code pins}. */
    void leaveToPins(int pins, Runnable createIrqchip) {
        lock.lock();
        try {
            createIrqchip.run();
            firstFree = pins;
            table = new Routes();
        } finally {
            lock.unlock();
        }
    }

    /**
     * Whether this table lists all of the VM's routes in the kernel. False only for an adopted VM if the caller of
     * {@code Vm.adopt} did not specify its routes ({@link RoutesNow#UNKNOWN}).
     */
    public boolean isKnown() {
        return !othersStay;
    }

    /** Counts an irqfd on {@code gsi}, so that the GSI is not allocated until {@link #release}. */
    void hold(Gsi gsi) {
        held.incrementAndGet(gsi.number());
    }

    void release(Gsi gsi) {
        held.decrementAndGet(gsi.number());
    }

    /** Adds {@code more} to the number of irqfds that the kernel has on {@code gsi}, and returns the sum. */
    int live(Gsi gsi, int more) {
        return live.addAndGet(gsi.number(), more);
    }

    /**
     * Changes the route table in one step.
     *
     * @param change edits a copy of the table. If it throws, the table is unchanged. If another thread changes the
     *     table first, the function runs again with a new copy, so it must have no side effects. A slow function may
     *     run many times
     * @return what {@code change} returned
     * @throws RoutesExhaustedException if the change needs more than {@value #CAPACITY} entries, or no GSI is free
     * @throws IllegalStateException if called within another change of this table
     * @throws io.kvmirq.KernelException EINVAL without an in-kernel irqchip, or for a route to a pin with a split
     *     irqchip
     */
    public <T> T change(Function<? super Edit, ? extends T> change) {
        Objects.requireNonNull(change, "change is null");
        Edit edit = begin();
        try {
            while (true) {
                T result = apply(change, edit);
                if (commit(edit)) {
                    return result;
                }
                edit = copy();
            }
        } finally {
            end();
        }
    }

    private static <T> T apply(Function<? super Edit, ? extends T> change, Edit edit) {
        try {
            return change.apply(edit);
        } finally {
            edit.ended = true;
        }
    }

    private Edit begin() {
        if (othersStay) {
            throw new IllegalStateException("the routes of " + calls.vm() + " are not known, and a change would remove"
                    + " them all: adopt the VM with its routes, or leave them to its VMM");
        }
        Edit edit = copy(); // first, because a failure after the add below would leave the thread in the set
        if (!changing.add(Thread.currentThread())) {
            throw new IllegalStateException(
                    "the routes of " + calls.vm() + " are being changed: use the edit that change() passed");
        }
        return edit;
    }

    private void end() {
        changing.remove(Thread.currentThread());
    }

    private Edit copy() {
        Routes now = table;
        return new Edit(now, firstFree);
    }

    /** @return false if another thread replaced the table after it was copied */
    private boolean commit(Edit edit) {
        lock.lock();
        try {
            if (edit.original != table) {
                return false;
            }
            if (edit.copy.sameBelow(table) != Routes.ALL) {
                encode(edit.copy);
                Object event = Events.begin(Events.Type.ROUTES_CHANGED);
                calls.setRoutes(records);
                Routes before = table;
                table = edit.copy; // at once, because the kernel has it
                commits.incrementAndGet();
                if (event != null) {
                    Events.end(event, table.changes(before, VmCalls.number(calls.vm())));
                }
                warnOfLost(before, edit);
            }
            return true;
        } finally {
            lock.unlock();
        }
    }

    private void warnOfLost(Routes before, Edit edit) {
        if (mayHaveOthers && commits.get() == 1) {
            calls.warnOnce(
                    calls.vm() + " was adopted with no routes",
                    ", and this change has removed any that it had: pass them to Vm.adopt, or RoutesNow.NONE");
        }
        for (int gsi = 0; edit.removes && gsi <= Gsi.MAX; gsi++) {
            if (live.get(gsi) > 0 && before.has(gsi) && !edit.copy.has(gsi)) {
                calls.warnOnce(
                        new Gsi(gsi) + " of " + calls.vm(),
                        " has an irqfd but no longer a route, so its signals are lost forever: close or mask the"
                                + " irqfd before removing the route");
            }
        }
    }

    /** Changes the table like {@link #change}, with a function that returns no result. */
    public void edit(Consumer<? super Edit> change) {
        Objects.requireNonNull(change, "change is null");
        change(edit -> {
            change.accept(edit);
            return edit;
        });
    }

    /** Routes the lowest free GSI to {@code message}, in a separate change. @return the GSI */
    public Gsi add(MsiMessage message) {
        return change(edit -> edit.add(message));
    }

    /** Replaces all routes of {@code gsi} with this message, in a separate change. @return {@code gsi} */
    public Gsi replace(Gsi gsi, MsiMessage message) {
        edit(edit -> edit.replace(gsi, message));
        return gsi;
    }

    /**
     * Removes all routes of {@code gsi}, in a separate change. Signals of an irqfd on this GSI are lost until it has a
     * route again.
     */
    public void remove(Gsi gsi) {
        edit(edit -> edit.remove(gsi));
    }

    /** Like {@link #remove}, but does not warn that signals of an irqfd on this GSI are lost. */
    public void removeLosingInterrupts(Gsi gsi) {
        edit(edit -> {
            boolean before = edit.removes;
            edit.remove(gsi).removes = before;
        });
    }

    /** Removes the routes of GSIs without an irqfd. Used in tear-down, so it never fails. */
    void letGo(List<Gsi> gsis) {
        try {
            edit(edit -> gsis.forEach(edit::remove));
        } catch (ClosedHandleException e) {
            // The routes went with the VM.
        } catch (KernelException | IllegalStateException e) {
            calls.warnOnce(
                    "the routes of " + gsis + " of " + calls.vm(), " stay without their irqfds: " + e.getMessage());
        }
    }

    /** The routes after the last change, sorted by GSI. */
    public List<Route> routes() {
        Routes now = table;
        return IntStream.rangeClosed(0, Gsi.MAX)
                .boxed()
                .flatMap(gsi -> now.of(gsi).stream())
                .toList();
    }

    /**
     * Checks before a set-up that the table has room for routes to this many messages.
     *
     * @throws RoutesExhaustedException if the table has too few free GSIs or entries left
     */
    public void requireFree(int messages) {
        Routes now = table;
        int room = CAPACITY - now.size();
        int free = 0;
        for (int gsi = firstFree; gsi <= Gsi.MAX && free < room && free < messages; gsi++) {
            free += isFree(now, gsi) ? 1 : 0;
        }
        if (free < messages) {
            throw new RoutesExhaustedException(messages + " messages need a GSI each, but " + calls.vm() + " has "
                    + free + " left: request fewer, or remove routes first");
        }
    }

    private boolean isFree(Routes in, int gsi) {
        return held.get(gsi) == 0 && !in.has(gsi);
    }

    /** Whether this kernel has the KVM capability for this route's type; true if the type needs none. */
    public boolean supports(Route.Other route) {
        return calls.hasType(Objects.requireNonNull(route, "route is null"));
    }

    /** The routes of one GSI after the last change. */
    public List<Route> of(Gsi gsi) {
        Objects.requireNonNull(gsi, "gsi is null");
        return table.of(gsi.number());
    }

    /** The GSIs among {@code gsis} that have no route. */
    List<Gsi> unrouted(List<Gsi> gsis) {
        Routes now = table;
        List<Gsi> unrouted = new ArrayList<>();
        for (Gsi gsi : gsis) {
            if (!now.has(gsi.number())) {
                unrouted.add(gsi);
            }
        }
        return unrouted;
    }

    /** Whether an {@link Irqfd} of this VM raises {@code gsi}. */
    public boolean hasIrqfd(Gsi gsi) {
        return irqfds(gsi) > 0;
    }

    /** The number of {@link Irqfd}s of this VM that raise {@code gsi}. */
    public int irqfds(Gsi gsi) {
        Objects.requireNonNull(gsi, "gsi is null");
        return held.get(gsi.number());
    }

    /** The number of times this object has replaced the kernel's table. */
    public long commits() {
        return commits.get();
    }

    @Override
    public String toString() {
        return "routes of " + calls.vm();
    }

    /** A copy of the table, editable until the function passed to {@link #change} returns. Not thread-safe. */
    public final class Edit {
        private final Routes original;
        private final Routes copy;
        private final int first;
        private int search;
        private boolean removes;
        private boolean ended;

        private Edit(Routes original, int first) {
            this.original = original;
            this.copy = original.copy();
            this.first = first;
            this.search = first;
        }

        /**
         * Routes the lowest free GSI to {@code message}. This does not reserve the GSI, so until the change is
         * committed, {@code Vm.assignIrqfd} in another thread may assign an irqfd to it.
         */
        public Gsi add(MsiMessage message) {
            Objects.requireNonNull(message, "message is null");
            requireOpen();
            Gsi gsi = free();
            requireRoom(1);
            put(gsi, message);
            return gsi;
        }

        /** Routes this GSI to {@code message} and removes its earlier routes. */
        public Edit replace(Gsi gsi, MsiMessage message) {
            Objects.requireNonNull(message, "message is null");
            requireOpen();
            remove(gsi);
            requireRoom(1);
            put(gsi, message);
            return this;
        }

        private void put(Gsi gsi, MsiMessage message) {
            calls.warnUnlessReached(message);
            copy.put(gsi.number(), message);
        }

        /**
         * Adds a route to a pin. A GSI may be routed to one pin of each chip.
         *
         * @throws IllegalArgumentException if the GSI has a route to a message, or to a pin of the same chip
         * @throws UnsupportedOperationException if the kernel's architecture does not have this chip
         */
        public Edit add(Route.Pin route) {
            requireOpen();
            requireOurs(route);
            for (Route there : copy.of(route.gsi().number())) {
                if (!(there instanceof Route.Pin pin) || pin.chip() == route.chip()) {
                    throw new IllegalArgumentException(route.gsi() + " already has " + there + ": a GSI has one"
                            + " route, or pins of different chips; remove it first");
                }
            }
            requireRoom(1);
            copy.put(route);
            return this;
        }

        /**
         * Adds this route and removes its GSI's earlier routes.
         *
         * @throws UnsupportedOperationException if this kernel lacks the route type (Hyper-V, Xen)
         */
        public Edit replace(Route.Other route) {
            requireOpen();
            if (!supports(route)) { // the kernel's errno has many other causes
                throw new UnsupportedOperationException(route
                        + ": this kernel does not support such routes, as it reports by "
                        + (route.type() == Uapi.KVM_IRQ_ROUTING_HV_SINT ? "KVM_CAP_HYPERV_SYNIC" : "KVM_CAP_XEN_HVM"));
            }
            remove(route.gsi());
            requireRoom(1);
            copy.put(route);
            return this;
        }

        /** Removes all routes of {@code gsi}. Does nothing if the GSI has no route. */
        public Edit remove(Gsi gsi) {
            Objects.requireNonNull(gsi, "gsi is null");
            requireOpen();
            if (copy.remove(gsi.number())) {
                removes = true;
                search = Math.min(search, Math.max(first, gsi.number()));
            }
            return this;
        }

        private Gsi free() {
            while (search <= Gsi.MAX) {
                int candidate = search++;
                if (isFree(copy, candidate)) {
                    return new Gsi(candidate);
                }
            }
            throw new RoutesExhaustedException("no GSI of " + calls.vm() + " is free: the first " + first
                    + " belong to pins, the rest up to " + Gsi.MAX + " have routes or irqfds; remove a route first");
        }

        private void requireRoom(int more) {
            if (copy.size() + more > CAPACITY) {
                throw new RoutesExhaustedException("the routing table of " + calls.vm() + " has " + CAPACITY
                        + " entries at most, " + table.size() + " were used before this change, and it adds more than"
                        + " are left; remove a route first");
            }
        }

        private void requireOpen() {
            if (ended) {
                throw new IllegalStateException("this change of the routes has ended; begin another");
            }
        }
    }
}
