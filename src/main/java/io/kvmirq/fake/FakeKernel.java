/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.Backends;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A kernel with KVM for one process, in Java: descriptors, memory, {@code /dev/kvm} and what is made from it. Thread-safe:
 * one call at a time, first come, first served; a call that waits lets others in.
 */
public final class FakeKernel implements Libc {
    /** FIONBIO of asm-generic/ioctls.h: an int at the argument, 0 for blocking. */
    private static final long FIONBIO = 0x5421;

    private static final int STANDARD_FILES = 3;
    private static final int LONGEST_PATH = 4096;
    private static final long LONGEST_WAIT_SECONDS = 1L << 32;
    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);
    private static final long PAGE = 4096;

    private final Profile profile;
    private final FakeTime time;
    private final UserMemory memory = new UserMemory();
    private final FileTable files = new FileTable();
    private final Rulebook rules = new Rulebook();
    private final Work work = new Work();
    private boolean foreign;
    /** Of what a tape left open. */
    private Map<String, Integer> descriptors = Map.of();

    /** A kernel whose time is the machine's. */
    public FakeKernel(Profile profile) {
        this(profile, false);
    }

    private FakeKernel(Profile profile, boolean virtualTime) {
        this.profile = profile;
        this.time = new FakeTime(virtualTime);
        for (int i = 0; i < STANDARD_FILES; i++) {
            install(new StandardFile(this));
        }
    }

    /** A kernel whose time stands still until {@link #pass}: a poll with a limit waits for that, never for the machine. */
    public static FakeKernel inVirtualTime(Profile profile) {
        return new FakeKernel(profile, true);
    }

    /** The primitives of a binding on this kernel, for {@code Kernel.over}. */
    public KernelBackend backend() {
        return LibcBackend.over(this, Backends.FAKE, profile.label());
    }

    /**
     * The kernel after the calls on a tape: a start-up that was recorded once, under a test. The tape should end where the
     * start-up does, so close the recorder before what it made is closed. A guest that ran then runs.
     *
     * @param tape of {@code io.kvmirq.recording.Recorder}, {@code kvmirq selftest --record} or {@code kvmirq tape -o}
     * @throws IllegalArgumentException naming the first call that this kernel answers otherwise, or does not model
     * @throws io.kvmirq.recording.TapeException if it is no tape
     * @throws java.io.UncheckedIOException if it cannot be read
     */
    public static FakeKernel from(Path tape, Profile profile) {
        FakeKernel kernel = new FakeKernel(profile);
        kernel.descriptors = StartUp.replayed(tape, kernel);
        return kernel;
    }

    /** As {@link #from(Path, Profile)}, on 6.18. */
    public static FakeKernel from(Path tape) {
        return from(tape, Profile.V6_18);
    }

    /**
     * The descriptor that a file has which the tape this kernel came from left open, such as {@code vm#1}.
     *
     * @throws IllegalArgumentException listing those there are
     */
    public int descriptor(String name) {
        @Nullable Integer descriptor = descriptors.get(name);
        if (descriptor == null) {
            throw new IllegalArgumentException("the tape left no " + name + " open, but " + descriptors.keySet());
        }
        return descriptor;
    }

    // What a real kernel's surroundings decide

    /**
     * Lets virtual time pass; what waited long enough returns.
     *
     * @throws IllegalStateException when this kernel's time is the machine's
     */
    public void pass(Duration passed) {
        time.enter();
        try (time) {
            time.pass(passed);
        }
    }

    /**
     * From now on calls come from another process (or, with false, from the first again): one that has all descriptors,
     * as after fork or SCM_RIGHTS, and gets EIO from every VM, vCPU and device that the first has made, as the first does
     * from those of the other.
     */
    public void callAsForeignProcess(boolean on) {
        time.enter();
        try (time) {
            foreign = on;
        }
    }

    /** RLIMIT_NOFILE: EMFILE from there on. */
    public void limitDescriptors(int limit) {
        if (limit < 0) {
            throw new IllegalArgumentException("a limit of " + limit + " descriptors: expected 0 or more");
        }
        time.enter();
        try (time) {
            files.limit(limit);
        }
    }

    /**
     * From now on the kernel's workers do nothing: an irqfd whose eventfd was closed is still there, and an interrupt
     * through a pin is not injected, until {@link #runWorkers} or a call that waits for them (a deassign, the end of the
     * VM). A real kernel may be so late.
     */
    public void holdWorkers() {
        time.enter();
        try (time) {
            work.hold();
        }
    }

    /** The workers do what they have, and from now on everything at once. */
    public void runWorkers() {
        time.enter();
        try (time) {
            work.run();
            time.changed();
        }
    }

    /** How many calls wait for something to change. */
    public int waiting() {
        time.enter();
        try (time) {
            return time.waiting();
        }
    }

    /** The rules that its answers have leaned on until now. */
    public Set<Rule> rulesUsed() {
        time.enter();
        try (time) {
            return rules.used();
        }
    }

    /** The calls that rules have refused until now, each kind of call once. */
    List<Refusal> refusals() {
        time.enter();
        try (time) {
            return rules.refused();
        }
    }

    // For the files

    Profile profile() {
        return profile;
    }

    UserMemory memory() {
        return memory;
    }

    Work work() {
        return work;
    }

    FakeTime time() {
        return time;
    }

    void note(Rule rule) {
        rules.note(rule);
    }

    int refuse(Rule rule) {
        return rules.refuse(rule);
    }

    @Nullable
    FakeFile file(int fd) {
        return files.get(fd);
    }

    /** The eventfd a descriptor was found to be. */
    EventFile eventfd(int fd) {
        return (EventFile) Objects.requireNonNull(files.get(fd));
    }

    /** Whether calls come from the other process now. */
    boolean isForeign() {
        return foreign;
    }

    boolean isFull() {
        return files.isFull();
    }

    /** Gives a file the lowest free descriptor. */
    int install(FakeFile file) {
        return install(file, 0);
    }

    private int install(FakeFile file, int lowest) {
        int fd = files.install(file, lowest);
        note(Rule.FD_LOWEST);
        return fd < 0 ? refuse(Rule.FD_TABLE_FULL) : fd;
    }

    // System calls

    /** A call takes its turn. */
    private void begin() {
        time.enter();
        rules.begin();
    }

    /** A call's end, still with the lock held. */
    private long answered(String call, long request, int fd, long result) {
        if (result < 0) {
            FakeFile file = files.get(fd);
            rules.failed(call, request, file == null ? List.of() : file.facts());
        }
        return result;
    }

    @Override
    public int open(long path, int flags, int mode) {
        begin();
        try (time) {
            return (int) answered("open", 0, -1, openLocked(path));
        }
    }

    private int openLocked(long path) {
        StringBuilder name = new StringBuilder();
        for (int i = 0; i < LONGEST_PATH; i++) {
            ByteBuffer at = memory.at(path + i, 1);
            if (at == null) {
                return refuse(Rule.FAULT);
            }
            byte next = at.get(memory.offset(path + i));
            if (next == 0) {
                return open(name.toString());
            }
            name.append((char) next);
        }
        throw new NotModelledException("a path of " + LONGEST_PATH + " bytes or more");
    }

    @Override
    public int open(@Nullable ByteBuffer path, int flags) {
        ByteBuffer checked = Buffers.cStringIn(path);
        byte[] bytes = new byte[checked.limit()];
        checked.get(0, bytes);
        String text = new String(bytes, StandardCharsets.UTF_8);
        begin();
        try (time) {
            return (int) answered("open", 0, -1, open(text.substring(0, text.indexOf('\0'))));
        }
    }

    private int open(String path) {
        if (!path.equals("/dev/kvm")) {
            return refuse(Rule.NO_SUCH_FILE);
        }
        return install(profile.isArm64() ? new ArmKvmFile(this) : new KvmFile(this));
    }

    @Override
    public int close(int fd) {
        begin();
        try (time) {
            return (int) answered("close", 0, fd, closeLocked(fd));
        }
    }

    private int closeLocked(int fd) {
        FakeFile file = files.remove(fd);
        if (file == null) {
            return refuse(Rule.FD_NOT_OPEN);
        }
        file.closed();
        time.changed();
        return 0;
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        begin();
        try (time) {
            return (int) answered("fcntl", 0, fd, fcntlLocked(fd, command, argument));
        }
    }

    private int fcntlLocked(int fd, int command, int argument) {
        FakeFile file = files.get(fd);
        if (file == null) {
            return refuse(Rule.FD_NOT_OPEN);
        }
        return switch (command) {
            case Uapi.F_GETFD -> {
                note(Rule.FD_CLOSED_ON_EXEC);
                yield Uapi.FD_CLOEXEC;
            }
            case Uapi.F_GETFL -> file.statusFlags();
            case Uapi.F_DUPFD_CLOEXEC ->
                argument < 0 || argument >= files.limit() ? refuse(Rule.FD_DUP_LIMIT) : install(file, argument);
            default -> throw new NotModelledException("fcntl " + command);
        };
    }

    @Override
    public long read(int fd, long to, long length) {
        begin();
        try (time) {
            return answered("read", 0, fd, readLocked(fd, to, length));
        }
    }

    private long readLocked(int fd, long to, long length) {
        FakeFile file = files.get(fd);
        return file == null ? refuse(Rule.FD_NOT_OPEN) : file.read(to, length);
    }

    @Override
    public long write(int fd, long from, long length) {
        begin();
        try (time) {
            return answered("write", 0, fd, writeLocked(fd, from, length));
        }
    }

    private long writeLocked(int fd, long from, long length) {
        FakeFile file = files.get(fd);
        return file == null ? refuse(Rule.FD_NOT_OPEN) : file.write(from, length);
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        begin();
        try (time) {
            return answered("pread", 0, fd, preadLocked(fd, to, length, offset));
        }
    }

    private long preadLocked(int fd, long to, long length, long offset) {
        if (offset < 0) {
            return refuse(Rule.NEGATIVE_OFFSET);
        }
        FakeFile file = files.get(fd);
        return file == null ? refuse(Rule.FD_NOT_OPEN) : file.pread(to, length, offset);
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        begin();
        try (time) {
            return answered("pwrite", 0, fd, pwriteLocked(fd, from, length, offset));
        }
    }

    private long pwriteLocked(int fd, long from, long length, long offset) {
        if (offset < 0) {
            return refuse(Rule.NEGATIVE_OFFSET);
        }
        FakeFile file = files.get(fd);
        return file == null ? refuse(Rule.FD_NOT_OPEN) : file.pwrite(from, length, offset);
    }

    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        begin();
        try (time) {
            return answered("preadv2", 0, fd, preadv2Locked(fd, vectors, count, offset, flags));
        }
    }

    private long preadv2Locked(int fd, long vectors, int count, long offset, int flags) {
        FakeFile file = files.get(fd);
        if (file == null) {
            return refuse(Rule.FD_NOT_OPEN);
        }
        ByteBuffer vector = memory.copyIn(vectors, Uapi.Iovec.SIZE);
        if (vector == null) {
            return refuse(Rule.FAULT);
        }
        if (count != 1 || offset != -1 || flags != Uapi.RWF_NOWAIT) {
            throw new NotModelledException("preadv2 but for one eventfd without waiting");
        }
        long length = vector.getLong(Uapi.Iovec.IOV_LEN);
        long to = vector.getLong(Uapi.Iovec.IOV_BASE);
        if (!(file instanceof EventFile event)) {
            return refuse(Rule.NOT_AN_EVENTFD_NOWAIT);
        }
        if (length == 0) {
            note(Rule.EVENTFD_NOWAIT_NOTHING);
            return 0;
        }
        return length < Long.BYTES ? refuse(Rule.EVENTFD_LENGTH) : event.readNow(to);
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            if (file == null) {
                return refuse(Rule.FD_NOT_OPEN);
            }
            int result;
            if (request == FIONBIO) {
                result = setBlocking(file, argument);
            } else if (file.isOfOneProcess() && file.isForeign() != foreign) {
                result = refuse(Rule.FOREIGN_PROCESS);
            } else {
                result = file.ioctl(request, argument);
            }
            answered("ioctl", request, fd, result);
            // Whatever it was may have raised an interrupt for a CPU that halts.
            time.changed();
            return result;
        }
    }

    private int setBlocking(FakeFile file, long argument) {
        ByteBuffer nonblocking = memory.copyIn(argument, Integer.BYTES);
        if (nonblocking == null) {
            return refuse(Rule.FAULT);
        }
        file.setBlocking(nonblocking.getInt(0) == 0);
        return 0;
    }

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        begin();
        try (time) {
            return answered("mmap", 0, fd, mmapLocked(length, flags, fd, offset));
        }
    }

    private long mmapLocked(long length, int flags, int fd, long offset) {
        if (length <= 0) {
            return refuse(Rule.MAP_LENGTH);
        }
        int whole = Math.toIntExact((length + PAGE - 1) / PAGE * PAGE);
        if ((flags & Uapi.MAP_ANONYMOUS) != 0) {
            return memory.map(ByteBuffer.allocateDirect(whole).order(ByteOrder.nativeOrder()));
        }
        FakeFile file = files.get(fd);
        if (file == null) {
            return refuse(Rule.FD_NOT_OPEN);
        }
        ByteBuffer shared = file.shared().orElse(null);
        if (shared == null) {
            return refuse(Rule.MAP_NOT_A_VCPU);
        }
        if (offset != 0 || whole > shared.capacity()) {
            throw new NotModelledException("mapping a vCPU but from its first page to its last");
        }
        return memory.map(shared.slice(0, whole).order(ByteOrder.nativeOrder()));
    }

    @Override
    public int munmap(long address, long length) {
        begin();
        try (time) {
            return (int) answered("munmap", 0, -1, munmapLocked(address, length));
        }
    }

    private int munmapLocked(long address, long length) {
        if (address % PAGE != 0 || length <= 0) {
            return refuse(Rule.UNMAP_ALIGNMENT);
        }
        memory.unmap(address, (length + PAGE - 1) / PAGE * PAGE);
        return 0;
    }

    @Override
    public int ppoll(long fds, long count, long timeout) {
        begin();
        try (time) {
            return (int) answered("ppoll", 0, -1, ppollLocked(fds, count, timeout));
        }
    }

    private int ppollLocked(long fds, long count, long timeout) {
        int bytes = Math.toIntExact(count * Uapi.Pollfd.SIZE);
        ByteBuffer polled = count == 0 ? NOTHING : memory.at(fds, bytes);
        ByteBuffer limit = timeout == 0 ? null : memory.copyIn(timeout, Uapi.Timespec.SIZE);
        if (polled == null || timeout != 0 && limit == null) {
            return refuse(Rule.FAULT);
        }
        long nanos = limit == null
                ? Long.MAX_VALUE
                : Duration.ofSeconds(
                                Math.min(limit.getLong(Uapi.Timespec.TV_SEC), LONGEST_WAIT_SECONDS),
                                limit.getLong(Uapi.Timespec.TV_NSEC))
                        .toNanos();
        long start = time.now();
        while (true) {
            int ready = files.poll(polled, count == 0 ? 0 : memory.offset(fds), (int) count);
            long left = nanos - (time.now() - start);
            if (ready > 0 || left <= 0) {
                return ready;
            }
            time.awaitChange(nanos == Long.MAX_VALUE ? nanos : left);
        }
    }

    @Override
    public int eventfd(int count, int flags) {
        begin();
        try (time) {
            return (int) answered("eventfd2", 0, -1, eventfdLocked(count, flags));
        }
    }

    private int eventfdLocked(int count, int flags) {
        if ((flags & ~(Uapi.EFD_SEMAPHORE | Uapi.O_NONBLOCK | Uapi.O_CLOEXEC)) != 0) {
            return refuse(Rule.EVENTFD_FLAGS);
        }
        boolean semaphore = (flags & Uapi.EFD_SEMAPHORE) != 0;
        boolean blocking = (flags & Uapi.O_NONBLOCK) == 0;
        return install(new EventFile(this, Integer.toUnsignedLong(count), semaphore, blocking));
    }

    @Override
    public int epollCreate(int flags) {
        begin();
        try (time) {
            return (int) answered("epoll_create1", 0, -1, epollCreateLocked());
        }
    }

    private int epollCreateLocked() {
        return install(new EpollFile(this));
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        throw new NotModelledException("epoll_ctl");
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        throw new NotModelledException("epoll_wait");
    }

    // Memory

    @Override
    public boolean isReal() {
        return false;
    }

    @Override
    public ByteBuffer view(long address, long length) {
        time.enter();
        try (time) {
            ByteBuffer mapped = memory.at(address, length);
            if (mapped == null) {
                throw new IllegalArgumentException("nothing is mapped at 0x" + Long.toHexString(address));
            }
            return mapped.slice(memory.offset(address), Math.toIntExact(length)).order(ByteOrder.nativeOrder());
        }
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        time.enter();
        try (time) {
            return memory.addressOf(Buffers.readable(buffer, 0));
        }
    }

    @Override
    public String toString() {
        return "fake kernel " + profile.label();
    }
}
