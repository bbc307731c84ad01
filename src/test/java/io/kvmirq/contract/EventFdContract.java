/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;

/** eventfd(2): fs/eventfd.c. */
@Contract
class EventFdContract extends KernelSuite {

    private int fd;

    @BeforeEach
    void setUp() {
        fd = world.eventfd();
    }

    @Test
    void signalsAddUpAndOneDrainTakesThemAll() {
        assertOk(kernel.eventfdSignal(fd, 1));
        assertOk(kernel.eventfdSignal(fd, 41));
        assertThat(world.drain(fd)).isEqualTo(42);
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(fd, Buffers.allocate(8)));
    }

    @Test
    void manyAreMadeUpToTheFirstThatIsRefused() {
        ByteBuffer numbers = Buffers.allocate(3 * Integer.BYTES);
        numbers.putInt(2 * Integer.BYTES, Integer.MAX_VALUE);
        assertThat(kernel.eventfdsCreate(numbers, 2)).isEqualTo(2);
        int first = world.own(numbers.getInt(0));
        int second = world.own(numbers.getInt(Integer.BYTES));
        assertOk(kernel.eventfdSignal(first, 3));
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(second, Buffers.allocate(8)));
        assertThat(world.drain(first)).isEqualTo(3);
        assertThat(numbers.getInt(2 * Integer.BYTES)).isEqualTo(Integer.MAX_VALUE);
        assertThat(kernel.eventfdsCreate(numbers, 0)).isZero();
        assertIllegalArgument(
                () -> kernel.eventfdsCreate(numbers, 4), "buffer has 12 bytes: this call needs at least 16");
        assertIllegalArgument(() -> kernel.eventfdsCreate(numbers, -1), "count -1 is negative");
    }

    @Test
    void semaphoreGivesOneAtATime() {
        int fd = world.own(kernel.eventfdCreateSemaphore());
        assertOk(kernel.eventfdSignal(fd, 2));
        assertThat(world.drain(fd)).isEqualTo(1);
        assertThat(world.drain(fd)).isEqualTo(1);
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(fd, Buffers.allocate(8)));
    }

    /** As the kernel writes it, whatever order the buffer was left in. */
    @Test
    void countIsInNativeOrderInAnyBuffer() {
        ByteBuffer foreign = ByteBuffer.allocateDirect(8).order(ByteOrder.BIG_ENDIAN);
        assertOk(kernel.eventfdSignal(fd, 5));
        assertOk(kernel.eventfdDrain(fd, foreign));
        assertThat(foreign.order(ByteOrder.nativeOrder()).getLong(0)).isEqualTo(5);
        assertOk(kernel.eventfdSignal(fd, 6));
        assertOk(kernel.eventfdDrainForeign(fd, foreign.order(ByteOrder.BIG_ENDIAN)));
        assertThat(foreign.order(ByteOrder.nativeOrder()).getLong(0)).isEqualTo(6);
    }

    @Test
    void countEndsBelowAllOnes() {
        assertErrno(Errno.EINVAL, kernel.eventfdSignal(fd, -1));
        assertOk(kernel.eventfdSignal(fd, -2));
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(fd, 1));
    }

    @Test
    void signalOfZeroIsNothing() {
        assertOk(kernel.eventfdSignal(fd, 0));
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(fd, Buffers.allocate(8)));
    }

    @Test
    void foreignDrainNeverBlocks() {
        int fd = blockingEventfd();
        ByteBuffer count = Buffers.allocate(8);
        assertErrno(Errno.EAGAIN, kernel.eventfdDrainForeign(fd, count));
        assertOk(kernel.eventfdSignal(fd, 3));
        assertOk(kernel.eventfdDrainForeign(fd, count));
        assertThat(count.getLong(0)).isEqualTo(3);
    }

    @Test
    void blockingReadsWaitForTheSignalsOfAnotherThread() throws Exception {
        int there = blockingEventfd();
        int back = blockingEventfd();
        int rounds = 100;
        CompletableFuture<Void> other = CompletableFuture.runAsync(() -> {
            ByteBuffer count = Buffers.allocate(8);
            for (int i = 1; i <= rounds; i++) {
                assertThat(libc.read(there, count)).isEqualTo(8);
                assertOk(kernel.eventfdSignal(back, count.getLong(0) + 1));
            }
        });
        ByteBuffer count = Buffers.allocate(8);
        for (int i = 1; i <= rounds; i++) {
            assertOk(kernel.eventfdSignal(there, i));
            assertThat(libc.read(back, count)).isEqualTo(8);
            assertThat(count.getLong(0)).isEqualTo(i + 1);
        }
        other.get();
    }

    @RepeatedTest(20)
    void blockingWriteWaitsForARead() throws Exception {
        int fd = blockingEventfd();
        assertOk(kernel.eventfdSignal(fd, -2));
        CompletableFuture<Long> writer = CompletableFuture.supplyAsync(
                () -> libc.write(fd, Buffers.allocate(8).putLong(0, 5)));
        // It is full until it is read, so that the write cannot have returned.
        assertThat(writer).isNotDone();
        world.fake().ifPresent(fake -> eventually("the write waits", () -> fake.waiting() == 1));
        ByteBuffer count = Buffers.allocate(8);
        assertThat(libc.read(fd, count)).isEqualTo(8);
        assertThat(count.getLong(0)).isEqualTo(-2);
        assertThat(writer.get()).isEqualTo(8);
        assertThat(libc.read(fd, count)).isEqualTo(8);
        assertThat(count.getLong(0)).isEqualTo(5);
    }

    @Test
    void flagsAreSetByFcntl() {
        assertOk(libc.fcntl(fd, Uapi.F_SETFL, 0));
        assertThat(libc.fcntl(fd, Uapi.F_GETFL, 0)).isEqualTo(Uapi.O_RDWR);
        assertOk(libc.fcntl(fd, Uapi.F_SETFL, Uapi.O_NONBLOCK | Uapi.O_RDWR | Uapi.O_CLOEXEC));
        assertThat(libc.fcntl(fd, Uapi.F_GETFL, 0)).isEqualTo(Uapi.O_RDWR | Uapi.O_NONBLOCK);
        int direct = world.isArm64() ? 0200000 : 040000;
        assertErrno(Errno.EINVAL, libc.fcntl(fd, Uapi.F_SETFL, direct));
        assertErrno(Errno.EAGAIN, libc.read(fd, Buffers.allocate(8)));
    }

    /** As somebody else would make it: O_NONBLOCK taken off again, FIONBIO of asm-generic/ioctls.h. */
    private int blockingEventfd() {
        int fd = world.eventfd();
        assertOk(libc.ioctl(fd, 0x5421, Buffers.allocate(4)));
        return fd;
    }

    @Test
    void waitSaysWhichIsReady() {
        int wake = world.eventfd();
        assertThat(kernel.fdWait(fd, wake, 0)).isZero();
        assertOk(kernel.eventfdSignal(fd, 1));
        assertThat(kernel.fdWait(fd, wake, -1)).isEqualTo(KernelBackend.READY_FD);
        assertOk(kernel.eventfdSignal(wake, 1));
        assertThat(kernel.fdWait(fd, wake, -1)).isEqualTo(KernelBackend.READY_FD | KernelBackend.READY_WAKE);
        assertThat(kernel.fdWait(fd, -1, -1)).isEqualTo(KernelBackend.READY_FD);
    }

    @Test
    void notOpenIsBadDescriptor() {
        assertErrno(Errno.EBADF, kernel.eventfdSignal(-1, 1));
        assertErrno(Errno.EBADF, kernel.eventfdDrain(-1, Buffers.allocate(8)));
        assertErrno(Errno.EBADF, kernel.fdClose(-1));
        assertErrno(Errno.EBADF, kernel.fdDup(-1));
        assertErrno(Errno.EBADF, kernel.fdWait(1 << 20, -1, 0));
    }

    // The descriptor

    @Test
    void descriptorIsNonblockingClosedOnExecAndForBothDirections() {
        assertThat(libc.fcntl(fd, Uapi.F_GETFL, 0)).isEqualTo(Uapi.O_RDWR | Uapi.O_NONBLOCK);
        assertThat(libc.fcntl(fd, Uapi.F_GETFD, 0)).isEqualTo(Uapi.FD_CLOEXEC);
        int semaphore = world.own(kernel.eventfdCreateSemaphore());
        assertThat(libc.fcntl(semaphore, Uapi.F_GETFL, 0)).isEqualTo(Uapi.O_RDWR | Uapi.O_NONBLOCK);
        assertThat(libc.fcntl(semaphore, Uapi.F_GETFD, 0)).isEqualTo(Uapi.FD_CLOEXEC);
    }

    @Test
    void unknownFlagsAreInvalid() {
        assertErrno(Errno.EINVAL, libc.eventfd(0, 2));
    }

    // Reading and writing

    @Test
    void readsAndWritesTakeEightBytes() {
        assertThat(libc.write(fd, Buffers.allocate(8).putLong(0, 3))).isEqualTo(8);
        ByteBuffer longer = Buffers.allocate(16);
        assertThat(libc.read(fd, longer)).isEqualTo(8);
        assertThat(longer.getLong(0)).isEqualTo(3);
        assertThat(longer.getLong(8)).isZero();
    }

    @Test
    void lengthIsCheckedBeforeTheValueAndTheValueBeforeTheRoom() {
        assertOk(kernel.eventfdSignal(fd, -2));
        assertErrno(Errno.EINVAL, libc.write(fd, Buffers.allocate(4)));
        assertErrno(Errno.EINVAL, kernel.eventfdSignal(fd, -1));
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(fd, 1));
        assertErrno(Errno.EINVAL, libc.read(world.eventfd(), Buffers.allocate(4)));
    }

    @Test
    void refusedSignalLeavesTheCount() {
        assertOk(kernel.eventfdSignal(fd, 5));
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(fd, -2));
        assertErrno(Errno.EINVAL, kernel.eventfdSignal(fd, -1));
        assertThat(world.drain(fd)).isEqualTo(5);
    }

    @Test
    void fullCounterTakesZeroAndAfterADrainAnything() {
        assertOk(kernel.eventfdSignal(fd, -2));
        assertOk(kernel.eventfdSignal(fd, 0));
        assertThat(world.drain(fd)).isEqualTo(-2);
        assertOk(kernel.eventfdSignal(fd, -2));
    }

    @Test
    void fullSemaphoreTakesWhatOneDrainMadeRoomFor() {
        int fd = world.own(kernel.eventfdCreateSemaphore());
        assertOk(kernel.eventfdSignal(fd, -2));
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(fd, 1));
        assertThat(world.drain(fd)).isEqualTo(1);
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(fd, 2));
        assertOk(kernel.eventfdSignal(fd, 1));
    }

    @Test
    void thereIsNoPlaceToSeekTo() {
        assertOk(kernel.eventfdSignal(fd, 1));
        assertErrno(Errno.ESPIPE, libc.pread(fd, Buffers.allocate(8), 0));
        assertErrno(Errno.ESPIPE, libc.pwrite(fd, Buffers.allocate(8), 0));
        assertErrno(Errno.EINVAL, libc.pread(fd, Buffers.allocate(8), -1));
        assertErrno(Errno.EINVAL, libc.pread(-1, Buffers.allocate(8), -1));
        assertErrno(Errno.EINVAL, libc.pwrite(-1, Buffers.allocate(8), -1));
        assertErrno(Errno.EBADF, libc.pread(-1, Buffers.allocate(8), 0));
        assertErrno(Errno.EBADF, libc.pwrite(-1, Buffers.allocate(8), 0));
        assertThat(world.drain(fd)).isEqualTo(1);
    }

    @Test
    void duplicateKeepsTheCountWhenTheFirstIsClosed() {
        int duplicate = world.own(kernel.fdDup(fd));
        assertOk(kernel.eventfdSignal(fd, 9));
        world.close(fd);
        assertThat(world.drain(duplicate)).isEqualTo(9);
    }

    @Test
    void drainedOneIsNotReadyAndASemaphoreIsUntilItsLast() {
        int semaphore = world.own(kernel.eventfdCreateSemaphore());
        assertOk(kernel.eventfdSignal(fd, 2));
        assertOk(kernel.eventfdSignal(semaphore, 2));
        world.drain(fd);
        world.drain(semaphore);
        assertThat(kernel.fdWait(fd, semaphore, 0)).isEqualTo(KernelBackend.READY_WAKE);
        world.drain(semaphore);
        assertThat(kernel.fdWait(fd, semaphore, 0)).isZero();
    }

    @Test
    void requestsOnOneAreNotForATypewriter() {
        assertErrno(Errno.ENOTTY, kernel.irqfdAssign(fd, fd, 0));
        assertErrno(Errno.ENOTTY, kernel.capabilityCheck(fd, Uapi.KVM_CAP_IRQFD));
        assertErrno(Errno.ENOTTY, kernel.vmCreate(fd, 0));
    }
}
