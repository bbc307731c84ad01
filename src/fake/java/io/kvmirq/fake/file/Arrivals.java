/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Counts the interrupts that reached vCPUs, for each vCPU and vector. The caller holds the kernel's lock. */
public final class Arrivals {
    private static final int VECTORS = 256;
    private static final int[] NONE = {};

    /** Deliveries by vCPU id and vector: a LAPIC accepted it or hardware posted it. Empty if no vCPU had the id. */
    private int[][] counts = {};

    private @Nullable Supplier<String> caller;
    /** The calls that delivered, keyed by vCPU and vector. Empty without a caller. */
    private final Map<Integer, Set<String>> calls = new TreeMap<>();

    /** @param call supplies the name of the running call for each delivery from now on */
    public void setCaller(Supplier<String> call) {
        caller = call;
    }

    public Set<String> calls(int vcpu, int vector) {
        return new TreeSet<>(calls.getOrDefault(vcpu * VECTORS + vector, Set.of()));
    }

    public void add(int vcpu, int vector) {
        if (vcpu >= counts.length || counts[vcpu].length == 0) {
            begin(vcpu);
        }
        counts[vcpu][vector]++;
        if (caller != null) {
            calls.computeIfAbsent(vcpu * VECTORS + vector, key -> new TreeSet<>())
                    .add(caller.get());
        }
    }

    /** Notes a new vCPU. If another VM had a vCPU with this id, its counts are kept. */
    public void begin(int vcpu) {
        int length = counts.length;
        if (vcpu >= length) {
            counts = Arrays.copyOf(counts, Math.max(vcpu + 1, 2 * length));
            Arrays.fill(counts, length, counts.length, NONE);
        }
        counts[vcpu] = counts[vcpu].length == 0 ? new int[VECTORS] : counts[vcpu];
    }

    /** The ids that vCPUs have had, in rising order. */
    public IntStream vcpus() {
        return IntStream.range(0, counts.length).filter(vcpu -> counts[vcpu].length > 0);
    }

    /** The number of deliveries of each vector to a vCPU, keyed by vector. */
    public Map<Integer, Integer> of(int vcpu) {
        Map<Integer, Integer> received = new TreeMap<>();
        int[] ofVcpu = vcpu < counts.length ? counts[vcpu] : NONE;
        for (int vector = 0; vector < ofVcpu.length; vector++) {
            if (ofVcpu[vector] > 0) {
                received.put(vector, ofVcpu[vector]);
            }
        }
        return received;
    }

    /** The number of deliveries of a vector, keyed by the vCPU that got it. */
    public Map<Integer, Integer> receivers(int vector) {
        Map<Integer, Integer> receivers = new TreeMap<>();
        for (int vcpu = 0; vcpu < counts.length; vcpu++) {
            if (counts[vcpu].length > 0 && counts[vcpu][vector] > 0) {
                receivers.put(vcpu, counts[vcpu][vector]);
            }
        }
        return receivers;
    }
}
