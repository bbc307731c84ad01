/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import static io.kvmirq.recording.replay.ReplayedTransfers.BAD;
import static io.kvmirq.recording.replay.ReplayedTransfers.DATA_AT;
import static io.kvmirq.recording.replay.ReplayedTransfers.MOST_DATA;
import static io.kvmirq.recording.replay.ReplayedTransfers.isBad;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Role;
import io.kvmirq.uapi.UapiVfio;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Makes the calls of a tape again, on the replay's files in place of the recorded ones. For one thread. */
final class ReplayedCalls {
    /** The answer of a call, in the form of a tape line; {@code out} is valid until the next call. */
    record Answer(long result, ByteBuffer out) {}

    private static final int OPEN_FLAGS = Uapi.O_RDWR | Uapi.O_NONBLOCK | Uapi.O_CLOEXEC;
    /** A valid address without memory, for guest memory that is not on the tape. */
    private static final long NOBODYS = 0x10000;
    /** Matches whole names, because a path with such a prefix may lead anywhere. */
    private static final Pattern DEVICES =
            Pattern.compile("/dev/kvm|/dev/iommu|/dev/vfio/(vfio|[0-9]{1,10}|devices/vfio[0-9]{1,10})");

    private static final int PROTECTION = Uapi.PROT_READ | Uapi.PROT_WRITE;

    private static final int MAP_FLAGS = Uapi.MAP_SHARED | Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS;

    private final Libc libc;
    private final ReplayedFiles files;
    private final Runs runs;
    private final ByteBuffer argument = Buffers.allocate(ReplayedTransfers.ROOM);
    private final long address;
    private final ReplayedTransfers transfers;
    private final int[] places = new int[Arguments.MOST_FDS];
    private boolean memoryUnknown;

    ReplayedCalls(Libc libc, ReplayedFiles files, Runs runs) {
        this.libc = libc;
        this.files = files;
        this.runs = runs;
        this.address = libc.addressOf(argument);
        this.transfers = new ReplayedTransfers(libc, files, argument);
    }

    /** Whether a guest has memory that is not on the tape. */
    boolean isMemoryUnknown() {
        return memoryUnknown;
    }

    /** Whether the tape has all data that the call needs, and its files are open here. */
    boolean isPossible(TapeLine.Call call) {
        return !ReplayPassed.points(call) && !files.lacks(call);
    }

    /** Sets the state that the program read from the tape, because a guest that did not run here has changed it. */
    void take(TapeLine.Call call) {
        @Nullable Request request = Arguments.of(call.request(), call.on());
        if (request == null || request.setBy() == 0 || call.out().isEmpty() || call.cut()) {
            return;
        }
        ByteBuffer state = call.out().get();
        argument.put(0, state, 0, state.limit());
        try {
            libc.ioctl(files.subject(call.on()), request.setBy(), address);
        } catch (UnsupportedOperationException e) {
            // The state stays as it is: the kernel does not model it.
        }
    }

    /** The replay of reads, writes and waits. */
    ReplayedTransfers transfers() {
        return transfers;
    }

    /** @throws TimeoutException if a guest does not leave KVM_RUN */
    Answer make(TapeLine.Call call) throws TimeoutException {
        try {
            long result = result(call);
            if (result >= 0) {
                made(call, result);
            }
            return new Answer(result, argument);
        } finally {
            Reference.reachabilityFence(argument);
        }
    }

    private void made(TapeLine.Call call, long result) {
        if (call.made().isPresent() && !call.call().equals("mmap")) {
            @Nullable
            Field made = call.call().equals("ioctl")
                    ? Arguments.made(Arguments.of(call.request(), call.on()), argument, argument.limit(), result)
                    : null;
            files.opened(call.made().get(), made == null ? (int) result : argument.getInt(made.offset()));
        }
    }

