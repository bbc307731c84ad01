/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The interrupts that reached vCPUs, one by one, and those that reached none. The caller holds the kernel's lock. */
public final class Deliveries {
    private static final int VECTORS = 256;
    /** More are not kept: a test that loses so many has seen enough. */
    private static final int MOST_LOST = 64;

    /** By vCPU id and vector, how often a LAPIC accepted it or hardware posted it. */
    private @Nullable int[][] counts = new int[0][];

    private final List<String> lost = new ArrayList<>();

    public void delivered(int vcpu, int vector) {
        if (vcpu >= counts.length) {
            counts = Arrays.copyOf(counts, Math.max(vcpu + 1, 2 * counts.length));
        }
        int[] ofVcpu = counts[vcpu];
        if (ofVcpu == null) {
            ofVcpu = new int[VECTORS];
            counts[vcpu] = ofVcpu;
        }
        ofVcpu[vector]++;
    }

    /** By vector; only those that were delivered. */
    public Map<Integer, Integer> of(int vcpu) {
        Map<Integer, Integer> received = new TreeMap<>();
        int[] ofVcpu = vcpu < counts.length ? counts[vcpu] : null;
        for (int vector = 0; ofVcpu != null && vector < VECTORS; vector++) {
            if (ofVcpu[vector] > 0) {
                received.put(vector, ofVcpu[vector]);
            }
        }
        return received;
    }

    /** @param sentence the interrupt, and why it reached no vCPU */
    public void lost(String sentence) {
        if (lost.size() < MOST_LOST) {
            lost.add(sentence);
        }
    }

    public List<String> lost() {
        return List.copyOf(lost);
    }
}
