/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Threads, lifetimes and failures of the event loop; what each binding answers is in the contract. */
class EventLoopTest {
    private static final int STRESS = Integer.getInteger("kvmirq.test.loop.signals", 20_000);

    private final Faults faults = new Faults();
    private final Kernel fake = Kernel.over(faults.over(new FakeKernel(Machine.profile()).backend()));

    // Pause and close

    /** The actions of another thread that end a handler's runs. */
    private enum End {
        PAUSE,
        CLOSE,
        CLOSE_LOOP;

        void of(EventLoop loop, Registration registration) {
            switch (this) {
                case PAUSE -> registration.pause();
                case CLOSE -> registration.close();
                case CLOSE_LOOP -> loop.close();
            }
        }
    }

    /**
     * One round of the loop with another thread that acts before its nth call of the kernel, until it ends or waits.
     */
    private final class Interleaving {
        private final EventFd event = EventFd.create(fake);
        private final EventLoop loop = EventLoop.create(fake);
        private final AtomicBoolean inside = new AtomicBoolean();
        private final AtomicBoolean over = new AtomicBoolean();
        private final AtomicLong got = new AtomicLong();
        private final boolean doorbell;
        private final Registration registration;
        private final End end;
        private final Thread other;

        Interleaving(End end, boolean doorbell) {
            this.end = end;
            this.doorbell = doorbell;
            this.registration =
                    doorbell ? loop.registerDoorbell(event, () -> handle(0)) : loop.register(event, this::handle);
            this.other = new Thread(() -> {
                event.signal(10);
                end.of(loop, registration);
                assertThat(inside).as("a handler runs after " + end).isFalse();
                over.set(true);
            });
        }

        private void handle(long count) {
            assertThat(over).as("a handler begins after the end").isFalse();
            inside.set(true);
            act();
            got.addAndGet(count);
            inside.set(false);
        }

        /** The other thread goes as far as it can. */
        private void act() {
            if (other.getState() == Thread.State.NEW) {
                other.start();
                while (other.isAlive() && other.getState() != Thread.State.TIMED_WAITING) {
                    Thread.onSpinWait();
                }
            }
        }

        /** A handler that runs between the kernel's report and this one's handler. */
        private void actAfterTheReport() {
            EventFd earlier = EventFd.create(fake);
            loop.register(earlier, count -> act());
            earlier.signal();
            earlier.close();
        }

        private void poll() {
            try {
                loop.pollNanos(0);
            } catch (ClosedHandleException e) {
                assertThat(end).isEqualTo(End.CLOSE_LOOP);
            }
        }

        private void run() throws InterruptedException {
            event.signal(1);
            poll();
            act();
            other.join();
            assertThat(over).as("the other thread has ended").isTrue();
            poll();
            assertThat(got.get() + event.drain())
                    .as("delivered, and left in the eventfd")
                    .isEqualTo(11);
            loop.close();
            event.close();
        }
    }

    @ParameterizedTest
    @EnumSource
    void otherThreadsEndAtEveryStepLosesNothingAndLeavesNoHandlerRunning(End end) throws InterruptedException {
        endAtEveryStep(end, false);
        endAtEveryStep(end, true);
    }

    private void endAtEveryStep(End end, boolean doorbell) throws InterruptedException {
        Interleaving reported = new Interleaving(end, doorbell);
        reported.actAfterTheReport();
        reported.run();
        int step = 1;
        boolean reached = true;
        while (reached) {
            Interleaving interleaving = new Interleaving(end, doorbell);
            faults.delay(Faults.ANY, step, interleaving::act);
            interleaving.run();
            reached = faults.unused().isEmpty();
            faults.clear();
            step++;
        }
        assertThat(step).as("calls of a round").isGreaterThan(doorbell ? 2 : 4);
    }

