/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.arm64.ArmGuest;
import io.kvmirq.fake.file.FakeTime;
import java.util.function.Supplier;

/**
 * A vCPU of a fake kernel on arm64. No code of a guest runs: the methods do what a guest does with its interrupts.
 * Thread-safe.
 */
public final class FakeArmVcpu {
    private final FakeTime time;
    private final ArmGuest guest;

    FakeArmVcpu(FakeTime time, ArmGuest guest) {
        this.time = time;
        this.guest = guest;
    }

    private <T> T act(Supplier<T> action) {
        time.enter();
        try (time) {
            T result = action.get();
            time.changed();
            return result;
        }
    }

    /**
     * The guest reads IAR: it takes the pending interrupt with the highest priority.
     *
     * @return its INTID; 1023 if none is pending
     */
    public int acknowledge() {
        return act(guest::acknowledge);
    }

    /**
     * The guest writes EOIR: it ends an interrupt that it took. The end of a level-triggered SPI signals the resamplefds of
     * its GSI. The end of one with HW set deactivates the interrupt of the host.
     *
     * @return whether the interrupt was active
     */
    public boolean end(int id) {
        return act(() -> guest.end(id));
    }

    /** The list register that holds an SPI, in the format of {@code gic.lr}; 0 if none does. */
    public long listRegister(int id) {
        return act(() -> guest.listRegister(id));
    }
}
