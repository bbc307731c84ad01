/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** eventfd(2): fs/eventfd.c. */
@Contract
class EventFdContract {
    private final World world;
    private final KernelBackend kernel;

    EventFdContract(World world) {
        this.world = world;
        this.kernel = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    @Test
    void signalsAddUpAndOneDrainTakesThemAll() {
        int fd = world.eventfd();
        assertOk(kernel.eventfdSignal(fd, 1));
        assertOk(kernel.eventfdSignal(fd, 41));
        assertThat(world.drain(fd)).isEqualTo(42);
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(fd, Buffers.allocate(8)));
    }

    @Test
    void semaphoreGivesOneAtATime() {
        int fd = world.own(kernel.eventfdCreateSemaphore());
        assertOk(kernel.eventfdSignal(fd, 2));
        assertThat(world.drain(fd)).isEqualTo(1);
        assertThat(world.drain(fd)).isEqualTo(1);
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(fd, Buffers.allocate(8)));
    }

    @Test
    void countLooksLikeAnErrnoAndIsNone() {
        int fd = world.eventfd();
        assertOk(kernel.eventfdSignal(fd, -2));
        assertThat(world.drain(fd)).isEqualTo(-2);
    }

    /** As the kernel writes it, whatever order the buffer was left in. */
    @Test
    void countIsInNativeOrderInAnyBuffer() {
        int fd = world.eventfd();
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
        int fd = world.eventfd();
        assertErrno(Errno.EINVAL, kernel.eventfdSignal(fd, -1));
        assertOk(kernel.eventfdSignal(fd, -2));
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(fd, 1));
    }

    @Test
    void signalOfZeroIsNothing() {
        int fd = world.eventfd();
        assertOk(kernel.eventfdSignal(fd, 0));
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(fd, Buffers.allocate(8)));
    }

    @Test
    void duplicateIsTheSameCounter() {
        int fd = world.eventfd();
        int duplicate = world.own(kernel.fdDup(fd));
        assertOk(kernel.eventfdSignal(duplicate, 5));
        assertThat(world.drain(fd)).isEqualTo(5);
    }

    @Test
    void shortReadsAndWritesAreRefused() {
        int fd = world.eventfd();
        assertErrno(Errno.EINVAL, kernel.libc().write(fd, Buffers.allocate(4)));
        assertErrno(Errno.EINVAL, kernel.libc().read(fd, Buffers.allocate(4)));
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

    /** As somebody else would make it: O_NONBLOCK taken off again, FIONBIO of asm-generic/ioctls.h. */
    private int blockingEventfd() {
        int fd = world.eventfd();
        assertOk(kernel.libc().ioctl(fd, 0x5421, Buffers.allocate(4)));
        return fd;
    }

    @Test
    void waitSaysWhichIsReady() {
        int fd = world.eventfd();
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

    @Test
    void unknownIoctlIsNotATypewriter() {
        assertErrno(Errno.ENOTTY, kernel.libc().ioctl(world.eventfd(), Uapi.KVM_RUN, 0));
    }
}
