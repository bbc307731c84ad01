/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertErrno;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.uapi.IoUring;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The event loop over io_uring, where the kernel allows that, and else over epoll: io_uring/poll.c. */
@Contract
class UringLoopContract extends EventLoopContract {
    UringLoopContract(World world) {
        super(world);
    }

    @Override
    EventLoop open(Kernel of) {
        return EventLoop.withIoUring(of);
    }

    /** A poll that finds no room for its completion ends, and begins anew while the count is not 0. */
    @Override
    int mostOfManyRings() {
        return 2;
    }

    private long setUp(int entries, int flags) {
        Libc libc = world.kernel().libc();
        ByteBuffer parameters = Buffers.allocate(IoUring.Params.SIZE);
        parameters.putInt(IoUring.Params.FLAGS, flags);
        return libc.syscall(SystemCall.IO_URING_SETUP, entries, libc.addressOf(parameters), 0, 0);
    }

    /** The fake has none, and says so before anything changes. */
    @Test
    void loopSaysWhetherTheKernelHasIt() {
        long made = setUp(1, 0);
        if (made >= 0) {
            world.own((int) made);
        }
        assertThat(loop.usesIoUring()).isEqualTo(made >= 0 && world.isSince(6, 1));
        assertThat(loop.refusedIoUring().isEmpty()).isEqualTo(loop.usesIoUring());
        if (!world.kernel().isReal()) {
            assertErrno(Errno.ENOSYS, made);
            assertThat(loop.refusedIoUring().orElseThrow())
                    .hasMessageStartingWith("io_uring set up: ENOSYS (this kernel is built without io_uring");
        }
    }

    @Test
    void unknownFlagIsRefused() {
        assertErrno(world.kernel().isReal() ? Errno.EINVAL : Errno.ENOSYS, setUp(1, 1 << 31));
    }

    @Test
    @Override
    void loopCanBeWaitedForInAnotherEpollSet() {
        assertThatThrownBy(loop::fd)
                .isInstanceOf(IllegalStateException.class)
                .hasMessageEndingWith("use EventLoop.create for a loop inside of another epoll set");
    }
}
