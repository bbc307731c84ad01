/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.SharedWords;

/** The VM's vCPUs that sleep on one CPU and are woken by its wake-up vector. */
final class WakeupList extends SharedSet {
    WakeupList(SharedWords words, int base, int vcpus) {
        super(words, base, vcpus);
    }

    /** Takes the lock. */
    @Override
    public void add(int vcpu) {
        lock();
        super.add(vcpu);
        unlock();
    }

    /** Takes the lock. */
    @Override
    public void remove(int vcpu) {
        lock();
        super.remove(vcpu);
        unlock();
    }
}
