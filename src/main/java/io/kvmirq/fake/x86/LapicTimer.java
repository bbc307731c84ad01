/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.fake.file.FakeTime;
import java.nio.ByteBuffer;

/**
 * The timer of a LAPIC as far as KVM_GET_LAPIC shows it; its interrupts are not modelled. Source: {@code
 * apic_update_lvtt()}, {@code start_apic_timer()} and {@code apic_get_tmcct()} in arch/x86/kvm/lapic.c.
 */
final class LapicTimer {
    private static final int PERIODIC = 1 << 17;
    private static final int DEADLINE = 2 << 17;
    /** The module parameter min_timer_period_us. */
    private static final long LEAST_PERIOD = 200_000;

    private final FakeTime time;
    private final ByteBuffer registers;
    /** The modes that the guest's CPUID offers, bits of the timer's entry in the local vector table. */
    private int offered;

    private int mode;
    /** Nanoseconds; 0 while the timer is off. */
    private long period;

    private long end;

    LapicTimer(FakeTime time, ByteBuffer registers) {
        this.time = time;
        this.registers = registers;
    }

    void offer(boolean deadline) {
        offered = deadline ? PERIODIC | DEADLINE : PERIODIC;
    }

    /** INIT. */
    void stop() {
        updateMode();
        period = 0;
    }

    /** After KVM_SET_LAPIC: it counts from the current count that was set. */
    void restart() {
        updateMode();
        int from = registers.getInt(LapicPage.CURRENT_COUNT_AT);
        registers.putInt(LapicPage.CURRENT_COUNT_AT, 0);
        if (mode == DEADLINE) {
            return;
        }
        period = nanos(registers.getInt(LapicPage.INITIAL_COUNT_AT));
        if (period > 0 && mode == PERIODIC) {
            period = Math.max(period, LEAST_PERIOD);
        }
        long left = Math.min(nanos(from), period);
        end = time.now() + (left == 0 && mode == PERIODIC ? period : left);
    }

    /** A change to the mode of the TSC deadline, or from it, ends the timer. */
    private void updateMode() {
        int next = registers.getInt(LapicPage.LVT_AT) & offered;
        if ((next == DEADLINE) != (mode == DEADLINE)) {
            registers.putInt(LapicPage.INITIAL_COUNT_AT, 0);
            period = 0;
        }
        mode = next;
    }

    private long nanos(int count) {
        return Integer.toUnsignedLong(count) << divider();
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
        return (int) (left % period >>> divider());
    }
}
