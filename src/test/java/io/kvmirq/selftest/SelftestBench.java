/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.IoAddress;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.testing.Numbers;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;

/**
 * The cost of a round trip of the edge scenario through Java, beside the same in C or by rust-vmm's vmm-sys-util: in one
 * process, on one VM and on the same eventfds. It fails if an interrupt is lost. {@code make bench T="selftest peer"}
 * runs it.
 *
 * <p>The other half is {@code src/test/native/twin.c} or {@code src/test/rust/peer.rs}.
 */
@BenchmarkMode(Mode.SampleTime)
public class SelftestBench {
    private static final int INTERRUPT = 1;

    @SuppressWarnings("NullAway.Init")
    private static Device device;

    private static int interrupt;
    private static int answer;
    private static int wake;
    private static long epoll;
    private static long foreignTrips;

    private static native int tripInC(int interrupt, int answer, int wake);

    private static native long openInRust(int answer);

    private static native int tripInRust(long epoll, int interrupt, int answer);

    /** @param arguments the absolute path of the other half, and the name in {@code make bench T=} */
    public static void main(String[] arguments) {
        Bench.endWithAnyThread();
        System.load(arguments[0]);
        boolean isPeer = arguments[1].equals("peer");
        try (Kernel kernel = Kernel.open("jni");
                Guest guest = new Guest(kernel, Irqchip.FULL);
                EventFd interruptFd = EventFd.create(kernel);
                EventFd answerFd = EventFd.create(kernel);
                EventFd wakeFd = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interruptFd, guest.route(INTERRUPT));
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(IoAddress.port(GuestCode.PORT_ANSWER, 1), answerFd)) {
            guest.boot();
            guest.release();
            device = new Device(irqfd.event(), ioEventFd.event(), Patience.USUAL);
            interrupt = Numbers.of(interruptFd.fd());
            answer = Numbers.of(answerFd.fd());
            wake = Numbers.of(wakeFd.fd());
            epoll = isPeer ? openInRust(answer) : 0;
            Row row = isPeer
                    ? new Row(
                            "objects / vmm-sys-util: irqfd to guest to ioeventfd and back", 1.03, "trip", "tripInRust")
                    : new Row("round trip through a guest / C, poll and read", 1.03, "trip", "tripInC");
            Bench bench = new Bench(arguments[1], SelftestBench.class);
            bench.warm(1000, List.of(row));
            bench.measure(201, List.of(row));
            guest.requireAlive();
            long sent = device.sent() + foreignTrips;
            int handled = guest.handled(INTERRUPT);
            if (device.answered() != device.sent() || handled != sent) {
                throw new SelftestFailedException(
                        "sent " + sent + ", of these " + device.sent() + " from Java, which heard " + device.answered()
                                + " answers; the guest's handler ran " + handled + " times");
            }
        }
    }

    @Benchmark
    public void trip() {
        requireAnswer(device.roundTrip() ? 1 : 0);
    }

    @Benchmark
    public void tripInC() {
        requireAnswer(tripInC(interrupt, answer, wake));
        foreignTrips++;
    }

    @Benchmark
    public void tripInRust() {
        requireAnswer(tripInRust(epoll, interrupt, answer));
        foreignTrips++;
    }

    private static void requireAnswer(int answered) {
        if (answered != 1) {
            throw new SelftestFailedException("expected an answer, not " + answered);
        }
    }
}
