/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Host;
import java.time.Duration;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Channel 0 of a VM's timer (PIT), which pulses GSI 0. A reinjected tick waits for the end of the previous one. Source:
 * {@code pit_timer_fn()}, {@code pit_do_work()} and {@code kvm_pit_ack_irq()} in arch/x86/kvm/i8254.c.
 */
final class PitTimer {
    static final int GSI = 0;
    private static final long FREQUENCY = 1_193_182;
    private static final long SECOND_NANOS = 1_000_000_000;
    /** The module parameter min_timer_period_us. */
    private static final long LEAST_PERIOD = 200_000;

    private final Host host;
    private final Runnable pulseLine;
    private final Consumer<Boolean> whenReinjecting;
    private final PitChannels channels;
    private final FakeTime time;
    private boolean reinjects;
    /** The ticks that the guest has not ended. */
    private long pending;
    /** Whether the guest has ended the last tick. */
    private boolean ended = true;

    private long period;
    private boolean periodic;
    private long end;
    private FakeTime.@Nullable Timer armed;

    /** Makes a timer. {@code ticks}: the VM has a full irqchip. {@code pulseLine} pulses the pins of {@link #GSI}. */
    PitTimer(Host host, BooleanSupplier ticks, Runnable pulseLine, Consumer<Boolean> whenReinjecting) {
        this.host = host;
        this.pulseLine = pulseLine;
        this.whenReinjecting = whenReinjecting;
        this.time = host.time();
        this.channels = new PitChannels(time, ticks, this);
    }

    /** KVM_CREATE_PIT2. */
    void create() {
        channels.reset();
        setReinjecting(true);
    }

    PitChannels channels() {
        return channels;
    }

    /** KVM_REINJECT_CONTROL: sets whether missed ticks are injected later. */
    void setReinjecting(boolean on) {
        if (on != reinjects) {
            forget();
            reinjects = on;
            whenReinjecting.accept(on);
        }
    }

    boolean awaits(int gsi) {
        return reinjects && gsi == GSI;
    }

    /** Forgets missed ticks, because the guest unmasked the pin or loaded a count. */
    void forget() {
        pending = 0;
        ended = true;
    }

    void stop() {
        if (armed != null) {
            time.cancel(armed);
        }
        armed = null;
    }

    /** Starts the timer with a count that is not 0. */
    void start(int count, boolean again) {
        stop();
        forget();
        long nanos = Integer.toUnsignedLong(count) * SECOND_NANOS / FREQUENCY;
        periodic = again;
        period = again ? Math.max(nanos, LEAST_PERIOD) : nanos;
        end = time.now() + nanos;
        arm();
    }

    private void arm() {
        armed = time.after(Duration.ofNanos(Math.max(end - time.now(), 0)), this::tick);
    }

    private void tick() {
        host.note(VmAnswer.PIT_TICKS);
        armed = null;
        long ticks = 1;
        if (periodic) {
            ticks += (time.now() - end) / period;
            end += ticks * period;
            arm();
        }
        pending += reinjects ? ticks : 0;
        pulse();
    }

    private void pulse() {
        if (reinjects && !ended) {
            return;
        }
        ended = !reinjects;
        pulseLine.run();
    }

    /** The guest ended an interrupt of the timer's GSI. */
    void acknowledge() {
        ended = true;
        pending = Math.max(pending - 1, 0);
        if (pending > 0) {
            pulse();
        }
    }
}
