/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kvm.RoutesNow;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@RealKvm
class EventFdTest {
    private static final int NOT_OPEN = 1_000_000;
    private final Kernel kernel = Kernel.open();
    private long fdsBefore;

    @BeforeEach
    void count() {
        fdsBefore = Machine.openFds();
    }

    @AfterEach
    void nothingLeaks() {
        assertThat(Machine.openFds()).isEqualTo(fdsBefore);
        kernel.close();
    }

    @Test
    void drainGivesTheCountBesideTheResult() {
        try (EventFd event = EventFd.create(kernel)) {
            assertThat(event.drain()).isZero();
            event.signal(-2);
            assertThat(event.drain()).isEqualTo(-2);
            event.signal();
            event.signal(2);
            assertThat(event.drain()).isEqualTo(3);
        }
    }

    /** More than any process may have open: refused before objects for them are made. */
    @Test
    void moreThanTheLimitOfDescriptorsAreRefusedAtOnce() {
        try (Kernel withoutProc = new FakeKernel(Profile.parse("6.12")).open()) {
            for (Kernel each : List.of(kernel, withoutProc)) {
                assertThatThrownBy(() -> EventFd.createAll(each, Integer.MAX_VALUE))
                        .isInstanceOfSatisfying(KernelException.class, refusal -> assertThat(refusal.errno())
                                .isEqualTo(Errno.EMFILE))
                        .hasMessageContaining("1 of 2147483647")
                        .hasMessageContaining("RLIMIT_NOFILE");
            }
        }
    }

    @Test
    void fewerThanNoneAreRefused() {
        try (EventFd before = EventFd.create(kernel)) {
            assertIllegalArgument(() -> EventFd.createAll(kernel, -1), "-1 eventfds: expected 0 or more");
            try (EventFd after = EventFd.create(kernel)) {
                assertThat(after.id()).isNotEqualTo(before.id());
            }
        }
        assertThat(EventFd.createAll(kernel, 0)).isEmpty();
    }

    @Test
    void awaitEndsWithTheTime() {
        try (EventFd event = EventFd.create(kernel)) {
            assertThat(event.await(Duration.ofMillis(1))).isFalse();
            assertThat(event.await(Duration.ofMillis(-1))).isFalse();
            event.signal();
            assertThat(event.await(ChronoUnit.FOREVER.getDuration())).isTrue();
        }
    }

    @Test
    void closeEndsAWait() throws Exception {
        EventFd event = EventFd.create(kernel);
        Thread[] waiter = new Thread[1];
        CompletableFuture<Boolean> waiting = CompletableFuture.supplyAsync(
                () -> {
                    waiter[0] = Thread.currentThread();
                    return event.await();
                },
                runnable -> new Thread(runnable).start());
        event.close();
        assertThatThrownBy(() -> waiting.get()).hasCauseInstanceOf(ClosedHandleException.class);
        // The last call out closes the descriptors, on its way out of this thread.
        waiter[0].join();
    }

    /** Closers against waiters, many times: every wait ends and every descriptor goes. */
    @Test
    void closeEndsEveryWaitInAnyOrder() {
        ExecutorService threads = Executors.newFixedThreadPool(3);
        try {
            for (int i = 0; i < 2000; i++) {
                EventFd event = EventFd.create(kernel);
                CompletableFuture<?> first = CompletableFuture.runAsync(() -> event.await(), threads);
                CompletableFuture<?> other = CompletableFuture.runAsync(() -> event.await(), threads);
                CompletableFuture<?> closing = CompletableFuture.runAsync(event::close, threads);
                assertThatThrownBy(first::join)
                        .isInstanceOf(CompletionException.class)
                        .hasCauseInstanceOf(ClosedHandleException.class);
                assertThatThrownBy(other::join).hasCauseInstanceOf(ClosedHandleException.class);
                closing.join();
            }
        } finally {
            threads.shutdown();
        }
    }

    /** The interrupt comes before, in or between the steps of the wait. */
    @Test
    void interruptEndsAWaitAndStays() throws Exception {
        try (EventFd event = EventFd.create(kernel)) {
            for (int i = 0; i < 2000; i++) {
                Waiter waiter = new Waiter(event);
                waiter.start();
                for (int spin = random.nextInt(2000); spin > 0; spin--) {
                    Thread.onSpinWait();
                }
                waiter.interrupt();
                waiter.join();
                assertThat(waiter.seen).isFalse();
                assertThat(waiter.wasInterrupted).isTrue();
            }
        }
        assertThat(kernel.openHandles()).isEmpty();
    }

