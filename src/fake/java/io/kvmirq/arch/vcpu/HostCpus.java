/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vcpu;

import io.kvmirq.arch.SharedWords;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * A host's CPUs and interrupt handlers, which any number of VMs can share. Thread-safe once all handlers and vCPUs are
 * added. A vector is 0–255.
 */
public final class HostCpus {
    static final int VECTORS = 256;

    private final List<HostCpu> cpus = new ArrayList<>();
    /** The CPU ids, sorted for binary search, and the CPU number of each. */
    private final long[] ids;

    private final int[] numbers;

    private final List<List<Consumer<HostCpu>>> handlers = new ArrayList<>(Collections.nCopies(VECTORS, List.of()));

    private int threads;

    /**
     * Creates a host with a CPU for each {@link HostCpu#id}, and allocates the host's words. Throws
     * IllegalArgumentException if two ids are equal or none is given.
     */
    public HostCpus(long... ids) {
        this(SharedWords.of(new long[words(ids.length)]), 0, ids);
    }

    /** Creates a host like {@link #HostCpus(long...)}. The host's state is in {@code words} from {@code base} on. */
    public HostCpus(SharedWords words, int base, long... ids) {
        if (ids.length == 0) {
            throw new IllegalArgumentException("a host needs CPUs: expected the id of 1 CPU or more");
        }
        this.ids = ids.clone();
        Arrays.sort(this.ids);
        for (int i = 1; i < ids.length; i++) {
            if (this.ids[i] == this.ids[i - 1]) {
                throw new IllegalArgumentException("two CPUs have the id 0x" + Long.toHexString(this.ids[i])
                        + ": expected an id of its own for each");
            }
        }
        this.numbers = new int[ids.length];
        for (int number = 0; number < ids.length; number++) {
            numbers[Arrays.binarySearch(this.ids, ids[number])] = number;
            cpus.add(new HostCpu(this, number, ids[number], words, base + number * HostCpu.WORDS));
        }
    }

    /** Returns the number of shared words for the state of a host with {@code cpus} CPUs. */
    public static int words(int cpus) {
        return cpus * HostCpu.WORDS;
    }

    /** Returns all CPUs of the host, in the order of their numbers. */
    public List<HostCpu> cpus() {
        return List.copyOf(cpus);
    }

    /** Returns the CPU with this number. Throws IllegalArgumentException if no CPU has the number. */
    public HostCpu cpu(int number) {
        if (number < 0 || number >= cpus.size()) {
            throw new IllegalArgumentException("processor " + number + " does not exist: expected 0-"
                    + (cpus.size() - 1) + ", as this host was created");
        }
        return cpus.get(number);
    }

    /** Returns the CPU with this id in interrupt hardware; empty if no CPU has the id. */
    public Optional<HostCpu> withId(long id) {
        int found = Arrays.binarySearch(ids, id);
        return found < 0 ? Optional.empty() : Optional.of(cpus.get(numbers[found]));
    }

    /** Sends an interrupt to the CPU with this id. If no CPU has the id, the interrupt is lost. Does not allocate. */
    public void interrupt(long id, int vector) {
        int found = Arrays.binarySearch(ids, id);
        if (found >= 0) {
            cpus.get(numbers[found]).interrupt(vector);
        }
    }

    /**
     * Adds a handler of a vector. A CPU that takes an interrupt of this vector runs all handlers of the vector with
     * interrupts off. Throws IllegalArgumentException for a vector out of range.
     */
    public void handle(int vector, Consumer<HostCpu> handler) {
        Objects.requireNonNull(handler, "handler is null");
        if (vector < 0 || vector >= VECTORS) {
            throw new IllegalArgumentException("vector " + vector + " is out of range: expected 0-255");
        }
        List<Consumer<HostCpu>> all = new ArrayList<>(handlers.get(vector));
        all.add(handler);
        handlers.set(vector, all);
    }

    /** Removes a handler of a vector. Does nothing if this handler was not added. */
    public void forget(int vector, Consumer<HostCpu> handler) {
        Objects.requireNonNull(handler, "handler is null");
        List<Consumer<HostCpu>> all = new ArrayList<>(handlers.get(vector));
        all.remove(handler);
        handlers.set(vector, all);
    }

    boolean handles(int vector) {
        return vector >= 0 && vector < VECTORS && !handlers.get(vector).isEmpty();
    }

    /** Takes the highest pending vector. Allocates nothing, because it uses no iterator. */
    void take(HostCpu cpu) {
        for (int vector = VECTORS - 1; vector >= 0; vector--) {
            if (handles(vector) && cpu.take(vector)) {
                List<Consumer<HostCpu>> all = handlers.get(vector);
                for (int i = 0; i < all.size(); i++) {
                    all.get(i).accept(cpu);
                }
                return;
            }
        }
    }

    /** @return the number of a new thread, from 1 */
    int addThread() {
        return ++threads;
    }
}
