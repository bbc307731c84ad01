/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.fake.file.FakeTime;
import java.nio.ByteBuffer;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * A LAPIC's timer: one-shot, periodic, or by a deadline of the TSC. Source: {@code apic_update_lvtt()}, {@code
 * start_apic_timer()}, {@code apic_timer_fn()}, {@code apic_get_tmcct()} and {@code kvm_set_lapic_tscdeadline_msr()} in
 * arch/x86/kvm/lapic.c.
 */
final class LapicTimer {
    private static final int ONE_SHOT = 0;
    private static final int PERIODIC = 1 << 17;
    private static final int DEADLINE = 2 << 17;
    /** Writable fields of the timer's LVT entry, besides the mode: vector, delivery status and mask. */
    private static final int ENTRY = 0x110ff;

    private static final int DIVIDER = 0xb;
    /** The module parameter min_timer_period_us. */
    private static final long LEAST_PERIOD = 200_000;
    /** The longest period that ends; a longer one never does. */
    private static final long LONGEST_NANOS = Long.MAX_VALUE / 4;

    private final X86Vm vm;
    private final FakeLapic lapic;
    private final FakeTime time;
    private final TimeStampCounter tsc;
    private final ByteBuffer registers;
    /** The modes that the guest's CPUID offers, bits of the timer's entry in the local vector table. */
    private int offered;

    private int mode;
    /** The period in nanoseconds; 0 while the timer is off. */
    private long period;

    private long end;
    /** The TSC deadline; 0 for none. */
    private long deadline;
    /** The timer event at the end of the period; null for none. */
    private FakeTime.@Nullable Timer armed;
    /** Whether the timer has expired and the vCPU has not taken that. Then a periodic timer continues. */
    private boolean pending;

    LapicTimer(X86Vm vm, FakeLapic lapic, ByteBuffer registers) {
        this.vm = vm;
        this.lapic = lapic;
        this.time = vm.host().time();
        this.tsc = new TimeStampCounter(vm.host(), vm.settings());
        this.registers = registers;
    }

    TimeStampCounter tsc() {
        return tsc;
    }

    void offer(boolean withDeadline) {
        offered = withDeadline ? PERIODIC | DEADLINE : PERIODIC;
    }

    /** INIT. */
    void stop() {
        cancel();
        updateMode();
        period = 0;
    }

    /** Cancels the timer event. */
    void cancel() {
        if (armed != null) {
            time.cancel(armed);
        }
        armed = null;
        pending = false;
    }

    /** Restarts after KVM_SET_LAPIC, from the current count that was set. */
    void restart() {
        cancel();
        updateMode();
        int from = registers.getInt(LapicPage.CURRENT_COUNT_AT);
        registers.putInt(LapicPage.CURRENT_COUNT_AT, 0);
        start(from);
    }

    private void start(int from) {
        if (mode == DEADLINE) {
            awaitDeadline();
        }
        if (mode != ONE_SHOT && mode != PERIODIC) {
            return;
        }
        period = nanos(registers.getInt(LapicPage.INITIAL_COUNT_AT));
        limitPeriod();
        long left = Math.min(nanos(from), period);
        end = time.now() + (left == 0 && mode == PERIODIC ? period : left);
        if (period > 0) {
            arm();
        }
    }

    private void arm() {
        long left = end - time.now();
        if (left > 0) {
            armed = time.after(Duration.ofNanos(left), this::expire);
        } else {
            expire();
        }
    }

    private void awaitDeadline() {
        long left = deadline == 0 ? 0 : tsc.nanosUntil(deadline);
        if (left != 0) {
            armed = time.after(
                    Duration.ofNanos(left < 0 ? LONGEST_NANOS : Math.min(left, LONGEST_NANOS)), this::expire);
        } else if (deadline != 0) {
            expire();
        }
    }

    private void expire() {
        armed = null;
        pending = true;
        lapic.wake();
    }

    /** Delivers the interrupt to the running vCPU, once for several expiries of a periodic timer. */
    void deliver() {
        if (pending) {
            deliver(registers.getInt(LapicPage.LVT_AT));
        }
    }

    private void deliver(int entry) {
        if (!lapic.isPresent() || !lapic.enabled() || LapicPage.LVT_MASKED.isSet(entry)) {
            return;
        }
        vm.note(ChipAnswer.LAPIC_TIMER);
        pending = false;
        deadline = 0;
        if (mode == PERIODIC && period > 0) {
            end += ((time.now() - end) / period + 1) * period;
            arm();
        }
        lapic.deliverLocal(entry);
    }

    // Writes of a guest

    void writeEntry(int value) {
        int masked = lapic.enabled() ? 0 : (int) LapicPage.LVT_MASKED.mask();
        registers.putInt(LapicPage.LVT_AT, (value | masked) & (ENTRY | offered));
        updateMode();
    }

    void writeInitialCount(int value) {
        if (mode != DEADLINE) {
            cancel();
            registers.putInt(LapicPage.INITIAL_COUNT_AT, value);
            start(value);
        }
    }

    /** A write of MSR 0x6e0, also by the VMM. Other timer modes ignore it. */
    void writeDeadline(long value) {
        if (lapic.isPresent() && mode == DEADLINE) {
            vm.note(ChipAnswer.LAPIC_DEADLINE);
            cancel();
            deadline = value;
            awaitDeadline();
        }
    }

    long deadline() {
        return lapic.isPresent() && mode == DEADLINE ? deadline : 0;
    }

    void writeDivider(int value) {
        boolean other = (value & DIVIDER) != registers.getInt(LapicPage.DIVIDER_AT);
        if (other && registers.getInt(LapicPage.INITIAL_COUNT_AT) != 0) {
            throw new NotModelledException("a guest that divides the clock of a timer that counts");
        }
        registers.putInt(LapicPage.DIVIDER_AT, value & DIVIDER);
    }

    /** Sets the mode. A change to or from TSC-deadline mode stops the timer. */
    private void updateMode() {
        int next = registers.getInt(LapicPage.LVT_AT) & offered;
        if ((next == DEADLINE) != (mode == DEADLINE)) {
            cancel();
            registers.putInt(LapicPage.INITIAL_COUNT_AT, 0);
            period = 0;
            deadline = 0;
        }
        mode = next;
        limitPeriod();
    }

    private void limitPeriod() {
        if (period > 0 && mode == PERIODIC) {
            period = Math.max(period, LEAST_PERIOD);
        }
    }

    private long nanos(int count) {
        long cycles = Integer.toUnsignedLong(count) << divider();
        long cycle = vm.settings().busCycle();
        return cycles > LONGEST_NANOS / cycle ? LONGEST_NANOS : cycles * cycle;
    }

    /** The binary logarithm of the divider. */
    private int divider() {
        int register = registers.getInt(LapicPage.DIVIDER_AT);
        return (register & 3 | (register & 8) >> 1) + 1 & 7;
    }

    int currentCount() {
        if (registers.getInt(LapicPage.INITIAL_COUNT_AT) == 0 || period == 0) {
            return 0;
        }
        long left = end - time.now();
        if (left < 0) {
            left = mode == PERIODIC ? Math.floorMod(left, period) : 0;
        }
        return (int) (left % period / vm.settings().busCycle() >>> divider());
    }
}
