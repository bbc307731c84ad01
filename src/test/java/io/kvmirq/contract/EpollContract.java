/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** epoll(7), as far as an event loop over eventfds needs it: fs/eventpoll.c. */
@Contract
class EpollContract extends KernelSuite {
    private static final long NOWHERE = 8;
    /** The lowest address of the kernel's half. */
    private static final long OF_THE_KERNEL = 0xffff800000000000L;

    private static final int NOT_OPEN = 1 << 20;
    private static final int MANY = 8;
    private static final int IN = Epoll.EPOLLIN;
    private static final int OUT = Epoll.EPOLLOUT;
    private static final int EDGE = Epoll.EPOLLET;
    private static final int NO_OPERATION = 4;

    private int control(int set, int operation, int fd, int events, long data) {
        ByteBuffer event =
                Buffers.allocate(Epoll.SIZE).putInt(Epoll.EVENTS, events).putLong(Epoll.DATA, data);
        try {
            return libc.epollCtl(set, operation, fd, libc.addressOf(event));
        } finally {
            Reference.reachabilityFence(event);
        }
    }

    private int add(int set, int fd, int events) {
        return control(set, Epoll.EPOLL_CTL_ADD, fd, events, fd);
    }

    private int modify(int set, int fd, int events) {
        return control(set, Epoll.EPOLL_CTL_MOD, fd, events, fd);
    }

    private int delete(int set, int fd) {
        return libc.epollCtl(set, Epoll.EPOLL_CTL_DEL, fd, 0);
    }

    private record Event(long data, int events) {}

    /** The events that are ready now. */
    private List<Event> ready(int set, int max) {
        return wait(set, max, 0);
    }

    private List<Event> ready(int set) {
        return ready(set, MANY);
    }

