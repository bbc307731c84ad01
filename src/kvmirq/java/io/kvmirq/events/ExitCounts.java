/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.events;

import java.util.Map;
import java.util.TreeMap;

/**
 * Counts a vCPU's exits while {@code kvmirq.VcpuExits} is recorded. One thread counts, and any thread may end the
 * counting.
 */
public final class ExitCounts {
    private final long vm;
    private final long vcpu;
    private final Runnable hook = this::record;
    /** Guarded by this. */
    private final Map<String, Long> counts = new TreeMap<>();

    private boolean ended;

    private volatile boolean hooked;

    public ExitCounts(long vm, long vcpu) {
        this.vm = vm;
        this.vcpu = vcpu;
    }

    public void count(Enum<?> reason) {
        if (Events.areOn(Events.Type.VCPU_EXITS)) {
            if (!hooked) {
                hooked = true;
                Events.Recorder.addHook(Events.Type.VCPU_EXITS, hook); // without holding our lock
            }
            if (add(reason.name())) { // the vCPU was closed during its last run
                Events.Recorder.removeHook(hook);
                record();
            }
        }
    }

    private synchronized boolean add(String reason) {
        counts.merge(reason, 1L, Long::sum);
        return ended;
    }

    private synchronized void record() {
        counts.forEach((reason, count) ->
                Events.Recorder.commit(Events.Recorder.begin(Events.Type.VCPU_EXITS), vm, vcpu, reason, count));
        counts.clear();
    }

    /** Records the remaining counts when the vCPU is closed. */
    public void end() {
        synchronized (this) {
            ended = true;
        }
        if (hooked) {
            Events.Recorder.removeHook(hook);
            record();
        }
    }
}