    /** Thread.interrupt of an old JDK may set the status and wake nobody (JDK-8323782). */
    @Test
    void interruptThatTheJdkLosesEndsAWait() throws Exception {
        assumeTrue(Runtime.version().feature() < 23, "this JDK loses no interrupt");
        AtomicBoolean status = new AtomicBoolean();
        try (EventFd event = EventFd.create(kernel)) {
            Waiter waiter = new Waiter(event) {
                @Override
                public boolean isInterrupted() {
                    return status.get();
                }
            };
            waiter.start();
            while (Machine.openFds() < fdsBefore + 2) {
                Thread.onSpinWait(); // its wake descriptor
            }
            status.set(true);
            waiter.join();
            assertThat(waiter.seen).isFalse();
        }
    }

    /** The interrupting thread must not wait for it: the waiting thread lets go of it after the interrupt. */
    @Test
    void callerMayHoldTheMonitorOfTheEventfdInAWait() throws Exception {
        try (EventFd event = EventFd.create(kernel)) {
            Waiter waiter = new Waiter(event) {
                @Override
                public void run() {
                    synchronized (event) {
                        super.run();
                    }
                }
            };
            waiter.start();
            while (Machine.openFds() < fdsBefore + 2) {
                Thread.onSpinWait(); // its wake descriptor
            }
            waiter.interrupt();
            waiter.join();
            assertThat(waiter.wasInterrupted).isTrue();
        }
    }

    /** Each of two is woken by its own interrupt, and the third by the signal. */
    @Test
    void interruptOfOneLeavesTheOthersWaiting() throws Exception {
        try (EventFd event = EventFd.create(kernel)) {
            for (int i = 0; i < 500; i++) {
                Waiter first = new Waiter(event);
                Waiter two = new Waiter(event);
                Waiter patient = new Waiter(event);
                List.of(first, two, patient).forEach(Thread::start);
                first.interrupt();
                two.interrupt();
                first.join();
                two.join();
                assertThat(List.of(first.seen, two.seen)).containsOnly(false);
                event.signal();
                patient.join();
                assertThat(patient.seen).isTrue();
                assertThat(patient.wasInterrupted).isFalse();
                event.drain();
            }
        }
    }

    @Test
    void interruptedThreadHearsOfWhatWasSignalled() {
        try (EventFd event = EventFd.create(kernel)) {
            Thread.currentThread().interrupt();
            assertThat(event.await(Duration.ofDays(1))).isFalse();
            event.signal();
            assertThat(event.await()).isTrue();
            assertThat(event.awaitNanos(0)).isTrue();
            assertThat(Thread.interrupted()).isTrue();
        }
    }

    private final SplittableRandom random = new SplittableRandom(46);

    private static class Waiter extends Thread {
        private final EventFd event;
        private boolean seen;
        private boolean wasInterrupted;

        private Waiter(EventFd event) {
            this.event = event;
        }

        @Override
        public void run() {
            seen = event.await();
            wasInterrupted = isInterrupted();
        }
    }

    @Test
    void negativeTimesDoNotWait() {
        try (EventFd event = EventFd.create(kernel)) {
            assertThat(event.awaitNanos(-1)).isFalse();
            assertThat(event.awaitNanos(Long.MIN_VALUE)).isFalse();
            assertThat(event.await(Duration.ofDays(-1))).isFalse();
        }
    }

    @Test
    void leaseKeepsTheDescriptorUntilItEnds() {
        EventFd event = EventFd.create(kernel);
        Fd.Lease lease = event.fd().lease();
        event.close();
        assertThatThrownBy(event::signal).isInstanceOf(ClosedHandleException.class);
        assertThat(Machine.openFds()).isEqualTo(fdsBefore + 1);
        lease.close();
        lease.close();
        assertThat(Machine.openFds()).isEqualTo(fdsBefore);
    }

    @Test
    void borrowedStaysOpenAndOwnedDoesNot() {
        int foreign = kernel.backend().eventfdCreate();
        EventFd.adopt(kernel, foreign, Ownership.BORROWED).close();
        assertThat(Machine.openFds()).isEqualTo(fdsBefore + 1);
        EventFd.adopt(kernel, foreign, Ownership.OWNED).close();
        assertThat(Machine.openFds()).isEqualTo(fdsBefore);
    }

    @Test
    void adoptingNothingIsRefused() {
        assertIllegalArgument(
                () -> EventFd.adopt(kernel, -1, Ownership.OWNED),
                "fd -1 cannot be adopted: expected an open descriptor, >= 0");
    }

    /** A signal would write its count over the file's first eight bytes. */
    @Test
    void adoptingARegularFileIsRefusedAndItsBytesStay(@TempDir Path directory) throws IOException {
        byte[] content = "sixteen bytes ok".getBytes(StandardCharsets.US_ASCII);
        Path file = Files.write(directory.resolve("file"), content);
        int number = kernel.backend().libc().open(Buffers.cString(file.toString()), Uapi.O_RDWR);
        try {
            assertIllegalArgument(
                    () -> EventFd.adopt(kernel, number, Ownership.OWNED).signal(),
                    "fd " + number + " is open on " + file + ": expected an eventfd, made by eventfd(2)");
        } finally {
            kernel.backend().fdClose(number);
        }
        assertThat(file).hasBinaryContent(content);
        // Not the number that was closed: the JVM may have opened a file meanwhile.
        assertThatThrownBy(() -> EventFd.adopt(kernel, NOT_OPEN, Ownership.OWNED))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("fd " + NOT_OPEN + " is not open in this process");
    }

