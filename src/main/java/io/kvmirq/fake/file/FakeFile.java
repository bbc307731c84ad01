/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** An open file. The caller of each method holds the kernel's lock. */
public abstract class FakeFile {
    private static final int ACCESS = 3;

    protected final Host host;
    private final boolean foreign;
    private final List<Watcher> watchers = new ArrayList<>(0);
    private int descriptors;
    private boolean openedByName;
    private int access = Uapi.O_RDWR;

    protected FakeFile(Host host) {
        this.host = host;
        this.foreign = host.isForeign();
    }

    /** Adds a reference, such as a descriptor. */
    public final void opened() {
        descriptors++;
    }

    /** Drops a reference; the last one releases the file. */
    public final void closed() {
        if (--descriptors == 0) {
            host.note(FileAnswer.FD_LAST_CLOSE);
            List.copyOf(watchers).forEach(Watcher::closed);
            released();
        }
    }

    protected void released() {}

    public final boolean isForeign() {
        return foreign;
    }

    /**
     * The file was opened by open(2). Its two lowest flags are the access; a file that is not opened by its name has
     * both.
     */
    public final void openedByName(int flags) {
        openedByName = true;
        access = flags & ACCESS;
    }

    public final boolean isReadable() {
        return access == 0 || access == Uapi.O_RDWR;
    }

    public final boolean isWritable() {
        return access != 0 && access != ACCESS;
    }

    /** Whether ioctls fail with EIO in every process except the one that created the file. */
    public boolean isOfOneProcess() {
        return false;
    }

    /** The facts of the file's VM, as labels of {@code io.kvmirq.explain.Fact}; allocates nothing. */
    public List<String> facts() {
        return List.of();
    }

    /** Whether KVM-VFIO accepts the file: a VFIO group, or a VFIO device since 6.6. */
    public boolean isVfio() {
        return false;
    }

    /** The device of VFIO that is open through the file; empty for any other file. */
    public Optional<VfioLines> device() {
        return Optional.empty();
    }

    /** Answers ioctl(2); {@code argument} is a value or an address. */
    public int ioctl(long request, long argument) {
        return host.refuse(FileAnswer.UNKNOWN_IOCTL_OF_FILE);
    }

    /** The rule that refuses to map a file that has no memory. */
    public Answer refusesMapping() {
        return FileAnswer.MAP_NOT_A_VCPU;
    }

    /** The memory that mmap maps; empty if the file has none. */
    public Optional<ByteBuffer> shared() {
        return Optional.empty();
    }

    /** Sets or clears O_NONBLOCK (FIONBIO). Files that never block ignore it. */
    public void setBlocking(boolean on) {}

    public long read(long to, long length) {
        return host.refuse(FileAnswer.NOT_READABLE);
    }

    public long write(long from, long length) {
        return host.refuse(FileAnswer.NOT_READABLE);
    }

    public long pread(long to, long length, long offset) {
        return refusesOffset();
    }

    public long pwrite(long from, long length, long offset) {
        return refusesOffset();
    }

    /** A file opened by its name accepts an offset, whether or not it has a read operation. */
    private int refusesOffset() {
        return host.refuse(openedByName ? FileAnswer.NOT_READABLE : FileAnswer.NO_OFFSET);
    }

    /** F_GETFL. */
    public int statusFlags() {
        throw new NotModelledException("F_GETFL of this kind of file");
    }

    // Readiness

    /** An epoll entry. It is called when the file may have become ready. */
    interface Watcher {
        /** @param by the events that may be ready now, as in {@link #poll} */
        void woken(int by);

        /** The last descriptor of the file was closed. */
        void closed();
    }

    final void watch(Watcher watcher) {
        // As at the head of a wait queue: the newest is woken first.
        watchers.add(0, watcher);
    }

    final void unwatch(Watcher watcher) {
        watchers.remove(watcher);
    }

    final boolean isWatched() {
        return !watchers.isEmpty();
    }

    /** Calls all watchers; allocates nothing. */
    final void wake(int by) {
        for (int i = 0; i < watchers.size(); i++) {
            watchers.get(i).woken(by);
        }
    }

    /** Whether the file has a poll operation; epoll_ctl() requires one. */
    public boolean hasPoll() {
        return false;
    }

    /** The events that are ready, such as EPOLLIN. A file without a poll operation is always ready. */
    public int poll() {
        return Epoll.EPOLLIN | Epoll.EPOLLOUT | Epoll.EPOLLRDNORM | Epoll.EPOLLWRNORM;
    }
}
