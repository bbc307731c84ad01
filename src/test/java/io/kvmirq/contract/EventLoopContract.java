/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kernel.Registration;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The event loop over epoll of each binding: fs/eventpoll.c, fs/eventfd.c. */
@Contract
class EventLoopContract {
    private static final int MANY = 600;
    private static final int DOORBELL = 0x90;
    private static final int THOUSANDS = 2500;

    final World world;
    final Kernel kernel;
    final EventLoop loop;
    private final List<Long> counts = new ArrayList<>();

    EventLoopContract(World world) {
        this.world = world;
        this.kernel = Kernel.over(world.kernel());
        this.loop = EventLoop.create(kernel);
    }

    @AfterEach
    void close() {
        loop.close();
        kernel.close();
        world.closeAll();
    }

    private EventFd event() {
        return EventFd.adopt(kernel, world.eventfd(), Ownership.BORROWED);
    }

    private int poll() {
        return loop.poll(Duration.ZERO);
    }

    @Test
    void handlerGetsTheCountOnce() {
        EventFd event = event();
        loop.register(event, counts::add);
        assertThat(poll()).isZero();
        event.signal(3);
        event.signal(-9);
        assertThat(poll()).isEqualTo(1);
        assertThat(poll()).isZero();
        assertThat(counts).containsExactly(-6L);
    }

    // Doorbells

    private final AtomicInteger rung = new AtomicInteger();

    private Registration doorbell(EventFd event) {
        return loop.registerDoorbell(event, rung::incrementAndGet);
    }

    @Test
    void doorbellIsHeardAfterEachRingAndItsCountIsLeft() {
        EventFd event = event();
        doorbell(event);
        assertThat(poll()).isZero();
        for (int i = 1; i <= 3; i++) {
            event.signal();
            assertThat(poll()).isEqualTo(1);
            assertThat(poll()).isZero();
            assertThat(rung).hasValue(i);
        }
        assertThat(event.drain()).isEqualTo(3);
        event.signal();
        assertThat(poll()).isEqualTo(1);
    }

    @Test
    void ringsThatWereNotHeardYetCoalesce() {
        EventFd event = event();
        doorbell(event);
        event.signal();
        event.signal(7);
        assertThat(poll()).isEqualTo(1);
        assertThat(poll()).isZero();
        assertThat(rung).hasValue(1);
    }

    @Test
    void ringsBeforeTheRegistrationAreHeardOnce() {
        EventFd event = event();
        event.signal(2);
        doorbell(event).close();
        assertThat(poll()).isZero();
        doorbell(event);
        assertThat(poll()).isEqualTo(1);
        assertThat(poll()).isZero();
    }

    @Test
    void pausedDoorbellIsHeardWhenItIsResumed() {
        EventFd event = event();
        Registration registration = doorbell(event);
        registration.pause();
        event.signal();
        assertThat(poll()).isZero();
        registration.resume();
        assertThat(poll()).isEqualTo(1);
        event.signal();
        registration.pause();
        registration.resume();
        assertThat(poll()).as("rung before it was paused").isEqualTo(1);
        assertThat(poll()).isZero();
    }

    /** A ring that comes while the handler runs is another one. */
    @Test
    void ringFromTheHandlerIsHeardInTheNextRound() {
        EventFd event = event();
        loop.registerDoorbell(event, () -> {
            if (rung.incrementAndGet() < 3) {
                event.signal();
            }
        });
        event.signal();
        assertThat(poll() + poll() + poll() + poll()).isEqualTo(3);
    }

    @Test
    void handlerOfADoorbellMayDrainIt() {
        EventFd event = event();
        loop.registerDoorbell(event, () -> counts.add(event.drain()));
        event.signal(3);
        assertThat(poll()).isEqualTo(1);
        event.signal(4);
        assertThat(poll()).isEqualTo(1);
        assertThat(poll()).isZero();
        assertThat(counts).containsExactly(3L, 4L);
    }

    @Test
    void doorbellsAndCountsShareALoop() {
        EventFd counted = event();
        EventFd rings = event();
        loop.register(counted, counts::add);
        doorbell(rings);
        for (int i = 1; i <= 2; i++) {
            rings.signal();
            counted.signal(i);
            assertThat(poll()).isEqualTo(2);
        }
        assertThat(poll()).isZero();
        assertThat(counts).containsExactly(1L, 2L);
        assertThat(rung).hasValue(2);
    }

