/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.uapi.Epoll;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** The file of an epoll set. Source: fs/eventpoll.c. */
public final class EpollFile extends FakeFile {
    /** EP_MAX_EVENTS. */
    private static final int MOST_EVENTS = Integer.MAX_VALUE / Epoll.SIZE;

    private static final int NOT_MODELLED = Epoll.EPOLLONESHOT | Epoll.EPOLLEXCLUSIVE;

    /** TASK_SIZE_MAX with four-level page tables: on every kernel, user addresses reach at least this far. */
    private static final long LOWER_HALF = (1L << 47) - 4096;

    private static final long EPIOCSPARAMS = 0x40088a01L;
    private static final long EPIOCGPARAMS = 0x80088a02L;

    private final List<Entry> entries = new ArrayList<>();
    /** Entries that may be ready, in the order in which a wait checks them. */
    private final List<Entry> ready = new ArrayList<>();

    public EpollFile(KernelOfFile host) {
        super(host);
    }

    /** A watched file and the descriptor number that added it. */
    private final class Entry implements Watcher {
        private final FakeFile file;
        private final int fd;
        private int events;
        private long data;

        Entry(FakeFile file, int fd) {
            this.file = file;
            this.fd = fd;
        }

        boolean isOf(FakeFile other, int number) {
            return file == other && fd == number;
        }

        void set(ByteBuffer event) {
            events = event.getInt(Epoll.EVENTS) | Epoll.EPOLLERR | Epoll.EPOLLHUP;
            data = event.getLong(Epoll.DATA);
            if (readiness() != 0 && link(this)) {
                tell();
            }
        }

        int readiness() {
            return file.poll() & events;
        }

        /** {@code ep_poll_callback()}: wakes waiters, whether or not the entry is linked. */
        @Override
        public void woken(int by) {
            if ((by & events) != 0) {
                link(this);
                tell();
            }
        }

        @Override
        public void closed() {
            host.note(FileAnswer.EPOLL_LAST_CLOSE);
            remove(this);
        }
    }

    /** @return false if the entry was on the ready list already */
    private boolean link(Entry entry) {
        return !ready.contains(entry) && ready.add(entry);
    }

    private void tell() {
        wake(Epoll.EPOLLIN);
        host.time().changed();
    }

    private void remove(Entry entry) {
        entry.file.unwatch(entry);
        entries.remove(entry);
        ready.remove(entry);
    }

    @Override
    protected void released() {
        List.copyOf(entries).forEach(this::remove);
    }

    // epoll_ctl

    /** @param event the address of a {@code struct epoll_event} */
    public static int control(KernelOfFile host, int epoll, int operation, int fd, long event) {
        return operation == Epoll.EPOLL_CTL_DEL
                ? control(host, epoll, operation, fd, ByteBuffer.allocate(Epoll.SIZE))
                : host.copied(event, Epoll.SIZE, asked -> control(host, epoll, operation, fd, asked));
    }

    private static int control(KernelOfFile host, int epoll, int operation, int fd, ByteBuffer event) {
        FakeFile set = host.file(epoll);
        FakeFile file = host.file(fd);
        if (set == null || file == null) {
            return host.refuse(FileAnswer.FD_NOT_OPEN);
        }
        if (!file.hasPoll()) {
            return host.refuse(FileAnswer.EPOLL_NO_POLL);
        }
        if (set == file) {
            return host.refuse(FileAnswer.EPOLL_ITSELF);
        }
        return set instanceof EpollFile epollFile
                ? epollFile.control(operation, file, fd, event)
                : host.refuse(FileAnswer.EPOLL_NOT_A_SET);
    }

    private int control(int operation, FakeFile file, int fd, ByteBuffer event) {
        if (operation != Epoll.EPOLL_CTL_DEL && (event.getInt(Epoll.EVENTS) & NOT_MODELLED) != 0) {
            throw new NotModelledException("EPOLLONESHOT and EPOLLEXCLUSIVE");
        }
        if (operation == Epoll.EPOLL_CTL_ADD && file instanceof EpollFile nested) {
            if (nested.entries.stream().anyMatch(entry -> entry.file == this)) {
                return host.refuse(FileAnswer.EPOLL_LOOP);
            }
            if (isWatched() || nested.entries.stream().anyMatch(entry -> entry.file instanceof EpollFile)) {
                throw new NotModelledException("epoll sets in an epoll set in another");
            }
        }
        Optional<Entry> known =
                entries.stream().filter(entry -> entry.isOf(file, fd)).findFirst();
        return switch (operation) {
            case Epoll.EPOLL_CTL_ADD ->
                known.isPresent() ? host.refuse(FileAnswer.EPOLL_EXISTS) : add(new Entry(file, fd), event);
            case Epoll.EPOLL_CTL_DEL -> {
                known.ifPresent(this::remove);
                yield known.isPresent() ? 0 : host.refuse(FileAnswer.EPOLL_ABSENT);
            }
            case Epoll.EPOLL_CTL_MOD -> {
                if (known.isEmpty()) {
                    yield host.refuse(FileAnswer.EPOLL_ABSENT);
                }
                known.get().set(event);
                yield 0;
            }
            default -> host.refuse(FileAnswer.EPOLL_OPERATION);
        };
    }

