/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.IntSupplier;
import org.junit.jupiter.api.Test;

/** Calls from several threads at once: each call is whole, and of those that exclude each other one wins. */
@Contract
class ThreadsContract extends KernelSuite {
    private static final int ROUNDS = Integer.getInteger("kvmirq.test.threads.rounds", 200);
    /** Beyond what the JVM opens, so that a number closed here is nobody else's. */
    private static final int HIGH = 5000;

    private interface Body {
        void run() throws Exception;
    }

    /** Runs them at the same time; what one of them throws comes out here. */
    private static void together(List<Body> bodies) {
        CyclicBarrier start = new CyclicBarrier(bodies.size());
        ExecutorService threads = Executors.newFixedThreadPool(bodies.size());
        try {
            List<Future<?>> running = new ArrayList<>();
            for (Body body : bodies) {
                running.add(threads.submit(() -> {
                    start.await();
                    body.run();
                    return null;
                }));
            }
            for (Future<?> future : running) {
                future.get();
            }
        } catch (InterruptedException | ExecutionException e) {
            throw new AssertionError(e);
        } finally {
            threads.shutdownNow();
        }
    }

    /** The results of {@code threads} threads that make the same call at the same time. */
    private static List<Integer> race(int threads, IntSupplier call) {
        List<Integer> results = Collections.synchronizedList(new ArrayList<>());
        together(Collections.nCopies(threads, () -> results.add(call.getAsInt())));
        return results;
    }

    /** One made a descriptor or got 0; the others were refused. */
    private static int winner(List<Integer> results, Errno others) {
        List<Integer> won = results.stream().filter(result -> result >= 0).toList();
        assertThat(won).hasSize(1);
        assertThat(results.stream().filter(result -> result < 0)).containsOnly(-others.number());
        return won.get(0);
    }

    // One wins

    @Test
    void oneThreadAssignsAnEventfd() {
        int vm = world.fullVm();
        for (int i = 0; i < ROUNDS; i++) {
            int event = world.eventfd();
            winner(race(3, () -> kernel.irqfdAssign(vm, event, 10)), Errno.EBUSY);
            world.close(event);
        }
    }

    @Test
    void oneThreadMakesTheIrqchip() {
        world.assumeFullIrqchip();
        for (int i = 0; i < 20; i++) {
            int vm = world.bareVm();
            winner(race(3, () -> kernel.irqchipCreate(vm)), Errno.EEXIST);
            world.close(vm);
        }
    }