    @Test
    void thousandsOfDoorbellsAreHeardEachRound() {
        List<EventFd> events = new ArrayList<>();
        List<Registration> doorbells = new ArrayList<>();
        int[] heard = new int[THOUSANDS];
        for (int i = 0; i < THOUSANDS; i++) {
            int place = i;
            EventFd event = event();
            events.add(event);
            doorbells.add(loop.registerDoorbell(event, () -> heard[place]++));
        }
        for (int round = 1; round <= 2; round++) {
            Arrays.fill(heard, 0);
            events.forEach(EventFd::signal);
            int calls = 0;
            for (int now = poll(); now > 0; now = poll()) {
                calls += now;
            }
            assertThat(calls).isEqualTo(Arrays.stream(heard).sum());
            assertThat(heard).containsOnly(1);
        }
        doorbells.subList(0, THOUSANDS / 2).forEach(Registration::close);
        events.forEach(EventFd::signal);
        Arrays.fill(heard, 0);
        loop.close();
        assertThat(heard).containsOnly(0);
    }

    /** An ioeventfd of a guest's doorbell: KVM writes it, and nobody reads it. */
    @Test
    void writesOfAGuestAreHeard() {
        world.assumeX86();
        int vm = world.fullVm();
        EventFd event = event();
        doorbell(event);
        int number = event.fd().lease().number();
        assertOk(kernel().ioeventfdAssign(vm, number, DOORBELL, 1, KernelBackend.IOEVENTFD_PIO, 0));
        // Twice: out to the doorbell, out to where the test waits.
        RealModeGuest guest = new RealModeGuest(
                world, vm, asm("out 0x90, al; out 0x82, al; out 0x90, al; out 0x90, al; out 0x82, al; hlt"));
        guest.runTo(RealModeGuest.READY);
        assertThat(poll()).isEqualTo(1);
        guest.runTo(RealModeGuest.READY);
        assertThat(poll()).isEqualTo(1);
        assertThat(poll()).isZero();
    }

    @Test
    void signalsBeforeTheRegistrationAreDelivered() {
        EventFd event = event();
        event.signal(2);
        loop.register(event, counts::add);
        assertThat(poll()).isEqualTo(1);
        assertThat(counts).containsExactly(2L);
    }

    @Test
    void semaphoreIsDeliveredOneByOne() {
        EventFd event = EventFd.adopt(kernel, world.own(kernel().eventfdCreateSemaphore()), Ownership.BORROWED);
        loop.register(event, counts::add);
        event.signal(2);
        assertThat(poll() + poll() + poll()).isEqualTo(2);
        assertThat(counts).containsExactly(1L, 1L);
    }

    private KernelBackend kernel() {
        return world.kernel();
    }

    @Test
    void eventfdsBeyondOneBatchAreDeliveredInTheNextRounds() {
        AtomicInteger[] got = new AtomicInteger[MANY];
        for (int i = 0; i < MANY; i++) {
            AtomicInteger mine = new AtomicInteger();
            got[i] = mine;
            EventFd event = event();
            loop.register(event, count -> mine.addAndGet((int) count));
            event.signal(i + 1);
        }
        int delivered = 0;
        for (int now = poll(); now > 0; now = poll()) {
            delivered += now;
        }
        assertThat(delivered).isEqualTo(MANY);
        for (int i = 0; i < MANY; i++) {
            assertThat(got[i]).hasValue(i + 1);
        }
    }

    @Test
    void pausedRegistrationKeepsItsSignalsUntilItIsResumed() {
        EventFd event = event();
        Registration registration = loop.register(event, counts::add);
        registration.pause();
        registration.pause();
        event.signal(5);
        assertThat(poll()).isZero();
        registration.resume();
        assertThat(poll()).isEqualTo(1);
        registration.resume();
        event.signal(6);
        assertThat(poll()).isEqualTo(1);
        assertThat(counts).containsExactly(5L, 6L);
    }

    @Test
    void closedRegistrationLeavesSignalsInTheEventfd() {
        EventFd event = event();
        Registration registration = loop.register(event, counts::add);
        event.signal(4);
        registration.close();
        registration.close();
        assertThat(poll()).isZero();
        assertThat(event.drain()).isEqualTo(4);
        assertThatThrownBy(registration::pause)
                .isInstanceOf(IllegalStateException.class)
                .hasMessageEndingWith("is closed: it was used after close(); create or open another");
        event.signal(7);
        loop.register(event, counts::add);
        assertThat(poll()).isEqualTo(1);
        assertThat(counts).containsExactly(7L);
    }

