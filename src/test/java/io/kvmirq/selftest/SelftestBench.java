/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.testing.Numbers;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * The cost of a round trip of the edge scenario through Java, beside the same loop in C: in one process, on one VM and
 * on the same eventfds, in short batches that take turns. It fails if an interrupt is lost. {@code make bench T=selftest}
 * runs it.
 *
 * <p>The other half is {@code src/test/native/twin.c}, method for method.
 */
final class SelftestBench {
    private static final int INTERRUPT = 1;
    private static final int ROUNDS = 61;
    private static final int TRIPS = 500;
    private static final int WARM_UP_ROUNDS = 40;

    private final Guest guest;
    private final Device device;
    private final int interrupt;
    private final int answer;
    private final int wake;
    private final ByteBuffer nanos =
            ByteBuffer.allocateDirect(TRIPS * Long.BYTES).order(ByteOrder.nativeOrder());
    private long answeredInC;

    private SelftestBench(Guest guest, EventFd interrupt, EventFd answer, EventFd wake) {
        this.guest = guest;
        this.device = new Device(interrupt, answer, Patience.USUAL);
        this.interrupt = Numbers.of(interrupt.fd());
        this.answer = Numbers.of(answer.fd());
        this.wake = Numbers.of(wake.fd());
    }

    private static native long waitInC(int interrupt, int answer, int wake, ByteBuffer nanos, int count);

    private static native long blockInC(int interrupt, int answer, int wake, ByteBuffer nanos, int count);

    /** @param arguments the absolute path of the twin, built as a library */
    public static void main(String[] arguments) {
        Bench.endWithAnyThread();
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.open("jni");
                Guest guest = new Guest(kernel, Irqchip.FULL)) {
            Gsi gsi = guest.route(INTERRUPT);
            try (EventFd interrupt = EventFd.create(kernel);
                    EventFd answer = EventFd.create(kernel);
                    EventFd wake = EventFd.create(kernel);
                    Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                    IoEventFd ioEventFd =
                            guest.vm().assignIoEventFd(IoAddress.port(GuestCode.PORT_ANSWER, 1), answer)) {
                guest.boot();
                guest.release();
                new SelftestBench(guest, irqfd.event(), ioEventFd.event(), wake).run();
            }
        }
    }

    private void run() {
        String ours = "round trip through a guest / C, ";
        new Bench("selftest")
                .measure(
                        WARM_UP_ROUNDS,
                        ROUNDS,
                        List.of(
                                new Row(
                                        ours + "poll and read",
                                        1.03,
                                        this::inJava,
                                        () -> ofTwin(waitInC(interrupt, answer, wake, nanos, TRIPS))),
                                new Row(
                                        ours + "blocking read",
                                        Double.NaN,
                                        this::inJava,
                                        () -> ofTwin(blockInC(interrupt, answer, wake, nanos, TRIPS)))));
        requireNothingLost();
    }

    private long inJava() {
        RoundTrips tally = new RoundTrips();
        flow(tally);
        return median(tally);
    }

    /** As {@link Scenarios} has it. */
    private void flow(RoundTrips tally) {
        for (int i = 0; i < TRIPS; i++) {
            long start = System.nanoTime();
            if (!device.roundTrip()) {
                break;
            }
            tally.time(System.nanoTime() - start);
        }
    }

    private long ofTwin(long answered) {
        if (answered != TRIPS) {
            throw new SelftestFailedException("the twin returned " + answered + ", expected " + TRIPS + " answers");
        }
        answeredInC += answered;
        RoundTrips tally = new RoundTrips();
        for (int i = 0; i < TRIPS; i++) {
            tally.time(nanos.getLong(i * Long.BYTES));
        }
        return median(tally);
    }

    private static long median(RoundTrips tally) {
        return tally.latency().orElseThrow().p50();
    }

    private void requireNothingLost() {
        guest.requireAlive();
        long sent = device.sent() + answeredInC;
        int handled = guest.handled(INTERRUPT);
        if (device.answered() != device.sent() || handled != sent) {
            throw new SelftestFailedException(
                    "sent " + sent + ", of these " + device.sent() + " from Java, which heard " + device.answered()
                            + " answers; the guest's handler ran " + handled + " times");
        }
    }
}