    private List<Event> wait(int set, int max, int timeout) {
        ByteBuffer events = Buffers.allocate(max * Epoll.SIZE);
        int count = libc.epollWait(set, libc.addressOf(events), max, timeout);
        assertOk(count);
        List<Event> list = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int at = i * Epoll.SIZE;
            list.add(new Event(events.getLong(at + Epoll.DATA), events.getInt(at + Epoll.EVENTS)));
        }
        return list;
    }

    private int signalled() {
        int fd = world.eventfd();
        assertOk(kernel.eventfdSignal(fd, 1));
        return fd;
    }

    /** A set that holds one eventfd. */
    private int setOf(int fd, int events) {
        int set = world.epollFd();
        assertOk(add(set, fd, events));
        return set;
    }

    // Level, edge, one shot

    @Test
    void entryIsReportedForAsLongAsItIsReady() {
        int fd = world.eventfd();
        int set = setOf(fd, IN);
        assertThat(ready(set)).isEmpty();
        assertOk(kernel.eventfdSignal(fd, 1));
        assertThat(ready(set)).containsExactly(new Event(fd, IN));
        assertThat(ready(set)).containsExactly(new Event(fd, IN));
        world.drain(fd);
        assertThat(ready(set)).isEmpty();
    }

    @Test
    void edgeIsReportedOnceForEachSignalThatWasNotSeen() {
        int fd = world.eventfd();
        int set = setOf(fd, IN | EDGE);
        assertOk(kernel.eventfdSignal(fd, 1));
        assertOk(kernel.eventfdSignal(fd, 1));
        assertThat(ready(set)).containsExactly(new Event(fd, IN));
        assertThat(ready(set)).isEmpty();
        assertOk(kernel.eventfdSignal(fd, 0));
        assertThat(ready(set)).as("a signal of 0 wakes, too").containsExactly(new Event(fd, IN));
        world.drain(fd);
        assertOk(kernel.eventfdSignal(fd, 0));
        assertThat(ready(set)).as("nothing to read").isEmpty();
    }

    @Test
    void edgeThatWasReadBeforeTheWaitIsNotReported() {
        int fd = world.eventfd();
        int set = setOf(fd, IN | EDGE);
        assertOk(kernel.eventfdSignal(fd, 1));
        world.drain(fd);
        assertThat(ready(set)).isEmpty();
        assertOk(kernel.eventfdSignal(fd, 1));
        assertThat(ready(set)).containsExactly(new Event(fd, IN));
    }

    @Test
    void modifiedEntryWaitsForTheNewEventsAndHasTheNewData() {
        int fd = world.eventfd();
        int set = setOf(fd, IN);
        assertOk(control(set, Epoll.EPOLL_CTL_MOD, fd, OUT, -1));
        assertThat(ready(set)).containsExactly(new Event(-1, OUT));
        assertOk(modify(set, fd, 0));
        assertThat(ready(set)).isEmpty();
    }

    // Several

    @Test
    void signalEndsAWaitOfAnyLength() {
        int fd = world.eventfd();
        int set = setOf(fd, IN);
        CompletableFuture<List<Event>> waiter = waiterOn(set);
        assertOk(kernel.eventfdSignal(fd, 1));
        assertThat(waiter.join()).containsExactly(new Event(fd, IN));
        world.drain(fd);
        assertThat(wait(set, 1, 1)).as("nothing within a millisecond").isEmpty();
    }

    @Test
    void closingTheSetLeavesAWaitOnIt() {
        int fd = world.eventfd();
        int set = setOf(fd, IN);
        CompletableFuture<List<Event>> waiter = waiterOn(set);
        world.close(set);
        assertOk(kernel.eventfdSignal(fd, 1));
        assertThat(waiter.join()).containsExactly(new Event(fd, IN));
    }

    /** A call that waits for one event until there is one: it waits already. */
    private CompletableFuture<List<Event>> waiterOn(int set) {
        Waits.assumeSeen(world);
        CompletableFuture<List<Event>> waiter = CompletableFuture.supplyAsync(() -> wait(set, 1, -1));
        eventually("a call waits", () -> Waits.isOn(world, set));
        return waiter;
    }

    @Test
    void setIsReadyWhenAnEntryIs() {
        int fd = world.eventfd();
        int inner = setOf(fd, IN);
        int outer = setOf(inner, IN | EDGE);
        assertThat(ready(outer)).isEmpty();
        assertOk(kernel.eventfdSignal(fd, 1));
        assertThat(ready(outer)).containsExactly(new Event(inner, IN));
        assertThat(ready(outer)).isEmpty();
        assertThat(kernel.fdWait(inner, -1, 0)).isEqualTo(KernelBackend.READY_FD);
        world.drain(fd);
        assertThat(kernel.fdWait(inner, -1, 0)).isZero();
    }

    // Lifetimes

    @Test
    void entryIsAFileUnderADescriptor() {
        int fd = signalled();
        int set = setOf(fd, IN);
        int duplicate = world.own(kernel.fdDup(fd));
        assertErrno(Errno.EEXIST, add(set, fd, IN));
        assertErrno(Errno.ENOENT, delete(set, duplicate));
        assertOk(add(set, duplicate, IN));
        assertThat(ready(set)).containsExactly(new Event(fd, IN), new Event(duplicate, IN));
    }

    @Test
    void entryOutlivesItsDescriptorWhileTheFileHasAnother() {
        int fd = signalled();
        int set = setOf(fd, IN);
        int duplicate = world.own(kernel.fdDup(fd));
        world.close(fd);
        assertThat(ready(set)).containsExactly(new Event(fd, IN));
        assertErrno(Errno.EBADF, delete(set, fd));
        assertErrno(Errno.ENOENT, delete(set, duplicate));
        world.close(duplicate);
        assertThat(ready(set)).isEmpty();
    }

    @Test
    void numberOfAClosedFileIsNotItsEntry() {
        int fd = signalled();
        int set = setOf(fd, IN);
        int duplicate = world.own(kernel.fdDup(fd));
        world.close(fd);
        int other = world.own(libc.fcntl(set, Uapi.F_DUPFD_CLOEXEC, fd));
        assertThat(ready(set)).containsExactly(new Event(fd, IN));
        world.close(other);
        world.close(duplicate);
        assertThat(ready(set)).isEmpty();
    }

    // Refusals, in the kernel's order

    @Test
    void createTakesOneFlag() {
        assertErrno(Errno.EINVAL, libc.epollCreate(1));
        world.own(libc.epollCreate(Uapi.EPOLL_CLOEXEC));
    }

    @Test
    void eventIsReadBeforeTheDescriptorsAreLookedAt() {
        assertErrno(Errno.EFAULT, libc.epollCtl(NOT_OPEN, Epoll.EPOLL_CTL_ADD, NOT_OPEN, NOWHERE));
        assertErrno(Errno.EBADF, libc.epollCtl(NOT_OPEN, Epoll.EPOLL_CTL_DEL, NOT_OPEN, NOWHERE));
        assertErrno(Errno.EFAULT, libc.epollCtl(NOT_OPEN, NO_OPERATION, NOT_OPEN, NOWHERE));
    }

    @Test
    void bothDescriptorsAreOpenBeforeAnythingIsSaidOfThem() {
        int vm = world.bareVm();
        int event = world.eventfd();
        assertErrno(Errno.EBADF, add(NOT_OPEN, vm, IN));
        assertErrno(Errno.EBADF, add(event, NOT_OPEN, IN));
    }

    @Test
    void filesOfKvmCannotBeWaitedFor() {
        int set = world.epollFd();
        int vm = world.bareVm();
        assertErrno(Errno.EPERM, add(set, vm, IN));
        assertErrno(Errno.EPERM, add(set, world.vcpu(vm, 0), IN));
        assertErrno(Errno.EPERM, add(set, world.kvm(), IN));
        assertErrno(Errno.EPERM, delete(world.eventfd(), vm));
    }

    @Test
    void setHoldsNotItselfAndNothingElseIsASet() {
        int set = world.epollFd();
        int event = world.eventfd();
        assertErrno(Errno.EINVAL, add(set, set, IN));
        assertErrno(Errno.EINVAL, add(event, set, IN));
        assertErrno(Errno.EINVAL, delete(event, world.eventfd()));
    }

    @Test
    void setsInOneAnotherAreALoop() {
        int inner = world.epollFd();
        int outer = setOf(inner, IN);
        assertErrno(Errno.ELOOP, add(inner, outer, IN));
        assertErrno(Errno.ENOENT, modify(inner, outer, IN));
    }

    @Test
    void operationIsLookedAtLast() {
        int set = world.epollFd();
        int event = world.eventfd();
        assertErrno(Errno.EINVAL, control(set, NO_OPERATION, event, IN, 0));
        assertErrno(Errno.EPERM, control(set, NO_OPERATION, world.bareVm(), IN, 0));
        assertErrno(Errno.ENOENT, modify(set, event, IN));
        assertErrno(Errno.ENOENT, delete(set, event));
    }

    @Test
    void waitNeedsRoomForAnEvent() {
        int set = world.epollFd();
        for (int max : new int[] {0, -1, Integer.MAX_VALUE}) {
            assertErrno(Errno.EINVAL, libc.epollWait(set, NOWHERE, max, 0));
        }
        assertErrno(Errno.EINVAL, libc.epollWait(world.eventfd(), NOWHERE, 1, 0));
        assertErrno(Errno.EBADF, libc.epollWait(NOT_OPEN, NOWHERE, 1, 0));
        Errno first = world.isSince(6, 15) ? Errno.EBADF : Errno.EINVAL;
        assertErrno(first, libc.epollWait(NOT_OPEN, NOWHERE, 0, 0));
    }

    @Test
    void eventThatCannotBeWrittenStaysReady() {
        int fd = signalled();
        int set = setOf(fd, IN | EDGE);
        assertErrno(Errno.EFAULT, libc.epollWait(set, NOWHERE, 1, 0));
        assertThat(ready(set)).containsExactly(new Event(fd, IN));
    }

    @Test
    void eventsBeforeOneThatCannotBeWrittenAreReported() {
        int first = signalled();
        int second = signalled();
        int set = setOf(first, IN);
        assertOk(add(set, second, IN));
        long last = world.pageBeforeNothing() + World.PAGE - Epoll.SIZE;
        assertThat(libc.epollWait(set, last, 2, 0)).isEqualTo(1);
        assertThat(libc.view(last, Epoll.SIZE).getLong(Epoll.DATA)).isEqualTo(first);
        assertThat(ready(set)).containsExactly(new Event(second, IN), new Event(first, IN));
    }

    @Test
    void waitOnAnEmptySetTouchesNoMemory() {
        assertThat(libc.epollWait(world.epollFd(), NOWHERE, 1, 0)).isZero();
    }

    @Test
    void waitRefusesAddressesOfTheKernel() {
        int set = world.epollFd();
        int max = Integer.MAX_VALUE / Epoll.SIZE;
        assertErrno(Errno.EFAULT, libc.epollWait(set, OF_THE_KERNEL, 1, 0));
        assertErrno(Errno.EFAULT, libc.epollWait(set, -Epoll.SIZE, max, 0));
        assertErrno(Errno.EINVAL, libc.epollWait(set, OF_THE_KERNEL, 0, 0));
        assertErrno(Errno.EFAULT, libc.epollWait(world.eventfd(), OF_THE_KERNEL, 1, 0));
        Errno first = world.isSince(6, 15) ? Errno.EBADF : Errno.EFAULT;
        assertErrno(first, libc.epollWait(NOT_OPEN, OF_THE_KERNEL, 1, 0));
    }
}
