/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** An eventfd; source: fs/eventfd.c. */
final class EventFile extends FakeFile {
    private static final long FULL = -1;

    private final FakeKernel kernel;
    private final boolean semaphore;
    private boolean blocking;
    private long count;
    /** Priority waiters: the first takes every signal before anybody else sees it. Kernels since 6.17 allow one. */
    private final List<FakeIrqfd> irqfds = new ArrayList<>(1);

    EventFile(FakeKernel kernel, long count, boolean semaphore, boolean blocking) {
        this.kernel = kernel;
        this.count = count;
        this.semaphore = semaphore;
        this.blocking = blocking;
    }

    @Override
    long write(long from, long length) {
        boolean longer = length > Long.BYTES && kernel.profile().isSince(6, 9);
        if (length < Long.BYTES || longer) {
            return -Errno.EINVAL.number();
        }
        ByteBuffer memory = kernel.memory().at(from, Long.BYTES);
        if (memory == null) {
            return -Errno.EFAULT.number();
        }
        long add = memory.getLong(kernel.memory().offset(from));
        if (add == FULL) {
            return -Errno.EINVAL.number();
        }
        if (Long.compareUnsigned(FULL - count, add) <= 0) {
            return full();
        }
        signal(add);
        return Long.BYTES;
    }

    private long full() {
        if (blocking) {
            throw new NotModelledException("a write that blocks because an eventfd is full");
        }
        return -Errno.EAGAIN.number();
    }

    /** As the kernel itself does for an ioeventfd or a resample notification; saturates. */
    void signal(long add) {
        count = Long.compareUnsigned(FULL - 1 - count, add) < 0 ? FULL - 1 : count + add;
        if (!irqfds.isEmpty()) {
            take();
            irqfds.get(0).raise();
        }
        kernel.changed();
    }

    /** @return the count before, or 1 of a semaphore's */
    private long take() {
        long taken = semaphore && count != 0 ? 1 : count;
        count -= taken;
        return taken;
    }

    @Override
    long read(long to, long length) {
        if (length < Long.BYTES) {
            return -Errno.EINVAL.number();
        }
        if (count == 0) {
            if (blocking) {
                throw new NotModelledException("a read that blocks because an eventfd is empty");
            }
            return -Errno.EAGAIN.number();
        }
        return readNow(to);
    }

    /** With RWF_NOWAIT: never blocks. */
    long readNow(long to) {
        if (count == 0) {
            return -Errno.EAGAIN.number();
        }
        long taken = take();
        ByteBuffer memory = kernel.memory().at(to, Long.BYTES);
        if (memory == null) {
            return -Errno.EFAULT.number();
        }
        memory.putLong(kernel.memory().offset(to), taken);
        return Long.BYTES;
    }

    @Override
    boolean readable() {
        return count != 0;
    }

    @Override
    void setBlocking(boolean on) {
        blocking = on;
    }

    /** Whether another irqfd on it is refused to {@code vm}. */
    boolean isBusy(FakeVm vm) {
        return kernel.profile().irqfdHostWide()
                ? !irqfds.isEmpty()
                : irqfds.stream().anyMatch(irqfd -> irqfd.isOf(vm));
    }

    void attach(FakeIrqfd attached) {
        irqfds.add(attached);
        if (count != 0) {
            // Raised once, the count left as it is.
            attached.raise();
        }
    }

    /** Takes what is left, as removing a priority waiter does. */
    void detach(FakeIrqfd detached) {
        if (irqfds.remove(detached)) {
            take();
        }
    }

    @Override
    void released() {
        List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
    }
}
