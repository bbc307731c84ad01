/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.SharedWords;

/** The lists of a VM as {@code list_head} has them: a node in each irqfd, a head in each vCPU, with next and prev. */
final class Links {
    private static final int NEXT = 0;
    private static final int PREV = 1;

    private final SharedWords words;
    private final int base;
    private final int vcpus;
    /** Where a walk that leaves its list is noted: the vCPU + 1. */
    private final int corrupt;

    /** Each head is empty, and so is each node. Heads come first. */
    Links(SharedWords words, int base, int vcpus, int corrupt) {
        this.words = words;
        this.base = base;
        this.vcpus = vcpus;
        this.corrupt = corrupt;
        for (int id = 0; base + 2 * id < words.size(); id++) {
            words.set(base + 2 * id + NEXT, id);
            words.set(base + 2 * id + PREV, id);
        }
    }

    static int words(int vcpus, int irqfds) {
        return 2 * (vcpus + irqfds);
    }

    private long get(long id, int which) {
        return words.get(base + 2 * (int) id + which);
    }

    private void set(long id, int which, long value) {
        words.set(base + 2 * (int) id + which, value);
    }

    /** The list of a vCPU. */
    final class Linked extends SharedSet {
        private final int vcpu;

        Linked(SharedWords words, int base, int irqfds, int vcpu) {
            super(words, base, irqfds);
            this.vcpu = vcpu;
        }

        /** {@code list_add}. */
        @Override
        public void add(int irqfd) {
            int node = vcpus + irqfd;
            long next = get(vcpu, NEXT);
            set(next, PREV, node);
            set(node, NEXT, next);
            set(node, PREV, vcpu);
            set(vcpu, NEXT, node);
        }

        /** {@code list_del_init}. */
        @Override
        public void remove(int irqfd) {
            int node = vcpus + irqfd;
            long next = get(node, NEXT);
            long prev = get(node, PREV);
            set(next, PREV, prev);
            set(prev, NEXT, next);
            set(node, NEXT, node);
            set(node, PREV, node);
        }

        /** {@code list_for_each_entry}. A node that follows itself, and the head of another list, are noted. */
        @Override
        public int next(int irqfd) {
            int from = irqfd == 0 ? vcpu : vcpus + irqfd - 1;
            long next = get(from, NEXT);
            if (next == vcpu) {
                return -1;
            }
            if (next < vcpus || next == from) {
                words.set(corrupt, vcpu + 1);
                return -1;
            }
            return (int) next - vcpus;
        }
    }
}
