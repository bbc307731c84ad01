/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import com.sun.management.ThreadMXBean;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToLongFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The cost of a round trip of the edge scenario through Java, beside the same loop in C: in one process, on one VM and
 * on the same eventfds, in short batches that take turns. It reports and asserts no time; {@code
 * scripts/bench-selftest} runs it.
 *
 * <p>The other half is {@code src/test/native/twin.c}, method for method.
 */
final class SelftestBench {
    private static final InterruptVector VECTOR = new InterruptVector(0x31);
    private static final int ROUNDS = 41;
    private static final int TRIPS = 500;
    private static final int WARM_UP_ROUNDS = 40;
    private static final int SIDES = 3;
    private static final int COUNTED_TRIPS = 10_000;
    /** A C side that varies more than this among rounds says that something else ran here. */
    private static final double CALM = 1.5;

    private static final Pattern FD_NUMBER = Pattern.compile("\\(fd (\\d+)\\)");

    private final PrintStream out;
    private final Guest guest;
    private final Device device;
    private final int interrupt;
    private final int answer;
    private final int wake;
    private final ByteBuffer nanos =
            ByteBuffer.allocateDirect(TRIPS * Long.BYTES).order(ByteOrder.nativeOrder());
    private long answeredInC;

    /** Medians of one batch each, in nanoseconds. */
    private record Round(long java, long c, long cBlocking) {
        double javaToC() {
            return (double) java / c;
        }
    }

    private SelftestBench(PrintStream out, Guest guest, EventFd interrupt, EventFd answer, EventFd wake) {
        this.out = out;
        this.guest = guest;
        this.device = new Device(interrupt, answer, Patience.USUAL);
        this.interrupt = numberOf(interrupt);
        this.answer = numberOf(answer);
        this.wake = numberOf(wake);
    }

    private static native long waitInC(int interrupt, int answer, int wake, ByteBuffer nanos, int count);

    private static native long blockInC(int interrupt, int answer, int wake, ByteBuffer nanos, int count);

    /** @param arguments the absolute path of the twin, built as a library */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        PrintStream out = System.out;
        try (Kernel kernel = Kernel.open("jni");
                Guest guest = new Guest(kernel, Irqchip.FULL)) {
            Gsi gsi = guest.route(VECTOR);
            try (EventFd interrupt = EventFd.create(kernel);
                    EventFd answer = EventFd.create(kernel);
                    EventFd wake = EventFd.create(kernel);
                    Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                    IoEventFd ioEventFd =
                            guest.vm().assignIoEventFd(IoAddress.port(GuestCode.PORT_ANSWER, 1), answer)) {
                out.println("edge, " + irqfd + ", " + ioEventFd.address() + ", " + Runtime.version());
                guest.boot();
                guest.release();
                new SelftestBench(out, guest, interrupt, answer, wake).run();
            }
        }
    }

    private void run() {
        out.printf(
                Locale.ROOT, "first %d round trips, nothing compiled: Java %d ns, C %d ns%n", TRIPS, inJava(), inC());
        for (int i = 0; i < WARM_UP_ROUNDS; i++) {
            round(i);
        }
        if (measure() > CALM) {
            out.println("not calm: once more");
            measure();
        }
        out.printf(Locale.ROOT, "allocated by %d round trips in Java: %d bytes%n", COUNTED_TRIPS, allocated());
        requireNothingLost();
    }

    private double measure() {
        List<Round> rounds = new ArrayList<>();
        for (int i = 0; i < ROUNDS; i++) {
            rounds.add(round(i));
        }
        return report(rounds);
    }

    /** @return p90/p10 of the rounds in C */
    private double report(List<Round> rounds) {
        out.printf(Locale.ROOT, "%d rounds of %d round trips, medians in ns%n", ROUNDS, TRIPS);
        out.printf(Locale.ROOT, "%-8s%10s%10s%10s%14s%n", "round", "Java", "C", "Java/C", "C, blocking");
        for (int i = 0; i < ROUNDS; i++) {
            row(Integer.toString(i + 1), rounds.get(i));
        }
        Round low = percentile(rounds, 10);
        Round median = percentile(rounds, 50);
        Round high = percentile(rounds, 90);
        row("p10", low);
        row("median", median);
        row("p90", high);
        double spread = (double) high.c() / low.c();
        double[] ratios = rounds.stream().mapToDouble(Round::javaToC).sorted().toArray();
        out.printf(
                Locale.ROOT,
                "Java/C: %.3f median to median, %.3f median of the rounds, %.3f p10 to p10; C's p90/p10 %.2f%n",
                median.javaToC(),
                ratios[rank(50)],
                low.javaToC(),
                spread);
        return spread;
    }

    private void row(String name, Round round) {
        out.printf(
                Locale.ROOT,
                "%-8s%10d%10d%10.3f%14d%n",
                name,
                round.java(),
                round.c(),
                round.javaToC(),
                round.cBlocking());
    }

    /** Of each side on its own. */
    private static Round percentile(List<Round> rounds, int percentile) {
        return new Round(
                percentile(rounds, Round::java, percentile),
                percentile(rounds, Round::c, percentile),
                percentile(rounds, Round::cBlocking, percentile));
    }

    private static long percentile(List<Round> rounds, ToLongFunction<Round> side, int percentile) {
        return rounds.stream().mapToLong(side).sorted().toArray()[rank(percentile)];
    }

    private static int rank(int percentile) {
        return (ROUNDS - 1) * percentile / 100;
    }

    /** One batch of each side; who comes first changes from round to round. */
    private Round round(int turn) {
        long java = 0;
        long c = 0;
        long cBlocking = 0;
        for (int i = 0; i < SIDES; i++) {
            switch ((turn + i) % SIDES) {
                case 0 -> java = inJava();
                case 1 -> c = inC();
                default -> cBlocking = inCBlocking();
            }
        }
        return new Round(java, c, cBlocking);
    }

    private long inJava() {
        Tally tally = new Tally();
        flow(tally);
        return median(tally);
    }

    private long inC() {
        return ofTwin(waitInC(interrupt, answer, wake, nanos, TRIPS));
    }

    private long inCBlocking() {
        return ofTwin(blockInC(interrupt, answer, wake, nanos, TRIPS));
    }

    /** As {@link Scenarios} has it. */
    private void flow(Tally tally) {
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
        Tally tally = new Tally();
        for (int i = 0; i < TRIPS; i++) {
            tally.time(nanos.getLong(i * Long.BYTES));
        }
        return median(tally);
    }

    private static long median(Tally tally) {
        return tally.latency().orElseThrow().p50();
    }

    private long allocated() {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < COUNTED_TRIPS; i++) {
            device.roundTrip();
        }
        return threads.getCurrentThreadAllocatedBytes() - before;
    }

    private void requireNothingLost() {
        guest.requireAlive();
        long sent = device.sent() + answeredInC;
        int handled = guest.handled(VECTOR);
        if (device.answered() != device.sent() || handled != sent) {
            throw new SelftestFailedException(
                    "sent " + sent + ", of these " + device.sent() + " from Java, which heard " + device.answered()
                            + " answers; the guest's handler ran " + handled + " times");
        }
        out.println(sent + " sent, " + handled + " handled");
    }

    private static int numberOf(EventFd event) {
        Matcher number = FD_NUMBER.matcher(event.fd().toString());
        if (!number.find()) {
            throw new IllegalStateException("no number in " + event);
        }
        return Integer.parseInt(number.group(1));
    }
}
