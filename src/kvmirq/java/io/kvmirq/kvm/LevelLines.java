/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.explain.Condition;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A VM's level-triggered irqfds, by GSI. On arm64, a GSI's line is lowered before its last irqfd is deassigned, because
 * the kernel first removes the EOI notifier, then waits for SRCU readers, and only then lowers the line. Until then, a
 * high line keeps interrupting the guest, every 40 us in the lab. Thread-safe.
 */
final class LevelLines {
    private final VmCalls vm;
    private final RouteTable table;

    /** Makes counting a GSI's irqfds and lowering its line one atomic step. */
    private final ReentrantLock lock = new ReentrantLock();

    LevelLines(VmCalls vm, RouteTable table) {
        this.vm = vm;
        this.table = table;
    }

    /**
     * Whether this class lowers lines. It does not on x86, where no call can, because irqfds have their own source id
     * on a pin, nor in an adopted VM, which may have irqfds that are not counted here.
     */
    boolean areLowered() {
        return vm.has(Condition.OWN) && vm.isArm64();
    }

    /** Counts an irqfd before its assign, so that closing another irqfd does not lower the line that it raises. */
    void enter(Gsi gsi) {
        lock.lock();
        try {
            table.live(gsi, 1);
        } finally {
            lock.unlock();
        }
    }

    /** Removes an irqfd from the count before its deassign. Returns whether the line was lowered. */
    boolean leave(Gsi gsi) {
        lock.lock();
        try {
            return table.live(gsi, -1) == 0 && lower(gsi);
        } finally {
            lock.unlock();
        }
    }

    private boolean lower(Gsi gsi) {
        List<Route> routes = areLowered() ? table.of(gsi) : List.of();
        return routes.size() == 1
                && routes.get(0) instanceof Route.Pin pin
                && vm.backend().lineSet(VmCalls.number(vm.vm()), Arm64Vm.word(Spi.FIRST + pin.pin()), 0) >= 0;
    }
}
