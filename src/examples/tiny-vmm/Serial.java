/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.IntConsumer;

/**
 * A serial port, a 16550A, as far as Linux's driver 8250 asks. Its transmitter is always empty. Its interrupt line is
 * high while the register IIR names a reason; each rise interrupts the guest.
 */
final class Serial {
    static final int PORTS = 8;
    private static final int DATA = 0, IER = 1, IIR = 2, LCR = 3, LSR = 5, MSR = 6;
    // Bits of IER, and reasons in IIR
    private static final int ON_DATA = 1, ON_EMPTY = 2;
    private static final int NO_REASON = 1, EMPTY = 2, DATA_IS_THERE = 4, HAS_FIFO = 0xc0;
    // LCR: the first two registers are the divisor of the clock. LSR: empty, twice. MSR: the other side is ready
    private static final int DIVISOR = 0x80, CAN_SEND = 0x60, CONNECTED = 0xb0;

    private final Runnable interrupt;
    private final IntConsumer wire;
    private final boolean tellsEmpty;
    private final int[] registers = new int[PORTS];
    private final Deque<Integer> received = new ArrayDeque<>();
    private final Semaphore handled = new Semaphore(0);
    private boolean empty, line;

    /** @param tellsEmpty whether an empty transmitter is a reason; Linux notices if it is not, and does without */
    Serial(Runnable interrupt, IntConsumer wire, boolean tellsEmpty) {
        this.interrupt = interrupt;
        this.wire = wire;
        this.tellsEmpty = tellsEmpty;
    }

    synchronized int read(int register) {
        int value =
                switch (register) {
                    case DATA -> isDivisor(DATA) || received.isEmpty() ? 0 : received.remove();
                    case IIR -> identify();
                    case LSR -> CAN_SEND | (received.isEmpty() ? 0 : 1);
                    case MSR -> CONNECTED;
                    default -> isDivisor(register) ? 0 : registers[register];
                };
        drive();
        return value;
    }

    private boolean isDivisor(int register) {
        return register <= IER && (registers[LCR] & DIVISOR) != 0;
    }

    private int identify() {
        int reason = reason();
        empty &= reason != EMPTY; // to read this reason is to acknowledge it
        handled.release(reason == NO_REASON ? 1 : 0);
        return HAS_FIFO | reason;
    }

    private int reason() {
        boolean data = (registers[IER] & ON_DATA) != 0 && !received.isEmpty();
        return data ? DATA_IS_THERE : (registers[IER] & ON_EMPTY) != 0 && empty ? EMPTY : NO_REASON;
    }

    synchronized void write(int register, int value) {
        if (!isDivisor(register)) {
            registers[register] = value;
            empty |= tellsEmpty && register <= IER;
            if (register == DATA) {
                wire.accept(value);
            }
        }
        drive();
    }

    synchronized void receive(int value) {
        received.add(value);
        handled.drainPermits();
        drive();
    }

    private void drive() {
        boolean high = reason() != NO_REASON;
        if (high && !line) {
            interrupt.run();
        }
        line = high;
    }

    /** Waits until the guest's handler has found no reason any more, so that the next rise is another interrupt. */
    boolean awaitHandler(Duration longest) throws InterruptedException {
        return handled.tryAcquire(longest.toMillis(), TimeUnit.MILLISECONDS);
    }
}
