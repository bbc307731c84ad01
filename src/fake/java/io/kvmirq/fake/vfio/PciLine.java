/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.LineController;
import io.kvmirq.arch.intx.model.PhysicalLine;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import java.time.Duration;

/**
 * A host interrupt line, which PCI devices and host drivers may share. The caller of each method holds the kernel's
 * lock.
 */
final class PciLine {
    /** POLL_SPURIOUS_IRQ_INTERVAL of kernel/irq/spurious.c. */
    private static final Duration POLL_INTERVAL = Duration.ofMillis(100);

    private final KernelOfFile host;
    private final PhysicalLine physical;
    private final int irq;
    private final int physicalId;
    private int drivers;
    private long count;
    private boolean polled;

    PciLine(KernelOfFile host, LineController controller, int irq, int physicalId) {
        this.host = host;
        this.physical = new PhysicalLine(controller);
        this.irq = irq;
        this.physicalId = physicalId;
    }

    PhysicalLine physical() {
        return physical;
    }

    int irq() {
        return irq;
    }

    int physicalId() {
        return physicalId;
    }

    int drivers() {
        return drivers;
    }

    /** The number of interrupts of the line that CPUs have taken. */
    long count() {
        return count;
    }

    /** Adds a host driver whose device never interrupts; IllegalStateException if the line cannot be shared. */
    void addDriver() {
        if (!physical.request(physical.add(() -> PhysicalLine.Taken.NONE), true, true)) {
            throw new IllegalStateException("a device has interrupt line " + irq
                    + " for itself: add the driver of the host before that device is armed");
        }
        drivers++;
    }

    /** Lets CPUs take the line's interrupts until it is deasserted, or disabled because no handler claims them. */
    void settle() {
        host.work().begin();
        try {
            while (physical.take()) {
                count++;
            }
        } finally {
            host.work().end();
        }
        if (physical.isStuck() && !polled) {
            polled = true;
            host.time().after(POLL_INTERVAL, this::poll);
        }
    }

    /** The timer of lines disabled because no handler claims their interrupts ({@code poll_spurious_irqs}). */
    private void poll() {
        polled = false;
        host.work().begin();
        boolean polls;
        try {
            polls = physical.poll();
        } finally {
            host.work().end();
        }
        if (polls) {
            host.note(VfioIrqAnswer.HOST_LINE_POLLED);
            polled = true;
            host.time().after(POLL_INTERVAL, this::poll);
        }
    }
}
