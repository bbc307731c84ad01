/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** An eventfd; source: fs/eventfd.c. */
final class EventFile extends FakeFile {
    private static final long FULL = -1;

    private final boolean semaphore;
    private boolean blocking;
    private long count;
    /** Priority waiters: the first takes every signal before anybody else sees it. Kernels since 6.17 allow one. */
    private final List<FakeIrqfd> irqfds = new ArrayList<>(1);

    EventFile(FakeKernel kernel, long count, boolean semaphore, boolean blocking) {
        super(kernel);
        this.count = count;
        this.semaphore = semaphore;
        this.blocking = blocking;
    }

    @Override
    long write(long from, long length) {
        if (length < Long.BYTES) {
            return kernel.refuse(Rule.EVENTFD_LENGTH);
        }
        if (length > Long.BYTES) {
            if (kernel.profile().isSince(6, 9)) {
                return kernel.refuse(Rule.EVENTFD_LONG_WRITE);
            }
            kernel.note(Rule.EVENTFD_LONG_WRITE_TAKEN);
        }
        ByteBuffer memory = kernel.memory().at(from, Long.BYTES);
        if (memory == null) {
            return kernel.refuse(Rule.FAULT);
        }
        long add = memory.getLong(kernel.memory().offset(from));
        if (add == FULL) {
            return kernel.refuse(Rule.EVENTFD_ALL_ONES);
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
        return kernel.refuse(Rule.EVENTFD_FULL);
    }

    /** As the kernel itself does for an ioeventfd or a resample notification; saturates. */
    void signal(long add) {
        if (Long.compareUnsigned(FULL - count, add) <= 0) {
            kernel.note(Rule.EVENTFD_SATURATES);
            count = FULL;
        } else {
            count += add;
        }
        if (!irqfds.isEmpty()) {
            kernel.note(irqfds.size() > 1 ? Rule.IRQFD_FIRST_TAKES : Rule.IRQFD_CONSUMES);
            take();
            irqfds.get(0).raise();
        }
        kernel.time().changed();
    }

    /** @return the count before, or 1 of a semaphore's */
    private long take() {
        if (semaphore) {
            kernel.note(Rule.EVENTFD_SEMAPHORE);
        }
        long taken = semaphore && count != 0 ? 1 : count;
        count -= taken;
        return taken;
    }

    @Override
    long read(long to, long length) {
        if (length < Long.BYTES) {
            return kernel.refuse(Rule.EVENTFD_LENGTH);
        }
        if (count == 0 && blocking) {
            throw new NotModelledException("a read that blocks because an eventfd is empty");
        }
        return readNow(to);
    }

    /** With RWF_NOWAIT: never blocks. */
    long readNow(long to) {
        if (count == 0) {
            return kernel.refuse(Rule.EVENTFD_EMPTY);
        }
        long taken = take();
        ByteBuffer memory = kernel.memory().at(to, Long.BYTES);
        if (memory == null) {
            return kernel.refuse(Rule.FAULT);
        }
        memory.putLong(kernel.memory().offset(to), taken);
        return Long.BYTES;
    }

    /** The count has overflown, which only the kernel's own signals can do. */
    @Override
    boolean failed() {
        return count == FULL;
    }

    @Override
    boolean readable() {
        return count != 0;
    }

    @Override
    int statusFlags() {
        return Uapi.O_RDWR | (blocking ? 0 : Uapi.O_NONBLOCK);
    }

    @Override
    void setBlocking(boolean on) {
        blocking = on;
    }

    /** @return the rule that refuses {@code vm} another irqfd on it; empty for none */
    Optional<Rule> busyFor(VmInterrupts vm) {
        if (kernel.profile().irqfdHostWide()) {
            return irqfds.isEmpty() ? Optional.empty() : Optional.of(Rule.IRQFD_BUSY_HOST);
        }
        return irqfds.stream().anyMatch(irqfd -> irqfd.isOf(vm)) ? Optional.of(Rule.IRQFD_BUSY_VM) : Optional.empty();
    }

    /** Those it feeds now. */
    List<FakeIrqfd> irqfds() {
        return List.copyOf(irqfds);
    }

    void attach(FakeIrqfd attached) {
        irqfds.add(attached);
        if (count != 0) {
            kernel.note(Rule.IRQFD_PRE_SIGNALLED);
            attached.raiseLate();
        }
    }

    /** Takes what is left, as removing a priority waiter does. */
    void detach(FakeIrqfd detached) {
        if (irqfds.remove(detached) && count != 0) {
            kernel.note(Rule.IRQFD_DETACH_DRAINS);
            take();
        }
    }

    @Override
    void released() {
        for (FakeIrqfd irqfd : irqfds()) {
            kernel.note(Rule.IRQFD_GONE_WITH_EVENTFD);
            kernel.work().shutDown(irqfd);
        }
    }
}
