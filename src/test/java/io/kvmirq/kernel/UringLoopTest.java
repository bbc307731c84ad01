/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.recording.Faults;
import io.kvmirq.recording.Recorder;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Machine;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Where a ring is refused, fails, is full or changes its thread; what each binding answers is in the contract. */
class UringLoopTest {
    private static final int DOORBELLS = 100;

    private final Faults faults = new Faults();
    private final Kernel kernel = Kernel.over(faults.over(Kernels.REAL.backend()));
    private final List<EventFd> events = new ArrayList<>();
    private final List<Registration> doorbells = new ArrayList<>();
    private final AtomicInteger rung = new AtomicInteger();

    @AfterEach
    void close() {
        events.forEach(EventFd::close);
        assertThat(kernel.openHandles()).isEmpty();
    }

    private EventLoop loop() {
        EventLoop loop = EventLoop.withIoUring(kernel);
        loop.refusedIoUring().ifPresent(why -> assumeTrue(false, why.getMessage()));
        return loop;
    }

    private void register(EventLoop loop, int count) {
        for (int i = 0; i < count; i++) {
            EventFd event = EventFd.create(kernel);
            events.add(event);
            doorbells.add(loop.registerDoorbell(event, rung::incrementAndGet));
        }
    }

    /** All ring once, and each is heard once. */
    private void ringAll(EventLoop loop) {
        rung.set(0);
        events.forEach(EventFd::signal);
        while (rung.get() < events.size() && loop.pollNanos(TimeUnit.HOURS.toNanos(1)) > 0) {}
        assertThat(rung).hasValue(events.size());
        assertThat(loop.pollNanos(0)).isZero();
    }

