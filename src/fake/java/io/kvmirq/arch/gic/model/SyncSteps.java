/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

/**
 * The two steps of {@link VirtualInterface#syncToCpu}, apart: something else can come between them, as a maintenance
 * interrupt could in KVM as posted in 2012. Each step takes the distributor's lock. For a replay by one thread.
 */
public final class SyncSteps {
    private final VirtualInterface registers;
    private boolean all;

    public SyncSteps(VirtualInterface registers) {
        this.registers = registers;
    }

    /**
     * Queues what is pending.
     *
     * @return whether every interrupt found a list register
     */
    public boolean queue() {
        registers.gic.lock();
        all = registers.queueAll();
        registers.gic.unlock();
        return all;
    }

    /** Clears the flag of the vCPU if the last {@link #queue} queued all, or sets UIE. */
    public void settle() {
        registers.gic.lock();
        registers.settle(all);
        registers.gic.unlock();
    }
}
