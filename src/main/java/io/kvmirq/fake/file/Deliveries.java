/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The interrupts that reached vCPUs, one by one, and those that reached none. The caller holds the kernel's lock. */
public final class Deliveries {
    private static final int VECTORS = 256;
    private static final int[] NONE = {};
    /** More are not kept: a test that loses so many has seen enough. */
    private static final int MOST_LOST = 64;

    /** By vCPU id: by vector, how often a LAPIC accepted it or hardware posted it; none for a vCPU that got nothing. */
    private int[][] counts = {};

    private final List<String> lost = new ArrayList<>();

    public void delivered(int vcpu, int vector) {
        if (vcpu >= counts.length || counts[vcpu].length == 0) {
            addVcpu(vcpu);
        }
        counts[vcpu][vector]++;
    }

    private void addVcpu(int vcpu) {
        int length = counts.length;
        if (vcpu >= length) {
            counts = Arrays.copyOf(counts, Math.max(vcpu + 1, 2 * length));
            Arrays.fill(counts, length, counts.length, NONE);
        }
        counts[vcpu] = new int[VECTORS];
    }

    /** By vector; only those that were delivered. */
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

    /**
     * An interrupt reached no vCPU. Allocates nothing once there are many.
     *
     * @param what with {@code number} behind it, the interrupt
     * @param why the rest of the sentence
     */
    public void lost(String what, int number, String why) {
        if (lost.size() < MOST_LOST) {
            lost.add(what + " " + number + " " + why);
        }
    }

    public List<String> lost() {
        return List.copyOf(lost);
    }
}
