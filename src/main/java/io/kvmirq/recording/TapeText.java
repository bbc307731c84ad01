/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.StringJoiner;
import java.util.stream.Collectors;

/**
 * A tape as text, a line for each call: {@code vm#1 KVM_IRQFD fd=eventfd#3 gsi=24 = EBUSY}. Lines must come in the order
 * of the tape. For one thread.
 */
public final class TapeText {
    /** Routes of one table that are listed. */
    public static final int ROUTE_LIMIT = 16;

    private static final Map<Long, List<UapiTable.Request>> REQUESTS =
            UapiTable.REQUESTS.stream().collect(Collectors.groupingBy(UapiTable.Request::number));
    private static final Map<String, FileType> CREATORS = Map.of(
            "KVM_CREATE_VM", FileType.VM,
            "KVM_CREATE_VCPU", FileType.VCPU,
            "VFIO_GROUP_GET_DEVICE_FD", FileType.VFIO_DEVICE);

    private final StructText structs;
    private final Identities files = new Identities();
    private Optional<Integer> firstPid = Optional.empty();

    public TapeText() {
        this(ROUTE_LIMIT);
    }

    /** @param routeLimit how many entries of one routing table to list */
    public TapeText(int routeLimit) {
        this.structs = new StructText(routeLimit);
    }

    /** One line without its end; for all processes but the first that called, it begins with the process. */
    public String render(TapeLine line) {
        return Names.printable(text(line));
    }

    private String text(TapeLine line) {
        if (line instanceof TapeLine.Header header) {
            files.forgotten(header.pid());
            return "# " + header.program() + " as process " + header.pid() + " on Linux " + header.kernel() + " "
                    + header.architecture();
        }
        TapeLine.Call call = (TapeLine.Call) line;
        if (firstPid.isEmpty()) {
            firstPid = Optional.of(call.pid());
        }
        String process = firstPid.get() == call.pid() ? "" : "[" + call.pid() + "] ";
        return process
                + switch (call.call()) {
                    case "ioctl" -> ioctl(call);
                    case "open", "openat" -> open(call);
                    case "eventfd" -> eventfd(call);
                    case "fcntl", "dup", "dup2", "dup3" -> duplicate(call);
                    case "close" -> close(call);
                    case "read", "preadv2" -> count(call, call.out());
                    case "write" -> count(call, call.in());
                    case "ppoll" -> ppoll(call);
                    case "mmap" -> subject(call) + " mmap length=" + call.value() + result(call);
                    default -> subject(call) + " " + call.call() + result(call);
                };
    }

    private String subject(TapeLine.Call call) {
        return files.of(call.pid(), call.fd(), call.file());
    }

    private static String result(TapeLine.Call call) {
        return " = " + call.errno().map(Errno::toString).orElseGet(() -> String.valueOf(call.result()));
    }

    /** The new file, or why there is none. */
    private String created(TapeLine.Call call, int fd, FileType type) {
        return call.result() < 0 ? result(call) : " = " + files.created(call.pid(), fd, type);
    }

    private String open(TapeLine.Call call) {
        String path = call.file().orElse("?");
        String text = call.call() + " " + path;
        return FileType.of(path)
                .map(type -> text + created(call, (int) call.result(), type))
                .orElseGet(() -> text + result(call));
    }

    private String eventfd(TapeLine.Call call) {
        return "eventfd " + call.value() + Names.flags(call.flags(), Names.EVENTFD)
                + created(call, (int) call.result(), FileType.EVENTFD);
    }

    private String duplicate(TapeLine.Call call) {
        String command = call.request() == Uapi.F_DUPFD_CLOEXEC ? "F_DUPFD_CLOEXEC" : "F_DUPFD";
        String text = subject(call)
                + switch (call.call()) {
                    case "fcntl" -> " " + command + " " + call.value();
                    case "dup" -> " dup";
                    default -> " " + call.call() + " " + call.value() + Names.flags(call.flags(), Names.DUP);
                };
        return call.result() < 0
                ? text + result(call)
                : text + " = " + files.duplicated(call.pid(), call.fd(), (int) call.result(), call.file());
    }

    private String close(TapeLine.Call call) {
        String text = subject(call) + " close" + result(call);
        files.closed(call.pid(), call.fd());
        return text;
    }

    /** What was added or taken, rather than the 8 bytes that it fills. */
    private String count(TapeLine.Call call, Optional<ByteBuffer> bytes) {
        String verb = subject(call) + " " + call.call();
        Optional<String> count = bytes.filter(eight -> eight.limit() == Long.BYTES)
                .map(eight -> Long.toUnsignedString(eight.getLong(0)));
        if (call.call().equals("write")) {
            return verb + count.map(added -> " " + added).orElse("") + result(call);
        }
        return verb
                + (call.result() == Long.BYTES ? count.map(taken -> " = " + taken) : Optional.<String>empty())
                        .orElse(result(call));
    }