    @Test
    void closedEventfdGoesWithItsRegistration() {
        int number = kernel().eventfdCreate();
        EventFd event = EventFd.adopt(kernel, number, Ownership.OWNED);
        Registration registration = loop.register(event, counts::add);
        event.close();
        assertOk(kernel().eventfdSignal(number, 8));
        assertThat(poll()).isEqualTo(1);
        assertThat(counts).containsExactly(8L);
        registration.close();
        assertThat(kernel().eventfdSignal(number, 1)).isEqualTo(-Errno.EBADF.number());
    }

    @Test
    void eventfdIsRegisteredOnce() {
        EventFd event = event();
        loop.register(event, counts::add);
        refused(Errno.EEXIST, () -> loop.register(event, counts::add));
        event.signal();
        assertThat(poll()).isEqualTo(1);
    }

    @Test
    void handlerMayRegisterPauseAndClose() {
        EventFd first = event();
        EventFd second = event();
        EventFd third = event();
        List<Registration> made = new ArrayList<>();
        made.add(loop.register(first, count -> {
            made.get(0).pause();
            made.get(1).close();
            made.add(loop.register(third, counts::add));
        }));
        made.add(loop.register(second, counts::add));
        first.signal();
        second.signal(2);
        third.signal(3);
        assertThat(poll()).isEqualTo(1);
        assertThat(counts).isEmpty();
        first.signal();
        assertThat(poll()).isEqualTo(1);
        assertThat(counts).containsExactly(3L);
        assertThat(first.drain()).isEqualTo(1);
        assertThat(second.drain()).isEqualTo(2);
    }

    /** KVM takes each signal before an epoll set sees it. */
    @Test
    void signalsThatFeedAnIrqfdAreNotSeen() {
        int vm = world.splitVm();
        int fd = world.eventfd();
        EventFd event = EventFd.adopt(kernel, fd, Ownership.BORROWED);
        loop.register(event, counts::add);
        assertOk(kernel().irqfdAssign(vm, fd, 24));
        event.signal();
        assertThat(poll()).isZero();
        assertOk(kernel().irqfdDeassign(vm, fd, 24));
        event.signal(2);
        assertThat(poll()).isEqualTo(1);
        assertThat(counts).containsExactly(2L);
    }

    @Test
    void loopCanBeWaitedForInAnotherEpollSet() {
        EventFd event = event();
        loop.register(event, counts::add);
        try (var lease = loop.fd().lease()) {
            assertThat(kernel().fdWait(lease.number(), -1, 0)).isZero();
            event.signal();
            assertThat(kernel().fdWait(lease.number(), -1, 0)).isEqualTo(KernelBackend.READY_FD);
            assertThat(poll()).isEqualTo(1);
            assertThat(kernel().fdWait(lease.number(), -1, 0)).isZero();
        }
    }

    /** An edge is reported once: who waits in another epoll set must see that a round left some of them. */
    @Test
    void restOfARoundThatFailedIsSeenInAnotherEpollSet() {
        AtomicInteger rung = new AtomicInteger();
        try (EventLoop inner = EventLoop.create(kernel)) {
            for (int i = 0; i < 3; i++) {
                EventFd event = event();
                inner.registerDoorbell(event, () -> {
                    if (rung.incrementAndGet() == 1) {
                        throw new IllegalStateException("the first");
                    }
                });
                event.signal();
            }
            try (var lease = inner.fd().lease()) {
                assertThatThrownBy(() -> inner.pollNanos(0)).hasMessage("the first");
                assertThat(kernel().fdWait(lease.number(), -1, 0)).isEqualTo(KernelBackend.READY_FD);
                while (kernel().fdWait(lease.number(), -1, 0) == KernelBackend.READY_FD) {
                    inner.pollNanos(0);
                }
                assertThat(rung).hasValue(3);
            }
        }
    }

    @Test
    void pollEndsWithTheTime() {
        EventFd event = event();
        loop.register(event, counts::add);
        assertThat(loop.poll(Duration.ofNanos(1))).isZero();
        event.signal();
        assertThat(loop.poll(Duration.ofDays(200_000))).isEqualTo(1);
    }

    /** Signals while it waits, and close while it waits. */
    @Test
    void runDeliversUntilTheLoopIsClosed() throws Exception {
        EventFd event = event();
        CompletableFuture<Long> got = new CompletableFuture<>();
        loop.register(event, got::complete);
        CompletableFuture<Void> running = CompletableFuture.runAsync(loop::run);
        event.signal(9);
        assertThat(got.get()).isEqualTo(9);
        loop.close();
        running.get();
        event.signal();
        assertThat(event.drain()).isEqualTo(1);
    }
}
