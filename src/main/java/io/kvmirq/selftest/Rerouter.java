/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kvm.RouteTable;
import org.jspecify.annotations.Nullable;

/** A thread that switches the route of a GSI between two vectors until it is closed. */
final class Rerouter implements AutoCloseable {
    private final Thread thread;
    private volatile boolean stopping;
    private volatile long changes;
    private volatile @Nullable RuntimeException failure;

    Rerouter(RouteTable routes, Gsi gsi, VcpuId vcpu, InterruptVector one, InterruptVector other) {
        thread = new Thread(() -> work(routes, gsi, MsiMessage.to(vcpu, one), MsiMessage.to(vcpu, other)), "rerouter");
        thread.setDaemon(true);
        thread.start();
    }

    private void work(RouteTable routes, Gsi gsi, MsiMessage one, MsiMessage other) {
        try {
            for (long i = 1; !stopping; i++) {
                routes.replace(gsi, i % 2 == 0 ? one : other);
                changes = i;
            }
        } catch (RuntimeException e) {
            failure = e;
        }
    }

    void requireHealthy() {
        @Nullable RuntimeException e = failure;
        if (e != null) {
            throw new SelftestFailedException("changing the route failed: " + e.getMessage());
        }
    }

    /** The number of route changes so far. */
    long changes() {
        return changes;
    }

    /** Stops the thread and returns the number of route changes. */
    long end() {
        close();
        return changes;
    }

    /** Stops the thread. No route change follows. Idempotent. */
    @Override
    public void close() {
        stopping = true;
        try {
            thread.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