    @Test
    void oneThreadMakesTheVcpu() {
        int vm = world.bareVm();
        for (int i = 0; i < 5; i++) {
            int id = i;
            world.own(winner(race(3, () -> libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, id)), Errno.EEXIST));
        }
    }

    @Test
    void oneThreadMakesTheDevice() {
        int vm = world.bareVm();
        for (int i = 0; i < 20; i++) {
            int device = world.own(winner(race(3, () -> kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO)), Errno.EBUSY));
            world.close(device);
        }
    }

    @Test
    void oneThreadTakesTheWrites() {
        int vm = world.bareVm();
        int event = world.eventfd();
        for (int i = 0; i < 30; i++) {
            long port = i;
            winner(
                    race(3, () -> kernel.ioeventfdAssign(vm, event, port, 1, KernelBackend.IOEVENTFD_PIO, 0)),
                    Errno.EEXIST);
            winner(
                    race(3, () -> kernel.ioeventfdDeassign(vm, event, port, 1, KernelBackend.IOEVENTFD_PIO, 0)),
                    Errno.ENOENT);
        }
    }

    // Nothing is lost

    @Test
    void everySignalIsCounted() {
        int event = world.eventfd();
        together(Collections.nCopies(3, () -> {
            for (int i = 0; i < 10_000; i++) {
                assertOk(kernel.eventfdSignal(event, 1));
            }
        }));
        assertThat(world.drain(event)).isEqualTo(30_000);
    }

    @Test
    void everyCountOfASemaphoreIsTakenByOneThread() {
        int event = world.own(kernel.eventfdCreateSemaphore());
        assertOk(kernel.eventfdSignal(event, 10_000));
        AtomicLong taken = new AtomicLong();
        together(Collections.nCopies(3, () -> {
            ByteBuffer count = Buffers.allocate(Long.BYTES);
            while (kernel.eventfdDrain(event, count) >= 0) {
                taken.addAndGet(count.getLong(0));
            }
        }));
        assertThat(taken.get()).isEqualTo(10_000);
    }

    @Test
    void signalDuringDeassignAndAssignIsInjectedOrKept() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int event = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        for (int i = 0; i < ROUNDS; i++) {
            world.forget(vcpu);
            together(List.of(() -> assertOk(kernel.eventfdSignal(event, 1)), () -> {
                assertOk(kernel.irqfdDeassign(vm, event, 30));
                assertOk(kernel.irqfdAssign(vm, event, 30));
            }));
            eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        }
    }

    @Test
    void signalDuringAChangeOfRoutesTakesTheOldOneOrTheNew() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int event = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        for (int i = 0; i < ROUNDS; i++) {
            int before = i % 2 == 0 ? VECTOR : VECTOR + 1;
            int after = i % 2 == 0 ? VECTOR + 1 : VECTOR;
            world.forget(vcpu);
            together(List.of(
                    () -> assertOk(kernel.eventfdSignal(event, 1)),
                    () -> assertOk(world.setMsiRoutes(vm, new MsiRoute(30, MSI_ADDRESS, after, 0)))));
            eventually("a vector is requested", () -> world.requested(vcpu, before) || world.requested(vcpu, after));
            assertThat(world.requested(vcpu, before) && world.requested(vcpu, after))
                    .isFalse();
        }
    }

    @Test
    void waiterWakesWhenAnotherThreadSignals() {
        int event = world.eventfd();
        int wake = world.eventfd();
        for (int i = 0; i < 20; i++) {
            int signalled = i % 2 == 0 ? event : wake;
            int ready = i % 2 == 0 ? KernelBackend.READY_FD : KernelBackend.READY_WAKE;
            together(List.of(
                    () -> assertThat(kernel.fdWait(event, wake, -1)).isEqualTo(ready),
                    () -> assertOk(kernel.eventfdSignal(signalled, 1))));
            assertThat(world.drain(signalled)).isEqualTo(1);
        }
    }

    /** Each thread has an errno of its own. */
    @Test
    void refusalsAreThoseOfTheThreadsOwnCalls() {
        int vm = world.fullVm();
        int event = world.eventfd();
        int notAnEventfd = world.epollFd();
        together(List.of(
                () -> repeat(() -> assertErrno(Errno.EBADF, kernel.irqfdAssign(vm, -1, 10))),
                () -> repeat(() -> assertErrno(Errno.EINVAL, kernel.irqfdAssign(vm, notAnEventfd, 10))),
                () -> repeat(() -> assertErrno(Errno.ENOTTY, kernel.irqfdAssign(event, event, 10))),
                () -> repeat(() -> assertErrno(Errno.EAGAIN, kernel.eventfdDrain(event, Buffers.allocate(8))))));
    }

    private static void repeat(Runnable call) {
        for (int i = 0; i < 2000; i++) {
            call.run();
        }
    }

    // As the kernel's own irqfd_test has it

    /**
     * One thread assigns an eventfd to a GSI of one VM, then to others of another VM, and makes a new one each round.
     * A second thread does as it likes with the same number and other GSIs of both VMs.
     */
    @Test
    void oneEventfdIsFoughtOverByTwoThreadsAndTwoVms() {
        int vm = world.fullVm();
        int other = world.fullVm();
        AtomicInteger shared = new AtomicInteger(highEventfd());
        AtomicBoolean over = new AtomicBoolean();
        together(List.of(
                () -> {
                    try {
                        for (int i = 0; i < 10 * ROUNDS; i++) {
                            round(vm, other, shared);
                        }
                    } finally {
                        over.set(true);
                    }
                },
                () -> {
                    while (!over.get()) {
                        disturb(vm, other, shared.get());
                    }
                }));
        assertOk(kernel.fdClose(shared.get()));
    }

    private int highEventfd() {
        int low = kernel.eventfdCreate();
        int high = libc.fcntl(low, Uapi.F_DUPFD_CLOEXEC, HIGH);
        assertOk(kernel.fdClose(low));
        assertOk(high);
        return high;
    }

    private void round(int vm, int other, AtomicInteger shared) {
        int event = shared.get();
        int first = kernel.irqfdAssign(vm, event, 10);
        assertThat(first).isIn(0, -Errno.EBUSY.number());
        if (first == 0) {
            assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm, event, 11));
            int elsewhere = kernel.irqfdAssign(other, event, 10);
            if (world.isSince(6, 17)) {
                assertErrno(Errno.EBUSY, elsewhere);
            } else {
                // Free for each VM, unless the other thread has it there.
                assertThat(elsewhere).isIn(0, -Errno.EBUSY.number());
            }
        }
        assertOk(kernel.irqfdDeassign(other, event, 10));
        assertOk(kernel.irqfdDeassign(vm, event, 10));
        assertOk(kernel.irqfdDeassign(vm, event, 11));
        assertOk(kernel.fdClose(event));
        shared.set(highEventfd());
    }

    private void disturb(int first, int other, int event) {
        for (int vm : new int[] {first, other}) {
            assertThat(kernel.irqfdAssign(vm, event, 12)).isIn(0, -Errno.EBUSY.number(), -Errno.EBADF.number());
            assertThat(kernel.irqfdDeassign(vm, event, 12)).isIn(0, -Errno.EBADF.number());
        }
    }

    @Test
    void haltedGuestIsWokenByASignal() {
        int vm = world.fullVm();
        int event = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        for (int i = 0; i < 20; i++) {
            together(List.of(
                    () -> {
                        guest.answer();
                    },
                    () -> assertOk(kernel.eventfdSignal(event, 1))));
        }
    }

    /** Whoever asks a vCPU while its guest runs, or halts, waits until it has left. */
    @Test
    void callOnVcpuWaitsForItsGuestToLeave() {
        int vm = world.fullVm();
        int event = world.eventfd();
        int inside = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        assertOk(kernel.ioeventfdAssign(vm, inside, RealModeGuest.READY, 1, KernelBackend.IOEVENTFD_PIO, 0));
        RealModeGuest guest = RealModeGuest.unstarted(world, vm);
        AtomicBoolean left = new AtomicBoolean();
        AtomicInteger asking = new AtomicInteger();
        together(List.of(
                () -> {
                    guest.runTo(RealModeGuest.IN_SERVICE);
                    left.set(true);
                },
                () -> {
                    assertThat(kernel.fdWait(inside, -1, -1)).isEqualTo(KernelBackend.READY_FD);
                    asking.incrementAndGet();
                    world.lapic(guest.vcpu());
                    assertThat(left.get() || guest.hasLeftBy(RealModeGuest.IN_SERVICE))
                            .as("the guest has left")
                            .isTrue();
                },
                () -> {
                    while (asking.get() == 0) {
                        Thread.onSpinWait();
                    }
                    world.fake().ifPresent(fake -> eventually("both calls wait", () -> fake.waiting() == 2));
                    assertOk(kernel.eventfdSignal(event, 1));
                }));
    }

    @Test
    void eventfdIsAssignedWhileSomebodyWaitsForItAndHearsNothingThen() {
        int vm = world.fullVm();
        int event = world.eventfd();
        int wake = world.eventfd();
        together(List.of(() -> assertThat(kernel.fdWait(event, wake, -1)).isEqualTo(KernelBackend.READY_WAKE), () -> {
            assertOk(kernel.irqfdAssign(vm, event, 30));
            assertOk(kernel.eventfdSignal(event, 1));
            assertOk(kernel.eventfdSignal(wake, 1));
        }));
    }
}