    /**
     * Signals, pauses and handlers at random: a handler never runs while it is paused, and every signal is delivered
     * once.
     */
    @OnBothKernels
    void nothingIsLostBetweenSignalsPausesAndHandlers(Kernels on) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(3);
        try (Kernel kernel = on.open();
                EventFd event = EventFd.create(kernel)) {
            EventLoop loop = EventLoop.create(kernel);
            AtomicBoolean paused = new AtomicBoolean();
            AtomicLong got = new AtomicLong();
            AtomicLong wrong = new AtomicLong();
            CountDownLatch all = new CountDownLatch(1);
            Registration registration = loop.register(event, count -> {
                wrong.addAndGet(paused.get() ? 1 : 0);
                if (got.addAndGet(count) == STRESS) {
                    all.countDown();
                }
            });
            Future<?> running = threads.submit(loop::run);
            AtomicBoolean signalled = new AtomicBoolean();
            Future<?> pausing = threads.submit(() -> pause(registration, paused, signalled));
            Future<?> signalling = threads.submit(() -> {
                for (int i = 0; i < STRESS; i++) {
                    event.signal();
                }
                signalled.set(true);
            });
            signalling.get();
            pausing.get();
            all.await();
            loop.close();
            running.get();
            assertThat(wrong).hasValue(0);
            assertThat(got).hasValue(STRESS);
        } finally {
            threads.shutdownNow();
        }
    }

    private static void pause(Registration registration, AtomicBoolean paused, AtomicBoolean signalled) {
        while (!signalled.get()) {
            registration.pause();
            paused.set(true);
            Thread.onSpinWait();
            paused.set(false);
            registration.resume();
        }
    }

    /**
     * Rings, pauses and handlers at random: what is written before a ring is seen by a handler that begins after it,
     * and none begins in a pause.
     */
    @OnBothKernels
    void lastRingOfADoorbellIsAlwaysHeard(Kernels on) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(3);
        try (Kernel kernel = on.open();
                EventFd event = EventFd.create(kernel)) {
            EventLoop loop = EventLoop.create(kernel);
            AtomicBoolean paused = new AtomicBoolean();
            AtomicLong wrong = new AtomicLong();
            AtomicLong written = new AtomicLong();
            AtomicLong seen = new AtomicLong();
            Registration registration = loop.registerDoorbell(event, () -> {
                wrong.addAndGet(paused.get() ? 1 : 0);
                seen.set(written.get());
            });
            Future<?> running = threads.submit(loop::run);
            AtomicBoolean signalled = new AtomicBoolean();
            Future<?> pausing = threads.submit(() -> pause(registration, paused, signalled));
            Future<?> signalling = threads.submit(() -> {
                for (int i = 1; i <= STRESS; i++) {
                    written.set(i);
                    event.signal();
                    long ring = i;
                    if (i % 64 == 0) { // without another ring, so that a lost one would stay lost
                        eventually("a ring", () -> seen.get() >= ring);
                    }
                }
                signalled.set(true);
            });
            signalling.get();
            pausing.get();
            loop.close();
            running.get();
            assertThat(wrong).hasValue(0);
            assertThat(event.drain()).isEqualTo(STRESS);
        } finally {
            threads.shutdownNow();
        }
    }

    /** An edge is reported once: were it reported to a dispatcher that finds it paused still, it would be lost. */
    @OnBothKernels
    void ringInAPauseIsHeardAfterIt(Kernels on) throws Exception {
        ExecutorService thread = Executors.newSingleThreadExecutor();
        try (Kernel kernel = on.open();
                EventFd event = EventFd.create(kernel)) {
            EventLoop loop = EventLoop.create(kernel);
            AtomicLong written = new AtomicLong();
            AtomicLong seen = new AtomicLong();
            Registration registration = loop.registerDoorbell(event, () -> seen.set(written.get()));
            Future<?> running = thread.submit(loop::run);
            for (int i = 1; i <= STRESS / 40; i++) {
                registration.pause();
                written.set(i);
                event.signal();
                registration.resume();
                long ring = i;
                eventually("a ring", () -> seen.get() >= ring);
            }
            loop.close();
            running.get();
        } finally {
            thread.shutdownNow();
        }
    }

    @Test
    void resumeThatFailsLeavesItPaused() {
        try (EventLoop loop = EventLoop.create(fake);
                EventFd event = EventFd.create(fake)) {
            AtomicLong rung = new AtomicLong();
            Registration registration = loop.registerDoorbell(event, rung::incrementAndGet);
            registration.pause();
            faults.fail("epollCtl", 1, Errno.ENOMEM);
            assertThatThrownBy(registration::resume).isInstanceOf(KernelException.class);
            event.signal();
            assertThat(loop.pollNanos(0)).isZero();
            registration.resume();
            assertThat(loop.pollNanos(0)).isEqualTo(1);
            assertThat(rung).hasValue(1);
        }
    }

    /** Closing in any order against a running loop: descriptors are the same as before. */
    @ParameterizedTest
    @EnumSource(names = "REAL")
    void everyOrderOfClosingReleasesAllDescriptors(Kernels on) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(3);
        try (Kernel kernel = on.open()) {
            long before = Machine.openFds();
            for (int i = 0; i < 500; i++) {
                EventFd event = EventFd.create(kernel);
                EventLoop loop = EventLoop.create(kernel);
                Registration registration =
                        i % 4 < 2 ? loop.register(event, count -> {}) : loop.registerDoorbell(event, () -> {});
                event.signal();
                List<Future<?>> closing = new ArrayList<>();
                closing.add(threads.submit(loop::run));
                closing.add(threads.submit(i % 2 == 0 ? registration::close : loop::close));
                closing.add(threads.submit(event::close));
                closing.get(1).get();
                closing.get(2).get();
                loop.close();
                closing.get(0).get();
                registration.close();
            }
            assertThat(Machine.openFds()).isEqualTo(before);
        } finally {
            threads.shutdownNow();
        }
    }

    @Test
    void closeFromAHandlerEndsRunAfterIt() {
        EventLoop loop = EventLoop.create(fake);
        try (EventFd first = EventFd.create(fake);
                EventFd second = EventFd.create(fake)) {
            List<Long> counts = new ArrayList<>();
            EventLoop.Handler closes = count -> {
                loop.close();
                counts.add(count);
            };
            loop.register(first, closes);
            loop.register(second, closes);
            first.signal(3);
            second.signal(4);
            loop.run();
            assertThat(counts).containsExactly(3L);
            assertThat(second.drain()).isEqualTo(4);
            loop.run();
            assertThatThrownBy(() -> loop.pollNanos(0)).isInstanceOf(ClosedHandleException.class);
            assertThatThrownBy(() -> loop.register(first, closes)).isInstanceOf(ClosedHandleException.class);
        }
    }

    // Failures

    @Test
    void handlerThatThrowsEndsTheRoundAndIsCalledAgain() {
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            loop.register(event, count -> {
                throw new IllegalStateException("count " + count);
            });
            event.signal(5);
            assertThatThrownBy(() -> loop.pollNanos(0)).hasMessage("count 5");
            event.signal(6);
            assertThatThrownBy(loop::run).hasMessage("count 6");
            assertThat(loop.pollNanos(0)).isZero();
        }
    }

    /** An edge is reported once: a round that ends early must not lose those behind. */
    @Test
    void handlersBehindOneThatThrowsAreCalledInTheNextRound() {
        try (EventLoop loop = EventLoop.create(fake);
                Undo made = new Undo()) {
            List<Integer> rung = new ArrayList<>();
            List<EventFd> events = EventFd.createAll(fake, 9);
            events.forEach(made::add);
            for (int i = 0; i < events.size(); i++) {
                int number = i;
                loop.registerDoorbell(events.get(i), () -> {
                    rung.add(number);
                    if (number % 3 == 1) {
                        throw new IllegalArgumentException("handler " + number);
                    }
                });
                events.get(i).signal();
            }
            int failed = 0;
            for (int called = 1; called > 0; ) {
                try {
                    called = loop.pollNanos(0);
                } catch (IllegalArgumentException e) {
                    failed++;
                }
            }
            assertThat(failed).isEqualTo(3);
            assertThat(rung).containsExactlyInAnyOrder(0, 1, 2, 3, 4, 5, 6, 7, 8);
        }
    }

    @Test
    void hookHearsOfAFailureAndTheLoopGoesOn() {
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            List<String> heard = new ArrayList<>();
            loop.onFailure((registration, failure) -> heard.add(registration.event() + " " + failure.getMessage()));
            List<Registration> made = new ArrayList<>();
            made.add(loop.registerDoorbell(event, () -> {
                if (!heard.isEmpty()) {
                    made.get(0).close();
                }
                throw new IllegalStateException("rung");
            }));
            event.signal();
            assertThat(loop.pollNanos(0)).isEqualTo(1);
            event.signal();
            assertThat(loop.pollNanos(0)).isEqualTo(1);
            assertThat(heard).containsExactly(event + " rung", event + " rung");
        }
    }

    /** A handler, or another thread, may close a registration before the hook uses it. */
    @Test
    void hookMayUseAClosedRegistrationAndKeepsTheFailureOfTheHandler() {
        try (EventFd event = EventFd.create(fake);
                EventFd other = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            loop.onFailure((registration, failure) -> {
                registration.pause();
                registration.resume();
                throw new IllegalStateException("the hook");
            });
            List<Registration> made = new ArrayList<>();
            made.add(loop.registerDoorbell(event, () -> {
                made.get(0).close();
                throw new IllegalStateException("device gone");
            }));
            loop.register(other, count -> {
                throw new IllegalArgumentException("rung");
            });
            event.signal();
            assertThat(loop.pollNanos(0)).isEqualTo(1);
            other.signal();
            assertThatThrownBy(() -> loop.pollNanos(0))
                    .hasMessage("the hook")
                    .satisfies(e ->
                            assertThat(e.getSuppressed()).singleElement().isInstanceOf(IllegalArgumentException.class));
        }
    }

    /** No hook hears of one: a loop that goes on without memory does half of its work. */
    @Test
    void errorEndsTheLoopWhateverHears() {
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            loop.onFailure((registration, failure) -> {});
            loop.register(event, count -> {
                throw new OutOfMemoryError("planted");
            });
            event.signal();
            assertThatThrownBy(loop::run).isInstanceOf(OutOfMemoryError.class);
        }
    }

    /** The interrupt comes before, in or between rounds; then the loop goes on in another thread. */
    @OnBothKernels
    void interruptEndsRunAndPollAndStays(Kernels on) throws Exception {
        try (Kernel kernel = on.open();
                EventLoop loop = EventLoop.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            AtomicInteger rung = new AtomicInteger();
            loop.registerDoorbell(event, rung::incrementAndGet);
            SplittableRandom random = new SplittableRandom(46);
            for (int i = 0; i < 300; i++) {
                boolean[] kept = new boolean[1];
                Runnable waits = i % 2 == 0 ? loop::run : loop::runOnce;
                Thread thread = new Thread(() -> {
                    waits.run();
                    kept[0] = Thread.currentThread().isInterrupted();
                });
                thread.start();
                for (int spin = random.nextInt(5000); spin > 0; spin--) {
                    Thread.onSpinWait();
                }
                thread.interrupt();
                thread.join();
                assertThat(kept[0]).isTrue();
                loop.pollNanos(0);
                assertThat(isReady(kernel, loop)).as("wakes again").isFalse();
                int before = rung.get();
                event.signal();
                while (rung.get() == before) {
                    loop.runOnce();
                }
            }
        }
    }

    /** Level-triggered, it would be reported for ever. */
    @Test
    void eventfdThatCannotBeReadIsLoggedAndPaused() {
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            List<Long> counts = new ArrayList<>();
            Registration registration = loop.register(event, counts::add);
            event.signal(2);
            faults.fail("eventfdDrain", 1, Errno.EIO);
            List<LogRecord> said = logOf(() -> assertThat(loop.pollNanos(1)).isZero());
            assertThat(said)
                    .extracting(LogRecord::getMessage)
                    .containsExactly(event + " cannot be read; its registration is paused");
            registration.resume();
            assertThat(loop.pollNanos(0)).isEqualTo(1);
            assertThat(counts).containsExactly(2L);
        }
    }

    @Test
    void registrationWhoseEventfdCannotBeReadMayBeClosedMeanwhile() {
        try (EventLoop loop = EventLoop.create(fake)) {
            EventFd event = EventFd.create(fake);
            Registration registration = loop.register(event, count -> {});
            event.signal();
            faults.delay("eventfdDrain", 1, () -> {
                registration.close();
                event.close();
            });
            assertThat(logOf(() -> assertThat(loop.pollNanos(0)).isZero())).hasSize(1);
        }
    }

    @Test
    void interruptedWaitGoesOn() {
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            loop.register(event, count -> {});
            event.signal();
            faults.fail("epollWait", 1, Errno.EINTR);
            assertThat(loop.poll(Duration.ofDays(1))).isEqualTo(1);
            assertThat(faults.unused()).isEmpty();
        }
    }

    @Test
    void setUpThatFailsLeavesNothing() {
        for (String call : List.of("epollCreate", "eventfdCreate", "epollCtl")) {
            faults.fail(call, 1, Errno.ENOMEM);
            assertThatThrownBy(() -> EventLoop.create(fake)).isInstanceOf(KernelException.class);
        }
        faults.clear();
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            faults.fail("epollCtl", 1, Errno.ENOSPC);
            assertThatThrownBy(() -> loop.register(event, count -> {})).isInstanceOf(KernelException.class);
            loop.register(event, count -> {});
        }
        assertThat(fake.handles().stillOpen()).isEmpty();
    }

    @Test
    void oneThreadRunsALoop() throws Exception {
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            CompletableFuture<Throwable> refused = new CompletableFuture<>();
            loop.register(event, count -> refused.complete(failureOf(() -> loop.pollNanos(0))));
            event.signal();
            loop.pollNanos(0);
            assertThat(refused.get())
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("EventLoop.poll: " + loop + " is run by thread '"
                            + Thread.currentThread().getName()
                            + "' already, and handlers run in one thread at a time");
        }
    }

    @Test
    void eventfdOfAnotherKernelIsRefused() {
        try (EventFd foreign = EventFd.create(Kernels.FAKE.open());
                EventLoop loop = EventLoop.create(fake)) {
            assertThatThrownBy(() -> loop.register(foreign, count -> {})).isInstanceOf(IllegalArgumentException.class);
        }
    }

    @Test
    @Tag("newest")
    void virtualThreadMayRegisterPauseAndLookButNotWait() throws Exception {
        assumeTrue(Runtime.version().feature() >= 21, "needs virtual threads: Java 21");
        try (EventFd event = EventFd.create(fake);
                EventLoop loop = EventLoop.create(fake)) {
            CompletableFuture<List<Throwable>> done = new CompletableFuture<>();
            Runnable work = () -> {
                loop.register(event, count -> {}).pause();
                loop.pollNanos(0);
                done.complete(List.of(failureOf(loop::run), failureOf(loop::runOnce)));
            };
            Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, work);
            assertThat(done.get()).allSatisfy(refusal -> assertThat(refusal)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining(" blocks in the kernel"));
        }
    }

    // Cost

    @ParameterizedTest
    @EnumSource(names = "REAL")
    void hotCallsAllocateNothing(Kernels on) {
        try (Kernel kernel = on.open();
                EventLoop loop = EventLoop.create(kernel)) {
            List<EventFd> events = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                EventFd event = EventFd.create(kernel);
                if (i % 2 == 0) {
                    loop.register(event, count -> {});
                } else {
                    loop.registerDoorbell(event, () -> {});
                }
                events.add(event);
            }
            EventFd[] all = events.toArray(new EventFd[0]);
            work(loop, all, 20_000);
            assertThat(Allocations.leastOf(() -> work(loop, all, 1000)))
                    .as("bytes of 8000 events")
                    .isZero();
            events.forEach(EventFd::close);
        }
    }

    private static void work(EventLoop loop, EventFd[] events, int rounds) {
        for (int i = 0; i < rounds; i++) {
            for (EventFd event : events) {
                event.signal();
            }
            if (loop.runOnce() != events.length) {
                throw new AssertionError("not all were delivered");
            }
        }
    }

    private static Throwable failureOf(Runnable call) {
        try {
            call.run();
        } catch (RuntimeException e) {
            return e;
        }
        return new AssertionError("nothing was thrown");
    }

    private static boolean isReady(Kernel kernel, EventLoop loop) {
        try (Fd.Lease lease = loop.fd().lease()) {
            return kernel.backend().fdWait(lease.number(), -1, 0) != 0;
        }
    }

    private static List<LogRecord> logOf(Runnable work) {
        List<LogRecord> said = new ArrayList<>();
        Logger logger = Logger.getLogger("io.kvmirq");
        Handler recorder = recorder(said::add);
        logger.addHandler(recorder);
        logger.setUseParentHandlers(false);
        try {
            work.run();
        } finally {
            logger.removeHandler(recorder);
            logger.setUseParentHandlers(true);
        }
        return said;
    }

    private static Handler recorder(Consumer<LogRecord> said) {
        return new Handler() {
            @Override
            public void publish(LogRecord record) {
                said.accept(record);
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
    }

    /** The write by which close wakes the thread in run may fail, as under a system call filter. */
    @Test
    void closeEndsRunAlsoWhenTheWakeWriteFails() throws Exception {
        EventFd event = EventFd.create(fake);
        EventLoop loop = EventLoop.create(fake);
        loop.register(event, count -> {});
        Thread runner = new Thread(loop::run);
        runner.start();
        while (runner.getState() == Thread.State.NEW) {
            Thread.onSpinWait();
        }
        faults.failEvery("eventfdSignal", Errno.EPERM);
        loop.close();
        runner.join();
        assertThat(runner.isAlive()).isFalse();
        event.close();
        assertThat(fake.openHandles()).isEmpty();
    }

    @Test
    void interruptEndsPollAlsoWhenTheWakeWriteFailsAndTheLoopRestsAgain() {
        try (EventLoop loop = EventLoop.create(fake)) {
            faults.failEvery("eventfdSignal", Errno.EPERM);
            Thread.currentThread().interrupt();
            assertThat(loop.runOnce()).isZero();
            assertThat(Thread.interrupted()).isTrue();
            loop.pollNanos(0);
            assertThat(isReady(fake, loop)).isFalse();
        }
    }
}