    @Test
    void adoptedBlockingEventfdIsDrainedWithoutBlockingAndKeepsItsFlag() {
        int foreign = kernel.backend().eventfdCreate();
        long fionbio = 0x5421;
        kernel.backend().libc().ioctl(foreign, fionbio, Buffers.allocate(4));
        try (EventFd event = EventFd.adopt(kernel, foreign, Ownership.OWNED)) {
            assertThat(event.drain()).isZero();
            event.signal(7);
            assertThat(event.drain()).isEqualTo(7);
        }
    }

    /** Also after the warning that the eventfd feeds an irqfd, which its reader gets once. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void hotCallsAllocateNothing(boolean fed) {
        try (EventFd event = EventFd.create(kernel)) {
            event.feedsIrqfd(fed);
            work(event, 20_000);
            assertThat(Allocations.leastOf(() -> work(event, 10_000))).isZero();
        }
    }

    private static void work(EventFd event, int rounds) {
        for (int i = 0; i < rounds; i++) {
            event.signal();
            event.awaitNanos(0);
            event.drain();
        }
    }

    /** The JVM counts each direct buffer against a limit until its collector runs, and a pause of it may come late. */
    @ParameterizedTest
    @ValueSource(strings = {"jni", "ffm", "jna", "jnr"})
    @Tag("newest")
    void virtualThreadsUseTheSameNativeMemoryAgain(String backend) throws Exception {
        assumeTrue(Runtime.version().feature() >= 21, "needs virtual threads: Java 21");
        assumeTrue(!backend.equals("ffm") || Runtime.version().feature() >= 22, "ffm needs Java 22");
        KernelBackend real = Backends.ofThisMachine().open(backend);
        try (Kernel through = Kernel.over(real);
                EventFd event = EventFd.create(through)) {
            CompletableFuture<Long> grown = new CompletableFuture<>();
            startVirtualThread(() -> grown.completeAsync(
                    () -> {
                        event.signal();
                        event.drain();
                        long before = Allocations.directBuffers();
                        for (int i = 0; i < 3000; i++) {
                            event.signal();
                            event.drain();
                        }
                        return Allocations.directBuffers() - before;
                    },
                    Runnable::run));
            assertThat(grown.get()).isLessThan(100);
        }
    }

    private static void startVirtualThread(Runnable work) throws ReflectiveOperationException {
        Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, work);
    }

    @Test
    @Tag("newest")
    void virtualThreadMaySignalButNotWait() throws Exception {
        assumeTrue(Runtime.version().feature() >= 21, "needs virtual threads: Java 21");
        try (EventFd event = EventFd.create(kernel)) {
            CompletableFuture<Void> done = new CompletableFuture<>();
            Runnable work = () -> {
                try {
                    event.signal();
                    assertThat(event.drain()).isEqualTo(1);
                    assertThat(event.awaitNanos(0)).isFalse();
                    assertThatThrownBy(() -> event.await(Duration.ofNanos(1)))
                            .isInstanceOf(IllegalStateException.class)
                            .hasMessageStartingWith("EventFd.await blocks in the kernel");
                    done.complete(null);
                } catch (Throwable e) {
                    done.completeExceptionally(e);
                }
            };
            startVirtualThread(work);
            done.get();
        }
    }

    /** It has no /proc, so the first use tells it, as the kernel does. */
    @Test
    void fakeRefusesADescriptorThatIsNoEventfdAtItsFirstUse() {
        try (Kernel fake = new FakeKernel(Profile.V6_12).open();
                Vm vm = Vm.create(fake);
                Fd.Lease number = vm.fd().lease()) {
            EventFd closed = EventFd.adopt(fake, 999, Ownership.BORROWED);
            EventFd other = EventFd.adopt(fake, number.number(), Ownership.BORROWED);
            assertThatThrownBy(closed::signal).hasMessageContaining("EBADF (the descriptor is not open, or open for");
            assertThatThrownBy(closed::drain).hasMessageContaining("EBADF (the descriptor is not open, or open for");
            assertThatThrownBy(other::signal).hasMessageContaining("EINVAL (the descriptor is not an eventfd");
            assertThatThrownBy(() -> Vm.adopt(fake, 999, Ownership.BORROWED, RoutesNow.NONE))
                    .hasMessageContaining("EBADF (a descriptor is not open)");
        }
    }
}
