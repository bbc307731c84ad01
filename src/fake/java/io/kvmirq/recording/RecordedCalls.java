/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Masking;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Turns each call of a {@link Libc} into a line, with the kernel's input before and output after the call. */
final class RecordedCalls {
    private static final int MOST_POLLED = 64;
    private static final int EPOLL_EVENT = 12;
    private static final String COUNT = "eventfd-count:";

    private final ProcessMemory memory;
    private final ThreadLocal<Capture> captures;
    private volatile boolean closed;

    // Guarded by the writer's lock

    private final TapeWriter writer;
    private final RecordedFiles files;
    private final CallLines lines;
    private final RecordedIoctls ioctls;
    /** Eventfds whose writes do not wait, by name. */
    private final Set<String> nonBlocking = new HashSet<>();

    private final ByteBuffer added = Buffers.allocate(Long.BYTES);
    private final boolean real;

    RecordedCalls(Libc libc, TapeWriter writer, int pid) {
        this.writer = writer;
        this.real = libc.isReal();
        this.memory = new ProcessMemory(libc);
        this.captures = ThreadLocal.withInitial(() -> new Capture(memory));
        this.files = new RecordedFiles(libc.isReal());
        this.lines = new CallLines(writer, files, pid);
        this.ioctls = new RecordedIoctls(lines, memory);
    }

    ProcessMemory memory() {
        return memory;
    }

    /** The lock that is held from before a call until its line is written, except during a call that may block. */
    Object order() {
        return writer;
    }

    /** Whether the call may block. Any call on a vCPU blocks while the vCPU runs. */
    boolean mayWait(String name, @Nullable Object[] arguments) {
        return switch (name) {
            case "ioctl" -> closed || files.type((int) Capture.number(arguments[0])) == FileKind.VCPU;
            case "ppoll", "epollWait", "read", "pread", "preadv2" -> true;
            default -> closed;
        };
    }

    /** Whether a write would block until a read. The caller holds the lock, so that no other write intervenes. */
    boolean mustWait(String name, @Nullable Object[] arguments) {
        if (!name.equals("write") || closed) {
            return false;
        }
        int fd = (int) Capture.number(arguments[0]);
        @Nullable String file = files.find(fd);
        if (file == null) {
            return true;
        }
        return files.type(fd) == FileKind.EVENTFD && !nonBlocking.contains(file) && !hasRoom(fd, arguments);
    }

