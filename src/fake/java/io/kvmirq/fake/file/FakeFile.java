/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** An open file. The caller of each method holds the kernel's lock. */
public abstract class FakeFile {
    /** Bits of {@code f_mode} in {@code struct file}: the access that open(2) granted, and the file's operations. */
    public static final int READ = 1;

    public static final int WRITE = 1 << 1;
    public static final int CAN_READ = 1 << 2;
    public static final int CAN_WRITE = 1 << 3;
    public static final int PREAD = 1 << 4;
    public static final int PWRITE = 1 << 5;

    protected final KernelOfFile host;
    private final boolean foreign;
    private final List<Watcher> watchers = new ArrayList<>(0);
    private int descriptors;
    /** The newest descriptor of the file; -1 before the first. */
    private int descriptor = -1;

    private int mode;
    /** The flags that F_GETFL shows. */
    private int status;

    /** Creates an anonymous file that has ioctls and cannot be read or written. */
    protected FakeFile(KernelOfFile host) {
        this(host, READ | WRITE);
    }

    protected FakeFile(KernelOfFile host, int mode) {
        this.host = host;
        this.mode = mode;
        this.status = (mode & WRITE) != 0 ? Uapi.O_RDWR : 0;
        this.foreign = host.isForeign();
    }

    /** Adds a reference to the file, such as a descriptor. */
    public final void addReference() {
        descriptors++;
    }

    /** Adds a descriptor. */
    final void installed(int fd) {
        descriptor = fd;
        addReference();
    }

    /** Returns the newest descriptor of the file, for texts of errors; -1 if it has none. */
    protected final int descriptor() {
        return descriptor;
    }

    protected final boolean isReleased() {
        return descriptors == 0;
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

    /** Sets the mode after open(2): the lowest two bits of {@code flags} are the access. Allows pread, pwrite. */
    public final void openedByName(int flags) {
        int access = flags & Uapi.O_ACCMODE;
        mode = mode & ~(READ | WRITE) | PREAD | PWRITE;
        mode |= access == 0 || access == Uapi.O_RDWR ? READ : 0;
        mode |= access != 0 && access != Uapi.O_ACCMODE ? WRITE : 0;
        status = flags & (Uapi.O_ACCMODE | Uapi.O_NONBLOCK) | OpenFlag.LARGEFILE.on(host.build());
    }

    public final boolean may(int bit) {
        return (mode & bit) != 0;
    }

    /** Whether ioctls fail with EIO in every process except the one that created the file. */
    public boolean isOfOneProcess() {
        return false;
    }

    /** Returns the labels of each {@code io.kvmirq.explain.Condition} that the file's VM fulfils. Allocates nothing. */
    public List<String> facts() {
        return List.of();
    }

    /** Whether KVM-VFIO accepts the file: a VFIO group, or a VFIO device since 6.6. */
    public boolean isVfio() {
        return false;
    }

    /** Returns the VFIO device to which the file belongs; empty for any other file. */
    public Optional<VfioLines> device() {
        return Optional.empty();
    }

    /** Handles ioctl(2); {@code argument} is a value or a user address, as the request defines. */
    public int ioctl(long request, long argument) {
        return host.refuse(FileAnswer.UNKNOWN_IOCTL_OF_FILE);
    }

    /** Returns the rule by which mmap fails for a file that has no memory. */
    public Answer refusesMapping() {
        return FileAnswer.MAP_NOT_A_VCPU;
    }

    /** Returns the memory that an mmap maps; empty if {@link #refusesMapping} applies. {@code copies}: MAP_PRIVATE. */
    public Optional<ByteBuffer> shared(long offset, int length, boolean copies) {
        return Optional.empty();
    }

    /** Returns a part of a file's memory that {@link #shared} can return. */
    protected static Optional<ByteBuffer> part(ByteBuffer memory, long offset, int length) {
        if (offset < 0 || offset > memory.capacity() - length) {
            throw new NotModelledException("a mapping that ends beyond its file");
        }
        return Optional.of(memory.slice((int) offset, length).order(ByteOrder.nativeOrder()));
    }

    /** Sets or clears O_NONBLOCK (FIONBIO). */
    public final void setBlocking(boolean on) {
        status = on ? status & ~Uapi.O_NONBLOCK : status | Uapi.O_NONBLOCK;
    }

    protected final boolean isBlocking() {
        return (status & Uapi.O_NONBLOCK) == 0;
    }

    /** Handles read(2). Called only if the mode has CAN_READ. */
    public long read(long to, long length) {
        throw new IllegalStateException("a file of CAN_READ reads");
    }

    /** Handles write(2). Called only if the mode has CAN_WRITE. */
    public long write(long from, long length) {
        throw new IllegalStateException("a file of CAN_WRITE writes");
    }

    public long pread(long to, long length, long offset) {
        throw new IllegalStateException("a file of CAN_READ and PREAD reads");
    }

    public long pwrite(long from, long length, long offset) {
        throw new IllegalStateException("a file of CAN_WRITE and PWRITE writes");
    }

    public int statusFlags() {
        return status;
    }

    // Readiness

    /** An epoll entry. It is called when the file may have become ready. */
    interface Watcher {
        /** The events {@code by} have come. */
        void woken(int by);

        /** The last descriptor of the file was closed. */
        void closed();
    }

    final void watch(Watcher watcher) {
        watchers.add(0, watcher); // as in a wait queue: the newest is woken first
    }

    final void unwatch(Watcher watcher) {
        watchers.remove(watcher);
    }

    final boolean isWatched() {
        return !watchers.isEmpty();
    }

    /** Calls the watchers. Allocates nothing. */
    final void wake(int by) {
        for (int i = 0; i < watchers.size(); i++) {
            watchers.get(i).woken(by);
        }
    }

    /** Whether the file has a poll operation; epoll_ctl() requires one. */
    public boolean hasPoll() {
        return false;
    }

    /** Returns the events that are ready, such as EPOLLIN. A file without a poll operation is always ready. */
    public int poll() {
        return Epoll.EPOLLIN | Epoll.EPOLLOUT | Epoll.EPOLLRDNORM | Epoll.EPOLLWRNORM;
    }
}
