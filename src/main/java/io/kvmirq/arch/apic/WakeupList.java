/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.SharedWords;

/** The vCPUs of a VM that sleep on one CPU and are to be woken by its wake-up vector, under the lock of the list. */
final class WakeupList {
    static final int LOCK = 0;
    /** A bit for each vCPU from here. */
    static final int BITS = 1;

    private final SharedWords words;
    private final int base;

    WakeupList(SharedWords words, int base) {
        this.words = words;
        this.base = base;
    }

    static int words(int vcpus) {
        return BITS + (vcpus + Long.SIZE - 1) / Long.SIZE;
    }

    int at(int word) {
        return base + word;
    }

    void lock() {
        words.lock(at(LOCK));
    }

    void unlock() {
        words.unlock(at(LOCK));
    }

    void add(int vcpu) {
        lock();
        words.or(word(vcpu), 1L << vcpu);
        unlock();
    }

    void remove(int vcpu) {
        lock();
        words.and(word(vcpu), ~(1L << vcpu));
        unlock();
    }

    boolean has(int vcpu) {
        return (words.get(word(vcpu)) & 1L << vcpu) != 0;
    }

    private int word(int vcpu) {
        return at(BITS + vcpu / Long.SIZE);
    }
}