    private String ppoll(TapeLine.Call call) {
        StringJoiner asked = new StringJoiner(" ");
        call.in().ifPresent(bytes -> poll(call, bytes, Uapi.Pollfd.EVENTS, asked));
        StringJoiner ready = new StringJoiner(" ");
        call.out().ifPresent(bytes -> poll(call, bytes, Uapi.Pollfd.REVENTS, ready));
        String timeout = call.value() < 0 ? "" : " timeout=" + duration(call.value());
        String answer = call.result() > 0 ? " = " + ready : result(call);
        return "ppoll " + asked + timeout + answer;
    }

    private static String duration(long nanos) {
        return nanos % 1_000_000 == 0 ? nanos / 1_000_000 + "ms" : nanos + "ns";
    }

    private void poll(TapeLine.Call call, ByteBuffer bytes, int eventsAt, StringJoiner to) {
        for (int at = 0; at + Uapi.Pollfd.SIZE <= bytes.limit(); at += Uapi.Pollfd.SIZE) {
            int events = bytes.getShort(at + eventsAt) & 0xffff;
            if (events != 0) {
                String name = events == Uapi.POLLIN ? "IN" : events == Uapi.POLLNVAL ? "NVAL" : Names.hex(events);
                to.add(files.of(call.pid(), bytes.getInt(at + Uapi.Pollfd.FD)) + ":" + name);
            }
        }
    }

    // ioctl

    private String ioctl(TapeLine.Call call) {
        String subject = subject(call);
        Optional<UapiTable.Request> request = request(call);
        String name = request.map(UapiTable.Request::name).orElseGet(() -> "ioctl " + Names.hex(call.request()));
        return subject + " " + name + argument(call, request) + (call.cut() ? " (cut)" : "") + ioctlResult(call, name);
    }

    /** The same number is another request on another file: ask the file. */
    private static Optional<UapiTable.Request> request(TapeLine.Call call) {
        List<UapiTable.Request> named = REQUESTS.getOrDefault(call.request(), List.of());
        Optional<UapiTable.FileKind> kind = call.file().flatMap(FileType::of).flatMap(FileType::kind);
        return named.stream()
                .filter(request -> Optional.of(request.kind()).equals(kind))
                .findFirst()
                .or(() -> named.stream().findFirst());
    }

    private String argument(TapeLine.Call call, Optional<UapiTable.Request> request) {
        Optional<UapiTable.Struct> struct = request.flatMap(UapiTable.Request::argument);
        Optional<ByteBuffer> bytes = reads(call.request()) ? call.out().or(call::in) : call.in();
        if (bytes.isPresent()) {
            return struct.map(known -> structs.of(known, call, bytes.get(), fd -> files.of(call.pid(), fd)))
                    .orElseGet(() -> StructText.raw(bytes.get()));
        }
        if (struct.isPresent()) {
            return " (argument unreadable)";
        }
        if (call.request() == Uapi.KVM_CHECK_EXTENSION) {
            return " " + Names.capability(call.value());
        }
        return call.value() == 0 && !isCreator(request) ? "" : " " + Long.toUnsignedString(call.value());
    }

    private static boolean isCreator(Optional<UapiTable.Request> request) {
        return request.filter(known -> CREATORS.containsKey(known.name())).isPresent();
    }

    /** Whether what the kernel wrote is the point: a request that reads only, but for one so encoded by mistake. */
    private static boolean reads(long request) {
        return request >>> 30 == 2 && request != Uapi.KVM_SET_IRQCHIP;
    }

    private String ioctlResult(TapeLine.Call call, String name) {
        if (CREATORS.containsKey(name)) {
            return created(call, (int) call.result(), CREATORS.get(name));
        }
        if (call.request() == Uapi.KVM_CREATE_DEVICE && call.result() == 0) {
            return after(call, Uapi.KvmCreateDevice.SIZE)
                    .filter(bytes -> (bytes.getInt(Uapi.KvmCreateDevice.FLAGS) & Uapi.KVM_CREATE_DEVICE_TEST) == 0)
                    .map(bytes -> created(call, bytes.getInt(Uapi.KvmCreateDevice.FD), FileType.KVM_DEVICE))
                    .orElseGet(() -> result(call));
        }
        if (call.request() == Uapi.KVM_IRQ_LINE_STATUS && call.result() >= 0) {
            return result(call)
                    + after(call, Uapi.KvmIrqLevel.SIZE)
                            .map(bytes -> " status=" + bytes.getInt(Uapi.KvmIrqLevel.IRQ))
                            .orElse("");
        }
        return result(call);
    }

    /** The whole structure after the call; what the kernel left as it was is on the tape once. */
    private static Optional<ByteBuffer> after(TapeLine.Call call, int size) {
        return call.out().or(call::in).filter(bytes -> bytes.limit() >= size);
    }
}
