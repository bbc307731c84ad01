/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.fake.rules.KernelRule;
import io.kvmirq.fake.rules.NotModelledException;
import io.kvmirq.uapi.Epoll;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** An open file of one kind. All methods are called with the kernel's lock held. */
public abstract class FakeFile {
    protected final Host host;
    private final boolean foreign;
    private final List<Watcher> watchers = new ArrayList<>(0);
    private int descriptors;

    protected FakeFile(Host host) {
        this.host = host;
        this.foreign = host.isForeign();
    }

    /** Another descriptor refers to it. */
    final void opened() {
        descriptors++;
    }

    /** One descriptor less; the last one releases it. */
    public final void closed() {
        if (--descriptors == 0) {
            host.note(KernelRule.FD_LAST_CLOSE);
            List.copyOf(watchers).forEach(Watcher::closed);
            released();
        }
    }

    /** No descriptor is left. */
    protected void released() {}

    /** Whether the other process has made it. */
    public final boolean isForeign() {
        return foreign;
    }

    /** Whether ioctls from another process than the one that made the file fail with EIO. */
    public boolean isOfOneProcess() {
        return false;
    }

    /** The facts of the VM that the file belongs to, by the labels of {@code io.kvmirq.explain.Fact}; allocates nothing. */
    public List<String> facts() {
        return List.of();
    }

    /** What this kind of file answers; {@code argument} is a value or an address. */
    public int ioctl(long request, long argument) {
        return host.refuse(KernelRule.UNKNOWN_IOCTL_OF_FILE);
    }

    /** The memory that mmap maps; empty if the file has none. */
    public Optional<ByteBuffer> shared() {
        return Optional.empty();
    }

    /** Sets or clears O_NONBLOCK (FIONBIO). Files that never block ignore it. */
    public void setBlocking(boolean on) {}

    public long read(long to, long length) {
        return host.refuse(KernelRule.NOT_READABLE);
    }

    public long write(long from, long length) {
        return host.refuse(KernelRule.NOT_READABLE);
    }

    public long pread(long to, long length, long offset) {
        return host.refuse(KernelRule.NO_OFFSET);
    }

    public long pwrite(long from, long length, long offset) {
        return host.refuse(KernelRule.NO_OFFSET);
    }

    /** F_GETFL. */
    public int statusFlags() {
        throw new NotModelledException("F_GETFL of this kind of file");
    }

    // Readiness

    /** What hears that a file may have become ready: an epoll set's entry. */
    interface Watcher {
        /** @param by for what the file may be ready now, as {@link #poll} has it */
        void woken(int by);

        /** The last descriptor is closed. */
        void closed();
    }

    final void watch(Watcher watcher) {
        watchers.add(watcher);
    }

    final void unwatch(Watcher watcher) {
        watchers.remove(watcher);
    }

    final boolean isWatched() {
        return !watchers.isEmpty();
    }

    /** Tells those that watch; allocates nothing. */
    final void wake(int by) {
        for (int i = 0; i < watchers.size(); i++) {
            watchers.get(i).woken(by);
        }
    }

    /** Whether it has a poll operation, without which no epoll set takes it. */
    public boolean hasPoll() {
        return false;
    }

    /** For what it is ready, EPOLLIN and so on; a file without a poll operation always is. */
    public int poll() {
        return Epoll.EPOLLIN | Epoll.EPOLLOUT | Epoll.EPOLLRDNORM | Epoll.EPOLLWRNORM;
    }
}