    private long result(TapeLine.Call call) throws TimeoutException {
        if (call.isRead() || call.isWrite()) {
            return transfers.make(call);
        }
        return switch (call.call()) {
            case "open", "openat" -> open(call);
            case "eventfd" -> libc.eventfd((int) call.value(), (int) call.flags());
            case "epoll_create" -> libc.epollCreate((int) call.flags());
            case "epoll_ctl" -> epollControl(call);
            case "epoll_wait" -> epollWait(call);
            case "close" -> close(call.on());
            case "fcntl" -> {
                long command = call.request() == 0 ? Uapi.F_DUPFD_CLOEXEC : call.request();
                yield libc.fcntl(files.subject(call.on()), (int) command, (int) call.value());
            }
            case "dup", "dup2", "dup3" -> duplicate(call);
            case "poll", "ppoll" -> poll(call);
            case "mmap" -> map(call);
            case "munmap" -> files.unmap(call.on());
            case "memory" -> fill(call);
            case "ioctl" -> ioctl(call);
            default -> throw new LackingException("the file and the data of " + call.call());
        };
    }

    private long open(TapeLine.Call call) {
        String path = call.path()
                .filter(known -> !libc.isReal() || DEVICES.matcher(known).matches())
                .orElseThrow(() -> new LackingException("a file that is no device of KVM, VFIO or iommufd"));
        return libc.open(Buffers.cString(path), (int) call.flags() & OPEN_FLAGS);
    }

    private long duplicate(TapeLine.Call call) {
        long result = libc.fcntl(files.subject(call.on()), Uapi.F_DUPFD_CLOEXEC, 0);
        Optional.ofNullable(call.names().get("value")).ifPresent(this::close);
        return result;
    }

    private int close(String name) {
        int result = libc.close(files.subject(name));
        files.closed(name);
        return result;
    }

    private long poll(TapeLine.Call call) {
        long at = transfers.load(call.in(), call);
        int bytes = call.in().map(ByteBuffer::limit).orElse(0);
        for (int entry = 0; entry + Uapi.Pollfd.SIZE <= bytes; entry += Uapi.Pollfd.SIZE) {
            putDescriptor(call, entry);
        }
        return libc.ppoll(
                at, bytes / Uapi.Pollfd.SIZE, transfers.timeout(call.result() > 0 ? transfers.patience() : 0));
    }

    private void putDescriptor(TapeLine.Call call, int at) {
        String name = call.names().get(String.valueOf(at));
        argument.putInt(at, name == null ? files.unnamed(argument.getInt(at), call) : files.subject(name));
    }

    private long epollControl(TapeLine.Call call) {
        String name = call.names().get("value");
        int fd = name == null ? files.unnamed((int) call.value(), call) : files.subject(name);
        return libc.epollCtl(files.subject(call.on()), (int) call.request(), fd, transfers.load(call.in(), call));
    }

    private long epollWait(TapeLine.Call call) {
        int most = (int) Math.max(1, Math.min(call.flags(), MOST_DATA / Uapi.Iovec.SIZE));
        int millis = call.result() > 0 ? (int) TimeUnit.NANOSECONDS.toMillis(transfers.patience()) : 0;
        return libc.epollWait(files.subject(call.on()), isBad(call) ? BAD : address, most, millis);
    }

    // Memory

    private long map(TapeLine.Call call) {
        files.requireRoom(call.value());
        int fd = call.on().isEmpty() ? -1 : files.subject(call.on());
        boolean fails = call.errno().isPresent();
        // libkvmirqtape.so records no protection, and no accesses to the memory.
        boolean bare = !fails && call.made().isEmpty() && call.request() == 0;
        int protection = bare ? PROTECTION : (int) call.request();
        int flags = bare ? Uapi.MAP_SHARED : (int) call.flags() & MAP_FLAGS;
        if (!fails && protection != PROTECTION) {
            throw new LackingException("what a mapping that is not to be read and written is for");
        }
        long mapped = libc.mmap(call.value(), protection, flags, fd, 0);
        if (mapped < 0) {
            return mapped;
        }
        if (fails || call.made().isEmpty()) {
            libc.munmap(mapped, call.value());
        } else {
            files.mapped(call.made().get(), call.on(), mapped, call.value());
        }
        return 0;
    }