    private boolean hasRoom(int fd, @Nullable Object[] arguments) {
        if (!real) {
            return false;
        }
        boolean known =
                transferLength(arguments) >= Long.BYTES && captures.get().copy(arguments[1], Long.BYTES, added);
        if (!known) {
            // The kernel will refuse the write.
            return true;
        }
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/fdinfo/" + fd))) {
            return lines.filter(line -> line.startsWith(COUNT))
                    .mapToLong(line -> Long.parseUnsignedLong(
                            line.substring(COUNT.length()).strip(), 16))
                    .anyMatch(count -> Long.compareUnsigned(added.getLong(0), -2 - count) <= 0);
        } catch (IOException | UncheckedIOException | NumberFormatException e) {
            return false;
        }
    }

    // Before

    Capture begin(String name, @Nullable Object[] arguments) {
        Capture capture = captures.get();
        capture.clear(name.equals("mapZeros") ? "munmap" : name);
        if (closed) {
            return capture;
        }
        switch (capture.call) {
            case "ioctl" -> {
                if (RecordedIoctls.request(arguments) == Uapi.FIONBIO) {
                    flagsChange((int) Capture.number(arguments[0]));
                }
                ioctls.before(capture, arguments);
            }
            case "fcntl" -> {
                if (Capture.number(arguments[1]) == Uapi.F_SETFL) {
                    flagsChange((int) Capture.number(arguments[0]));
                }
            }
            case "open" -> capture.path = path(arguments[0]);
            case "write", "pwrite" -> capture.load(arguments[1], transferLength(arguments));
            case "ppoll" -> {
                long count = Math.min(Capture.number(arguments[1]), MOST_POLLED);
                capture.load(arguments[0], count * Uapi.Pollfd.SIZE);
            }
            case "epollCtl" -> capture.load(arguments[3], EPOLL_EVENT);
            case "close" -> beforeClose(capture, (int) Capture.number(arguments[0]));
            case "munmap" -> capture.on = memory.mappingAt(Capture.number(arguments[0]));
            default -> {}
        }
        return capture;
    }

    private void flagsChange(int fd) {
        synchronized (writer) {
            @Nullable String file = files.find(fd);
            if (file != null) {
                nonBlocking.remove(file);
            }
        }
    }

    private static long transferLength(@Nullable Object[] arguments) {
        return arguments[1] instanceof ByteBuffer bytes ? bytes.limit() : Capture.number(arguments[2]);
    }

    private @Nullable String path(@Nullable Object from) {
        StringBuilder path = new StringBuilder();
        ByteBuffer one = Buffers.allocate(1);
        for (int i = 0; i < Capture.MOST_DATA; i++) {
            if (from instanceof ByteBuffer text) {
                if (i >= text.limit()) {
                    return null;
                }
                one.put(0, text, i, 1);
            } else if (!memory.copy(Capture.number(from) + i, 1, one)) {
                return null;
            }
            if (one.get(0) == 0) {
                break;
            }
            path.append((char) (one.get(0) & 0xff));
        }
        return new String(path.toString().getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
    }

    private void beforeClose(Capture capture, int fd) {
        capture.on = files.subject(fd);
        files.closed(fd);
        ioctls.closed(capture.on);
    }

    // After

    void end(Capture capture, @Nullable Object[] arguments, long result) {
        synchronized (writer) {
            if (!closed) {
                line(capture, arguments, result);
            }
        }
    }

    private void line(Capture capture, @Nullable Object[] arguments, long result) {
        if (capture.call.equals("munmap") && capture.on.isEmpty()) {
            return; // releases the zeros that replaced a mapping, after its views were garbage collected
        }
        switch (capture.call) {
            case "ioctl" -> ioctls.line(capture, arguments, result);
            case "open" -> {
                lines.begin(capture, "open", "");
                if (capture.path != null) {
                    writer.text(TapeWriter.PATH, capture.path);
                }
                writer.arguments(0, "", 0, Capture.number(arguments[1]));
                lines.end(result, capture.path == null ? FileKind.NONE : FileKind.ofLink(capture.path));
            }
            case "eventfd" -> {
                lines.begin(capture, "eventfd", "");
                writer.arguments(0, "", Capture.number(arguments[0]) & 0xffff_ffffL, Capture.number(arguments[1]));
                lines.end(result, FileKind.EVENTFD);
                @Nullable String made = result < 0 ? null : files.find((int) result);
                if (made != null && (Capture.number(arguments[1]) & Uapi.O_NONBLOCK) != 0) {
                    nonBlocking.add(made);
                }
            }
            case "fcntl" -> duplicate(capture, arguments, result);
            case "mmap" -> mmap(capture, arguments, result);
            case "ppoll" -> ppoll(capture, arguments, result);
            case "close", "munmap" -> {
                lines.begin(capture, capture.call, capture.on);
                writer.arguments(0, "", capture.call.equals("munmap") ? Capture.number(arguments[1]) : 0, 0);
                lines.end(result);
                if (capture.call.equals("munmap") && result == 0) {
                    memory.unmapped(Capture.number(arguments[0]), Capture.number(arguments[1]))
                            .forEach(ioctls::unmapped);
                }
            }
            case "epollCreate" -> {
                lines.begin(capture, "epoll_create", "");
                writer.arguments(0, "", 0, Capture.number(arguments[0]));
                lines.end(result, FileKind.EPOLL);
            }
            case "epollCtl" -> epollControl(capture, arguments, result);
            case "epollWait" -> {
                lines.begin(capture, "epoll_wait", (int) Capture.number(arguments[0]));
                writer.arguments(0, "", Capture.number(arguments[3]), Capture.number(arguments[2]));
                capture.store(arguments[1], result * EPOLL_EVENT);
                lines.end(capture, result);
            }
            case "preadv2" -> readVector(capture, arguments, result);
            default -> transfer(capture, arguments, result);
        }
    }

    private void epollControl(Capture capture, @Nullable Object[] arguments, long result) {
        lines.begin(capture, "epoll_ctl", (int) Capture.number(arguments[0]));
        long fd = Capture.number(arguments[2]);
        @Nullable String name = files.find((int) fd);
        if (name != null) {
            writer.name(Masking.IN_VALUE, name);
        }
        writer.arguments(Capture.number(arguments[1]), "", name == null ? fd : 0, 0);
        lines.end(capture, result);
    }

    private void readVector(Capture capture, @Nullable Object[] arguments, long result) {
        lines.begin(capture, "preadv2", (int) Capture.number(arguments[0]));
        boolean known = memory.copy(Capture.number(arguments[1]), Uapi.Iovec.SIZE, capture.in);
        writer.arguments(0, "", known ? capture.in.getLong(Uapi.Iovec.IOV_LEN) : 0, Capture.number(arguments[4]));
        if (known) {
            capture.store(capture.in.getLong(Uapi.Iovec.IOV_BASE), result);
        }
        lines.end(capture, result);
    }

    /** Writes the line of read, write, pread or pwrite. */
    private void transfer(Capture capture, @Nullable Object[] arguments, long result) {
        lines.begin(capture, capture.call, (int) Capture.number(arguments[0]));
        boolean placed = capture.call.startsWith("p");
        writer.arguments(
                0, "", transferLength(arguments), placed ? Capture.number(arguments[arguments.length - 1]) : 0);
        if (capture.call.endsWith("read")) {
            capture.store(arguments[1], result);
        }
        lines.end(capture, result);
    }

    private void duplicate(Capture capture, @Nullable Object[] arguments, long result) {
        int from = (int) Capture.number(arguments[0]);
        long command = Capture.number(arguments[1]);
        lines.begin(capture, "fcntl", from);
        writer.arguments(command, "", Capture.number(arguments[2]), 0);
        @Nullable
        String name = result >= 0 && (command == Uapi.F_DUPFD_CLOEXEC || command == Uapi.F_DUPFD)
                ? files.duplicated(from, (int) result)
                : null;
        if (name == null) {
            lines.end(result);
        } else {
            lines.made(name);
        }
    }

    private void mmap(Capture capture, @Nullable Object[] arguments, long result) {
        long length = Capture.number(arguments[0]);
        long flags = Capture.number(arguments[2]);
        int fd = (int) Capture.number(arguments[3]);
        boolean anonymous = (flags & Uapi.MAP_ANONYMOUS) != 0;
        String on = anonymous ? "" : files.subject(fd);
        lines.begin(capture, "mmap", on);
        writer.arguments(Capture.number(arguments[1]), "", length, flags);
        if (result < 0 && result >= -4095) {
            lines.end(result);
            return;
        }
        String name = files.next(FileKind.MEMORY);
        memory.mapped(result, length, name);
        if (!anonymous && files.type(fd) == FileKind.VCPU) {
            ioctls.mapped(on, name);
        }
        lines.made(name);
    }

    private void ppoll(Capture capture, @Nullable Object[] arguments, long result) {
        lines.begin(capture, "ppoll", "");
        long timeout = Capture.number(arguments[2]);
        long nanos = -1;
        if (timeout != 0 && memory.copy(timeout, Uapi.Timespec.SIZE, capture.out)) {
            nanos = nanos(capture.out.getLong(Uapi.Timespec.TV_SEC), capture.out.getLong(Uapi.Timespec.TV_NSEC));
        }
        writer.arguments(0, "", nanos, 0);
        if (result >= 0) {
            capture.storeChanged(arguments[0]);
        }
        ioctls.maskPoll(capture);
        lines.end(capture, result);
    }

    /** Converts to nanoseconds. Overflow is the largest long: C programs wait for ever by such a time. */
    private static long nanos(long seconds, long nanos) {
        try {
            return Math.addExact(Math.multiplyExact(seconds, 1_000_000_000L), nanos);
        } catch (ArithmeticException e) {
            return seconds < 0 ? Long.MIN_VALUE : Long.MAX_VALUE;
        }
    }

    // The end

    void flush() throws IOException {
        synchronized (writer) {
            writer.flush();
        }
    }

    void close() throws IOException {
        synchronized (writer) {
            if (!closed) {
                closed = true;
                memory.close();
                writer.close();
            }
        }
    }
}
