/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Mirror;
import java.util.function.Supplier;

/** The VM of the self-test of forwarding, whose guest takes interrupts and answers, for other tests. */
public final class AnsweringVm implements AutoCloseable {
    private final ForwardTarget target;

    public AnsweringVm(Kernel kernel, Supplier<Mirror> mirror) {
        target = ForwardTarget.create(kernel, mirror, Patience.USUAL);
    }

    public Vm vm() {
        return target.vm();
    }

    public Mirror mirror() {
        return target.mirror();
    }

    /** The message of an interrupt, which the guest handles from now on. */
    public MsiMessage message(int interrupt) {
        return target.message(interrupt);
    }

    public void start() {
        target.start();
    }

    /** Runs {@code trigger}. @return how often the guest has taken the interrupt since, 0 if not within some seconds */
    public long taken(int interrupt, Runnable trigger) {
        return target.arrivals(interrupt, trigger);
    }

    @Override
    public void close() {
        target.close();
    }
}