    private long fill(TapeLine.Call call) {
        ReplayedFiles.Mapping mapping = files.mapping(call.on());
        if (call.in().isEmpty()) {
            memoryUnknown = true;
            throw new LackingException("what the guest's memory holds");
        }
        if (!mapping.anonymous()) {
            throw new CannotReplayException("writing into " + call.on() + ", which is a mapping of a file");
        }
        ByteBuffer memory = mapping.bytes();
        ByteBuffer bytes = call.in().get();
        if (call.value() < 0 || call.value() > memory.capacity() - bytes.limit()) {
            throw new CannotReplayException("bytes beyond the end of " + call.on());
        }
        memory.put((int) call.value(), bytes, 0, bytes.limit());
        return 0;
    }

    // ioctl

    private long ioctl(TapeLine.Call call) throws TimeoutException {
        int fd = files.subject(call.on());
        if (call.request() == Uapi.KVM_RUN) {
            return run(call, fd);
        }
        @Nullable Request known = Arguments.of(call.request(), call.on());
        if (Arguments.isValue(call.request(), known)) {
            return libc.ioctl(fd, call.request(), call.value());
        }
        if (call.request() == UapiVfio.VFIO_GROUP_GET_DEVICE_FD && libc.isReal()) {
            throw new CannotReplayException("a device of this machine, which VFIO resets as it opens it");
        }
        long at = transfers.load(call.in(), call);
        if (call.in().isPresent()) {
            at = inner(known) && isBad(call) ? address : at;
            int given = call.in().get().limit();
            for (int rest = given; rest < Arguments.length(call.request(), known, argument); rest++) {
                argument.put(rest, (byte) 0);
            }
            putNames(call, known);
        }
        return libc.ioctl(fd, call.request(), at);
    }

    /** Whether the structure has an address field. On EFAULT that address is the bad one. */
    private static boolean inner(@Nullable Request known) {
        return known != null
                && known.argument()
                        .flatMap(struct -> struct.field(Role.ADDRESS))
                        .filter(field -> !field.target().guest())
                        .isPresent();
    }

    private void putNames(TapeLine.Call call, @Nullable Request known) {
        int length = call.in().orElseThrow().limit();
        int count = Arguments.places(known, Role.FD, argument, length, places);
        for (int i = 0; i < count; i++) {
            putDescriptor(call, places[i]);
        }
        @Nullable Field memory = Arguments.guestMemory(known);
        if (memory != null && length >= memory.offset() + Long.BYTES) {
            long size = argument.getLong(memory.target().lengthAt());
            @Nullable String place = call.names().get(String.valueOf(memory.offset()));
            memoryUnknown |= size != 0 && place == null;
            argument.putLong(memory.offset(), place == null ? NOBODYS : files.address(place, size));
            return;
        }
        count = Arguments.places(known, Role.ADDRESS, argument, length, places);
        for (int i = 0; i < count; i++) {
            argument.putLong(places[i], isBad(call) ? BAD : data(call));
        }
    }

    /** The address of the value of an attribute, as recorded or zeros. */
    private long data(TapeLine.Call call) {
        argument.putLong(DATA_AT, 0);
        call.data().ifPresent(bytes -> argument.put(DATA_AT, bytes, 0, Math.min(bytes.limit(), MOST_DATA)));
        Map<String, String> names = call.names();
        if (names.containsKey("data")) {
            argument.putInt(DATA_AT, files.subject(names.getOrDefault("data", "")));
        }
        return address + DATA_AT;
    }

    private long run(TapeLine.Call call, int fd) throws TimeoutException {
        if (!call.begins()) {
            return runs.end(call.on());
        }
        files.run(call.on()).ifPresent(run -> call.in()
                .filter(bytes -> bytes.limit() > Uapi.KvmRun.IMMEDIATE_EXIT)
                .ifPresent(bytes -> run.put(Uapi.KvmRun.IMMEDIATE_EXIT, bytes.get(Uapi.KvmRun.IMMEDIATE_EXIT))));
        runs.begin(call.on(), fd);
        return 0;
    }
}
