/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.arch.intx.model.PinSources;
import io.kvmirq.arch.intx.model.Signal;
import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.fake.file.Bypass;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.EventWaiter;
import io.kvmirq.fake.file.MessageHostIrq;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** An irqfd: an eventfd that raises a GSI. Source: virt/kvm/eventfd.c. */
public final class FakeIrqfd implements EventWaiter, Signal, Bypass.Consumer {
    private final VmInterrupts vm;
    private final EventFile event;
    private final int gsi;
    private final Optional<EventFile> resample;
    private Optional<MessageHostIrq> producer = Optional.empty();
    /** The message of the GSI, as {@code irqfd_update()} caches it. */
    private @Nullable Object message;

    FakeIrqfd(VmInterrupts vm, EventFile event, int gsi, Optional<EventFile> resample) {
        this.vm = vm;
        this.event = event;
        this.gsi = gsi;
        this.resample = resample;
    }

    public int gsi() {
        return gsi;
    }

    /** Returns the MSI message of the irqfd's GSI if a message is the GSI's only target, else null. */
    public @Nullable Object message() {
        return message;
    }

    /** @return whether the route changed */
    boolean route(@Nullable Object to) {
        boolean changes = !Objects.equals(message, to);
        message = to;
        return changes;
    }

    boolean isOf(VmInterrupts other) {
        return vm == other;
    }

    public EventFile event() {
        return event;
    }

    Optional<EventFile> resample() {
        return resample;
    }

    public Optional<MessageHostIrq> producer() {
        return producer;
    }

    @Override
    public boolean connect(MessageHostIrq connected) {
        producer = Optional.of(connected);
        boolean done = vm.connected(this, connected);
        if (!done) {
            producer = Optional.empty();
        }
        return done;
    }

    @Override
    public void disconnect(MessageHostIrq connected) {
        vm.disconnected(this, connected);
        producer = Optional.empty();
    }

    /** Injects the interrupt at once if the GSI's target allows that, else through a worker. */
    @Override
    public void raise() {
        if (!vm.driveAtOnce(this)) {
            vm.host().work().inject(this);
        }
    }

    @Override
    public void raiseLate() {
        vm.host().work().inject(this);
    }

    @Override
    public void inject() {
        if (resample.isPresent()) {
            vm.note(IrqfdAnswer.RESAMPLE_SOURCE);
            vm.resampler(gsi).raise();
        } else {
            vm.drive(gsi, PinSources.USERSPACE, true);
            vm.drive(gsi, PinSources.USERSPACE, false);
        }
    }

    /** Signals the resamplefd at the guest's EOI, after KVM has lowered the line. */
    @Override
    public void signal() {
        resample.ifPresent(notified -> notified.signal(1));
    }

    @Override
    public void shutDown() {
        event.remove(this);
        vm.host().work().finishInjection(this);
        vm.forget(this);
        event.bypass().remove(this);
    }
}