    private int add(Entry entry, ByteBuffer event) {
        entries.add(entry);
        entry.set(event);
        entry.file.watch(entry);
        return 0;
    }

    // epoll_wait

    /** Waits for events and writes them to the address {@code events}. A negative timeout never expires. */
    public static int await(KernelOfFile host, int epoll, long events, int max, int timeoutMillis) {
        Optional<Answer> flaw = flawOfRoom(events, max);
        if (flaw.isPresent() && !host.build().isSince(6, 15)) {
            host.note(FileAnswer.EPOLL_ROOM_FIRST_BEFORE);
            return host.refuse(flaw);
        }
        FakeFile file = host.file(epoll);
        if (file == null) {
            return host.refuse(FileAnswer.FD_NOT_OPEN);
        }
        if (flaw.isPresent()) {
            return host.refuse(flaw);
        }
        return file instanceof EpollFile set
                ? set.await(events, max, timeoutMillis)
                : host.refuse(FileAnswer.EPOLL_NOT_A_SET);
    }

    private static Optional<Answer> flawOfRoom(long events, int max) {
        if (max <= 0 || max > MOST_EVENTS) {
            return Optional.of(FileAnswer.EPOLL_ROOM);
        }
        long end = events + (long) max * Epoll.SIZE;
        if (events < 0 || end < 0) {
            return Optional.of(FileAnswer.EPOLL_KERNEL_ADDRESS);
        }
        if (end > LOWER_HALF) {
            throw new NotModelledException("addresses above the lower half of 48 bits");
        }
        return Optional.empty();
    }

    /** Waits. The call holds a reference to the set, so that a concurrent close does not release it. */
    private int await(long events, int max, int timeoutMillis) {
        long nanos = timeoutMillis < 0 ? Long.MAX_VALUE : TimeUnit.MILLISECONDS.toNanos(timeoutMillis);
        addReference();
        try {
            return host.time().await(nanos, () -> send(events, max));
        } finally {
            closed();
        }
    }

    /**
     * {@code ep_send_events()}: returns how many events were written, or -EFAULT without a first. A reported entry that
     * stays ready moves to the end; an unchecked entry keeps its place.
     */
    private int send(long events, int max) {
        List<Entry> scanned = List.copyOf(ready);
        ready.clear();
        int sent = 0;
        int next = 0;
        boolean fault = false;
        while (next < scanned.size() && sent < max && !fault) {
            Entry entry = scanned.get(next);
            int readiness = entry.readiness();
            fault = readiness != 0 && !put(events + (long) sent * Epoll.SIZE, readiness, entry.data);
            if (readiness != 0 && !fault) {
                sent++;
                reported(entry);
            }
            next += fault ? 0 : 1;
        }
        ready.addAll(0, scanned.subList(next, scanned.size()));
        return fault && sent == 0 ? host.refuse(FileAnswer.FAULT) : sent;
    }

    private boolean put(long address, int readiness, long data) {
        ByteBuffer event = ByteBuffer.allocate(Epoll.SIZE)
                .order(ByteOrder.nativeOrder())
                .putInt(Epoll.EVENTS, readiness)
                .putLong(Epoll.DATA, data);
        return host.memory().put(address + Epoll.EVENTS, event, Integer.BYTES)
                && host.memory().put(address + Epoll.DATA, event.slice(Epoll.DATA, Long.BYTES), Long.BYTES);
    }

    private void reported(Entry entry) {
        if ((entry.events & Epoll.EPOLLET) != 0) {
            host.note(FileAnswer.EPOLL_EDGE);
        } else {
            host.note(FileAnswer.EPOLL_LEVEL);
            ready.add(entry);
        }
    }

    // FakeFile methods

    @Override
    public boolean hasPoll() {
        return true;
    }

    /** Returns EPOLLIN if a file of the set is ready. Removes entries that are not ready from the ready list. */
    @Override
    public int poll() {
        while (!ready.isEmpty()) {
            if (ready.get(0).readiness() != 0) {
                return Epoll.EPOLLIN | Epoll.EPOLLRDNORM;
            }
            ready.remove(0);
        }
        return 0;
    }

    /** Handles the two ioctl requests that Linux 6.9 added. Linux 6.9 also changed the errno of all other requests. */
    @Override
    public int ioctl(long request, long argument) {
        if (!host.build().isSince(6, 9)) {
            return host.refuse(FileAnswer.EPOLL_UNKNOWN_IOCTL_BEFORE);
        }
        if (request == EPIOCSPARAMS || request == EPIOCGPARAMS) {
            throw new NotModelledException(request == EPIOCSPARAMS ? "EPIOCSPARAMS" : "EPIOCGPARAMS");
        }
        return host.refuse(FileAnswer.EPOLL_UNKNOWN_IOCTL);
    }
}