    private static void inAThread(Runnable work) throws Exception {
        CompletableFuture<Void> done = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                work.run();
                done.complete(null);
            } catch (RuntimeException | Error e) {
                done.completeExceptionally(e);
            }
        });
        thread.start();
        thread.join();
        done.get();
    }

    /** A round begins only some polls, and gets only some of the completions. */
    @Test
    void pollWithoutATimeoutHearsADoorbellBehindManyChanges() {
        try (EventLoop loop = EventLoop.withIoUring(kernel, 16)) {
            loop.refusedIoUring().ifPresent(why -> assumeTrue(false, why.getMessage()));
            register(loop, DOORBELLS);
            EventFd last = events.get(DOORBELLS - 1);
            last.signal();
            assertThat(loop.pollNanos(0)).isOne();
            assertThat(loop.pollNanos(0)).isZero();
            doorbells.subList(0, DOORBELLS - 1).forEach(Registration::close);
            last.signal();
            assertThat(loop.pollNanos(0)).isOne();
            assertThat(loop.pollNanos(0)).isZero();
        }
    }

    // Refused

    @ParameterizedTest
    @CsvSource({
        "io_uring_setup, 1, EPERM",
        "io_uring_setup, 1, ENOSYS",
        "io_uring_setup, 1, EINVAL",
        "io_uring_setup, 1, EMFILE",
        "io_uring_setup, 1, ENOMEM",
        "mmap, 1, ENOMEM",
        "mmap, 2, ENOMEM"
    })
    void loopWhoseRingIsRefusedUsesEpollAndSaysWhy(String call, int nth, String errno) {
        long before = Machine.openFds();
        faults.fail(call, nth, Errno.of(errno).orElseThrow());
        try (EventLoop loop = EventLoop.withIoUring(kernel)) {
            assertThat(faults.unused()).isEmpty();
            assertThat(loop.usesIoUring()).isFalse();
            assertThat(loop.refusedIoUring().orElseThrow()).hasMessageContaining(errno);
            register(loop, DOORBELLS);
            ringAll(loop);
        }
        assertThat(Machine.openFds()).isEqualTo(before + DOORBELLS);
    }

    /** Filters of system calls, and limits, may begin at any time. */
    @ParameterizedTest
    @CsvSource({"io_uring_register, EPERM", "ioUringEnter, EPERM", "ioUringEnter, EINVAL"})
    void ringThatIsRefusedLaterIsReplacedByEpollWithoutALoss(String call, String errno) {
        try (EventLoop loop = loop()) {
            register(loop, DOORBELLS);
            if (!call.equals("io_uring_register")) {
                ringAll(loop);
            }
            doorbells.get(0).pause();
            faults.failEvery(call, Errno.of(errno).orElseThrow());
            events.forEach(EventFd::signal);
            rung.set(0);
            for (int called = loop.pollNanos(0); called > 0; called = loop.pollNanos(0)) {}
            assertThat(rung).as("all but the paused one").hasValue(DOORBELLS - 1);
            doorbells.get(0).resume();
            assertThat(loop.pollNanos(0)).isEqualTo(1);
            assertThat(loop.usesIoUring()).isFalse();
            assertThat(loop.refusedIoUring().orElseThrow()).hasMessageContaining(errno);
            ringAll(loop);
            doorbells.get(1).close();
            events.get(1).signal();
            assertThat(loop.pollNanos(0)).isZero();
        }
    }

    /** RLIMIT_NOFILE is reached at the eventfd of the loop, or at a later one: what was made is closed. */
    @Test
    void setUpThatFailsLeavesNothing() {
        long before = Machine.openFds();
        for (String call : List.of("epollCreate", "eventfdCreate", "epollCtl")) {
            faults.fail(call, 1, Errno.EMFILE);
            assertThatThrownBy(() -> EventLoop.withIoUring(kernel)).isInstanceOf(KernelException.class);
            assertThat(faults.unused()).isEmpty();
            faults.clear();
        }
        assertThat(Machine.openFds()).isEqualTo(before);
        try (EventLoop loop = loop()) {
            faults.fail("epollCtl", 1, Errno.ENOSPC);
            assertThatThrownBy(() -> register(loop, 1)).isInstanceOf(KernelException.class);
            doorbells.add(loop.registerDoorbell(events.get(0), rung::incrementAndGet));
            ringAll(loop);
        }
    }

    // Threads

    @Test
    void eachThreadThatWaitsHearsAllDoorbells() throws Exception {
        long before = Machine.openFds();
        try (EventLoop loop = loop()) {
            register(loop, DOORBELLS);
            ringAll(loop);
            inAThread(() -> ringAll(loop));
            events.get(0).signal();
            inAThread(() -> assertThat(loop.runOnce()).isPositive());
            ringAll(loop);
            assertThat(loop.usesIoUring()).isTrue();
            faults.fail("io_uring_setup", 1, Errno.EMFILE);
            inAThread(() -> ringAll(loop));
            assertThat(loop.usesIoUring()).isFalse();
        }
        assertThat(Machine.openFds()).isEqualTo(before + DOORBELLS);
    }

    @Test
    void waitingThreadHearsWhatAnotherRegistersPausesAndResumes() throws Exception {
        CompletableFuture<Void> running;
        try (EventLoop loop = loop()) {
            running = CompletableFuture.runAsync(loop::run);
            for (int i = 0; i < DOORBELLS; i++) {
                CompletableFuture<Void> heard = new CompletableFuture<>();
                CompletableFuture<Void> again = new CompletableFuture<>();
                try (EventFd event = EventFd.create(kernel)) {
                    Registration doorbell =
                            loop.registerDoorbell(event, () -> (heard.isDone() ? again : heard).complete(null));
                    event.signal();
                    heard.get();
                    doorbell.pause();
                    doorbell.resume();
                    again.get();
                    doorbell.close();
                }
            }
        }
        running.get();
    }

    /** The write by which close wakes the thread in run may fail, as under a system call filter. */
    @Test
    void closeEndsRunAlsoWhenTheWakeWriteFails() throws Exception {
        EventLoop loop = loop();
        register(loop, 1);
        CompletableFuture<Void> running = CompletableFuture.runAsync(loop::run);
        events.get(0).signal();
        while (rung.get() == 0) {
            Thread.onSpinWait();
        }
        faults.failEvery("eventfdSignal", Errno.EPERM);
        loop.close();
        running.get();
    }

    // Polls that end

    /** A multishot poll that finds no room for its completion ends, and begins anew. */
    @Test
    void doorbellsBeyondTheRoomOfTheRingAreHeard() {
        try (EventLoop loop = EventLoop.withIoUring(kernel, 4)) {
            loop.refusedIoUring().ifPresent(why -> assumeTrue(false, why.getMessage()));
            register(loop, DOORBELLS);
            for (int i = 0; i < 20; i++) {
                rung.set(0);
                events.forEach(EventFd::signal);
                for (int called = loop.pollNanos(0); called > 0; called = loop.pollNanos(0)) {}
                assertThat(rung.get()).isGreaterThanOrEqualTo(DOORBELLS);
            }
            assertThat(loop.usesIoUring()).isTrue();
        }
    }

    /** A program closes the number of an eventfd that it lent, which the loop cannot see. */
    @Test
    void eventfdClosedBehindTheLoopDisturbsNoOther() {
        try (EventLoop loop = loop()) {
            int number = kernel.backend().eventfdCreate();
            EventFd lent = EventFd.adopt(kernel, number, Ownership.BORROWED);
            Registration gone = loop.registerDoorbell(lent, () -> {
                throw new AssertionError("rung");
            });
            register(loop, DOORBELLS);
            ringAll(loop);
            kernel.backend().fdClose(number);
            ringAll(loop);
            register(loop, 1); // gets the number
            ringAll(loop);
            gone.close();
            ringAll(loop);
            lent.close();
        }
    }

    // Cost

    @Test
    void sixteenDoorbellsTakeOneCallOfTheKernel() {
        try (EventLoop loop = loop()) {
            register(loop, 16);
            ringAll(loop);
            events.forEach(EventFd::signal);
            faults.listen();
            assertThat(loop.runOnce()).isEqualTo(16);
            assertThat(faults.calls()).containsExactly("ioUringEnter");
        }
    }

    /** Waits in a ring would be missing on the tape. */
    @Test
    void recordedLoopUsesEpoll() throws IOException {
        try (Recorder recorder = Recorder.of(Kernels.REAL.backend(), new ByteArrayOutputStream());
                EventLoop loop = EventLoop.withIoUring(Kernel.over(recorder.backend()))) {
            assertThat(loop.usesIoUring()).isFalse();
        }
    }

    @Test
    void loopOfCreateHasNothingRefused() {
        try (EventLoop loop = EventLoop.create(new FakeKernel(Machine.profile()).open())) {
            assertThat(loop.usesIoUring()).isFalse();
            assertThat(loop.refusedIoUring()).isEmpty();
        }
    }
}
