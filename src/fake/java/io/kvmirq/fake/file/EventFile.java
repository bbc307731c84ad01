/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.uapi.Epoll;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** An eventfd; source: fs/eventfd.c. */
public final class EventFile extends FakeFile implements MessageSource {
    private static final long FULL = -1;

    private final boolean semaphore;
    private long count;
    /** Priority waiters, since 6.17 at most one. The first consumes every signal before other waiters. */
    private final List<EventWaiter> irqfds = new ArrayList<>(1);

    private final Bypass bypass;
    private final List<EventReader> readers = new ArrayList<>(0);
    private final Ledger ledger;
    /** The messages in the count; created for the first message. */
    private @Nullable MessagePlace counted;

    private boolean hadIrqfd;
    /** The ledger's id of this eventfd as a source of messages. */
    private int source = Ledger.UNKNOWN;

    public EventFile(KernelOfFile host, long count, boolean semaphore, boolean blocking) {
        super(host, READ | WRITE | CAN_READ | CAN_WRITE);
        this.count = count;
        this.semaphore = semaphore;
        setBlocking(blocking);
        this.bypass = new Bypass(host);
        this.ledger = host.ledger();
    }

    public Bypass bypass() {
        return bypass;
    }

    @Override
    public long write(long from, long length) {
        if (length < Long.BYTES) {
            return host.refuse(FileAnswer.EVENTFD_LENGTH);
        }
        if (length > Long.BYTES) {
            if (host.build().isSince(6, 9)) {
                return host.refuse(FileAnswer.EVENTFD_LONG_WRITE);
            }
            host.note(FileAnswer.EVENTFD_LONG_WRITE_TAKEN);
        }
        ByteBuffer memory = host.memory().at(from, Long.BYTES);
        if (memory == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        long add = memory.getLong(host.memory().offsetInFound(from));
        if (add == FULL) {
            return host.refuse(FileAnswer.EVENTFD_ALL_ONES);
        }
        if (!fits(add) && !isBlocking()) {
            return host.refuse(FileAnswer.EVENTFD_FULL);
        }
        while (!fits(add)) {
            host.note(FileAnswer.EVENTFD_BLOCKS);
            host.time().awaitChange();
        }
        if (add != 0) {
            ledger.signal(source(), this);
        }
        signal(add);
        return Long.BYTES;
    }

    private boolean fits(long add) {
        return Long.compareUnsigned(FULL - count, add) > 0;
    }

    /** Signals the eventfd for a program, or for a guest's ioeventfd: the ledger counts a new message. */
    public void signalFirst(long add) {
        if (add != 0) {
            ledger.signal(source(), this);
        }
        signal(add);
    }

    private int source() {
        if (source == Ledger.UNKNOWN) {
            source = ledger.register(this);
        }
        return source;
    }

    /** Signals the eventfd as the kernel does for a device or a resamplefd: the count stops at its maximum. */
    public void signal(long add) {
        if (!fits(add)) {
            host.note(FileAnswer.EVENTFD_SATURATES);
            count = FULL;
        } else {
            count += add;
        }
        if (!irqfds.isEmpty()) {
            host.note(irqfds.size() > 1 ? IrqfdAnswer.IRQFD_FIRST_TAKES : IrqfdAnswer.IRQFD_CONSUMES);
            take();
            if (count == 0 && counted != null) {
                ledger.pick(counted, 0);
            }
            irqfds.get(0).raise();
            ledger.settle("its irqfd raised nothing");
        } else {
            if (!readers.isEmpty()) {
                host.note(VfioIrqAnswer.VFIO_UNMASK_READS);
                take();
                if (count == 0 && counted != null) {
                    ledger.pick(counted, 0);
                }
                ledger.becomeLevel(); // a reader may signal another eventfd, whose messages are separate
                for (int i = 0; i < readers.size(); i++) {
                    host.work().read(readers.get(i));
                }
            }
            waits();
            wake(Epoll.EPOLLIN);
        }
        host.time().changed();
    }

    /** Puts the messages in the ledger's hand into the count, unless the eventfd is closed and no one can read it. */
    private void waits() {
        if (count != 0 && !isReleased()) {
            ledger.put(counted(), 0);
        }
        ledger.settle("its eventfd was signalled after the last close");
    }

    private MessagePlace counted() {
        MessagePlace place = counted;
        if (place == null) {
            place = new MessagePlace(
                    slot -> count != 0 && !isReleased(), slot -> hasIrqfd(), slot -> "the count of " + this);
            counted = place;
        }
        return place;
    }

    @Override
    public boolean isEnded() {
        return isReleased();
    }

    @Override
    public boolean signals(MessageSource event) {
        return event == this;
    }

    @Override
    public boolean hasIrqfd() {
        return !irqfds.isEmpty();
    }

    @Override
    public boolean hadIrqfd() {
        return hadIrqfd;
    }

    @Override
    public String toString() {
        return "eventfd " + descriptor();
    }

    /** @return the value subtracted from the count: all of it, or 1 with EFD_SEMAPHORE */
    private long take() {
        if (semaphore) {
            host.note(FileAnswer.EVENTFD_SEMAPHORE);
        }
        long taken = semaphore && count != 0 ? 1 : count;
        count -= taken;
        return taken;
    }

    @Override
    public long read(long to, long length) {
        if (length < Long.BYTES) {
            return host.refuse(FileAnswer.EVENTFD_LENGTH);
        }
        boolean waits = isBlocking();
        while (count == 0 && waits) {
            host.note(FileAnswer.EVENTFD_BLOCKS);
            host.time().awaitChange();
        }
        return readNow(to);
    }

    /** Reads the count with RWF_NOWAIT: returns -EAGAIN instead of waiting. */
    public long readNow(long to) {
        if (count == 0) {
            return host.refuse(FileAnswer.EVENTFD_EMPTY);
        }
        long taken = take();
        wake(Epoll.EPOLLOUT);
        host.time().changed();
        ByteBuffer memory = host.memory().writableAt(to, Long.BYTES);
        if (count == 0 && counted != null && memory != null) {
            ledger.read(counted, this);
        }
        if (memory == null) {
            ByteBuffer bytes = ByteBuffer.allocate(Long.BYTES)
                    .order(ByteOrder.nativeOrder())
                    .putLong(0, taken);
            int refused = host.copyOut(to, bytes, Long.BYTES);
            if (count == 0 && counted != null && refused == 0) {
                ledger.read(counted, this);
            } else {
                discard("the read that took the count has failed");
            }
            return refused < 0 ? refused : Long.BYTES;
        }
        memory.putLong(host.memory().offset(to), taken);
        return Long.BYTES;
    }

    @Override
    public boolean hasPoll() {
        return true;
    }

    /** Returns the ready events. EPOLLERR means that signals of the kernel brought the count to its maximum. */
    @Override
    public int poll() {
        return (count != 0 ? Epoll.EPOLLIN : 0)
                | (count == FULL ? Epoll.EPOLLERR : 0)
                | (Long.compareUnsigned(count, FULL - 1) < 0 ? Epoll.EPOLLOUT : 0);
    }

    public List<EventWaiter> waiters() {
        return List.copyOf(irqfds);
    }

    public void add(EventWaiter added) {
        irqfds.add(added);
        hadIrqfd = true;
        if (count != 0) {
            host.note(IrqfdAnswer.IRQFD_PRE_SIGNALLED);
            if (counted != null) {
                ledger.pick(counted, 0);
            }
            added.raiseLate();
            ledger.settle("its irqfd raised nothing");
        }
    }

    /** Removes a priority waiter. The removal reads the count. */
    public void remove(EventWaiter removed) {
        if (irqfds.remove(removed) && count != 0) {
            host.note(IrqfdAnswer.IRQFD_DETACH_DRAINS);
            take();
            discard("its irqfd took the count as it ended");
            wake(Epoll.EPOLLOUT);
        }
    }

    public void add(EventReader added) {
        readers.add(added);
        if (count != 0) {
            if (counted != null) {
                ledger.take(counted, 0);
            }
            host.work().read(added);
        }
    }

    /** Removes a reader. The removal reads the count a last time. */
    public void remove(EventReader removed) {
        if (readers.remove(removed) && count != 0) {
            host.note(VfioIrqAnswer.VFIO_UNMASK_DETACH_DRAINS);
            take();
            discard("its reader took the count as it ended");
            wake(Epoll.EPOLLOUT);
        }
    }

    @Override
    protected void released() {
        List.copyOf(readers).forEach(EventReader::released);
        for (EventWaiter irqfd : waiters()) {
            host.note(IrqfdAnswer.IRQFD_GONE_WITH_EVENTFD);
            host.work().shutDown(irqfd);
        }
        if (counted != null) {
            ledger.discard(counted, 0, "its eventfd was closed");
        }
        if (source != Ledger.UNKNOWN) {
            ledger.forget(source);
            source = Ledger.UNKNOWN;
        }
    }

    /** Discards the messages of a count that was read without a receiver. */
    private void discard(String why) {
        if (count == 0 && counted != null) {
            ledger.discard(counted, 0, why);
        }
    }
}
