/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Choices;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * A random guest program of accesses to MSI or MSI-X while the device sends, beside a plain account of what has to
 * arrive: each message once, as the registers say when its vector is open. A lazy guest takes what was requested some
 * accesses later.
 */
public abstract class MessageSearch implements AutoCloseable {
    private static final int STEPS = 80;
    /** A lazy guest takes what was requested after one in so many accesses. */
    private static final int LAZINESS = 4;

    /** What the searched capability belongs to. */
    public interface Device extends AutoCloseable {
        /** Returns whether an eventfd is known to be signalled: not if hardware posted the message, or the device keeps it. */
        boolean send(int vector);

        /** As a Function Level Reset. */
        void reset();

        /** What the vCPUs take: {@code vCPU:vector}, in any order. A real device may take a moment to send so many. */
        List<String> taken(int min);

        /** Whether pending bits are these, at last. */
        long pending(long expected);

        /** Ends it, if it is of the search alone. */
        @Override
        default void close() {}
    }

    Device device;
    final Choices random;
    final int vectors;
    final BitSet pending = new BitSet();
    boolean enabled;
    /** What the vCPUs have to take, and have not yet. */
    final Set<String> due = new HashSet<>();
    /** What they may take besides, once. */
    final Set<String> possible = new HashSet<>();

    private final boolean lazy;
    private boolean mayTake = true;
    private int sent;
    private int signalled;
    private int arrived;

    MessageSearch(Device device, int vectors, boolean lazy, Choices random) {
        this.device = device;
        this.lazy = lazy;
        this.vectors = vectors;
        this.random = random;
    }

    /** Runs the program. At its end everything is open, and nothing may be left. */
    public final void run() {
        while (random.step(STEPS)) {
            step(random.nextInt(vectors));
            checkPending();
        }
        openAll();
        take();
        assertThat(pending.isEmpty()).isTrue();
    }

    @Override
    public final void close() {
        device.close();
    }

    abstract void step(int vector);

    abstract void openAll();

    abstract boolean isOpen(int vector);

    /** {@code vCPU:vector} of the guest. */
    abstract String target(int vector);

    /** Pending bits that are the device's own are not asked for. */
    abstract boolean knowsPending(int vector);

    public final int sent() {
        return sent;
    }

    /** Messages that signalled an eventfd. */
    public final int signalled() {
        return signalled;
    }

    public final int arrived() {
        return arrived;
    }

    final void send(int vector) {
        if (!enabled) {
            return; // it would assert its line
        }
        random.note("send " + vector);
        sent++;
        if (!isOpen(vector)) {
            pending.set(vector);
        }
        signalled += device.send(vector) ? 1 : 0;
        check(isOpen(vector) && isRequestedAtOnce(vector) ? List.of(target(vector)) : List.of());
    }

    /** Whether a message of an open vector is requested of a vCPU when the device has sent it; else {@link #taking}. */
    boolean isRequestedAtOnce(int vector) {
        return true;
    }

    /** The vCPUs take next, and before that all is requested. */
    void taking() {}

    final void check(List<String> expected) {
        check(expected, List.of());
    }

    final void check(List<String> expected, List<String> may) {
        due.addAll(expected);
        possible.addAll(may);
        if (mayTake && (!lazy || random.nextInt(LAZINESS) == 0)) {
            take();
        }
    }

    /** From now on the vCPUs take what is requested at once or some accesses later; or nothing. */
    final void setMayTake(boolean may) {
        mayTake = may;
    }

    /** What the vCPUs take now. */
    final List<String> takeAny() {
        taking();
        List<String> taken = device.taken(due.size());
        arrived += taken.size();
        random.note("take " + taken);
        return taken;
    }

    final void take() {
        List<String> taken = takeAny();
        possible.removeAll(due);
        taken.removeAll(possible);
        assertThat(taken).containsExactlyInAnyOrderElementsOf(due);
        due.clear();
        possible.clear();
    }

    /** Messages that were pending arrive where their vector is open now. */
    void opened() {
        List<String> arrives = new ArrayList<>();
        for (int i = 0; i < vectors; i++) {
            if (isOpen(i) && pending.get(i)) {
                arrives.add(target(i));
                pending.clear(i);
            }
        }
        check(arrives);
    }

    private void checkPending() {
        long known = 0;
        long expected = 0;
        for (int i = 0; i < vectors; i++) {
            known |= knowsPending(i) ? 1L << i : 0;
            expected |= knowsPending(i) && pending.get(i) ? 1L << i : 0;
        }
        assertThat(device.pending(expected) & known).as("pending bits").isEqualTo(expected);
    }
}
