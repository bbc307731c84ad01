/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.Errno;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Role;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A call as {@code libkvmirqtape.so} appends it: with numbers for files. The fields are those of {@link TapeLine.Call}, and
 * {@code file} is what {@code fd} was open on, or what was opened.
 */
record RawCall(
        int pid,
        int tid,
        String call,
        int fd,
        Optional<String> file,
        long request,
        long value,
        long flags,
        Optional<ByteBuffer> in,
        Optional<ByteBuffer> out,
        Optional<ByteBuffer> data,
        boolean cut,
        long result,
        Optional<Errno> errno) {

    /** With names for its numbers, in the order of the tape. */
    static TapeLine.Call named(RawCall raw, long number, Identities files) {
        return new Naming(raw, files).call(number);
    }

    /** The naming of one call. */
    private static final class Naming {
        private final RawCall raw;
        private final Identities files;
        private final Map<String, String> names = new HashMap<>();
        private Optional<ByteBuffer> in;
        private Optional<ByteBuffer> out;
        private Optional<ByteBuffer> data;
        private long value;
        private Optional<String> made = Optional.empty();

        Naming(RawCall raw, Identities files) {
            this.raw = raw;
            this.files = files;
            this.in = raw.in;
            this.out = raw.out;
            this.data = raw.data;
            this.value = raw.value;
        }

        TapeLine.Call call(long number) {
            boolean opens = raw.call.equals("open") || raw.call.equals("openat");
            boolean onNothing = opens || raw.call.equals("eventfd") || raw.call.equals("ppoll");
            String on = onNothing ? "" : files.of(raw.pid, raw.fd, raw.file);
            switch (raw.call) {
                case "ioctl" -> ioctl(on);
                case "open", "openat" -> made(raw.file.map(FileKind::ofLink).orElse(FileKind.NONE));
                case "eventfd" -> made(FileKind.EVENTFD);
                case "fcntl", "dup", "dup2", "dup3" -> duplicate();
                case "close" -> files.closed(raw.pid, raw.fd);
                case "ppoll" -> poll();
                default -> {}
            }
            return new TapeLine.Call(
                    number,
                    raw.pid,
                    raw.tid,
                    raw.call,
                    on,
                    opens ? raw.file : Optional.empty(),
                    raw.request,
                    value,
                    raw.flags,
                    in,
                    out,
                    data,
                    Map.copyOf(names),
                    false,
                    made,
                    raw.cut,
                    made.isPresent() ? 0 : raw.result,
                    raw.errno);
        }

        private void made(FileKind kind) {
            if (raw.result >= 0 && kind != FileKind.NONE) {
                made = Optional.of(files.created(raw.pid, (int) raw.result, kind));
            }
        }

        private void duplicate() {
            if (raw.result < 0) {
                return;
            }
            if (raw.call.startsWith("dup") && raw.result != raw.fd) {
                files.of(raw.pid, (int) raw.result).ifPresent(replaced -> names.put("value", replaced));
            }
            files.duplicated(raw.pid, raw.fd, (int) raw.result);
            made = files.of(raw.pid, raw.fd);
        }

        private void poll() {
            for (int at = 0; in.isPresent() && at + Uapi.Pollfd.SIZE <= in.get().limit(); at += Uapi.Pollfd.SIZE) {
                nameDescriptor(at);
            }
        }

        private void ioctl(String on) {
            FileKind kind = FileKind.ofName(on);
            @Nullable Request known = UapiTable.find(raw.request, kind);
            value = Arguments.value(raw.request, known, raw.value);
            if (known != null && known.isValue()) {
                in = Optional.empty();
                out = Optional.empty();
            }
            int length = in.map(bytes -> Arguments.valueLength(known, bytes, bytes.limit()))
                    .orElse(0);
            data = raw.data
                    .filter(bytes -> length > 0 && bytes.limit() >= length)
                    .map(bytes -> bytes.slice(0, length).order(ByteOrder.nativeOrder()));
            if (in.isPresent()) {
                int[] at = new int[Arguments.MOST_FDS];
                int addresses = Arguments.addresses(
                        raw.request, kind, in.get(), in.get().limit(), at);
                for (int i = 0; i < addresses; i++) {
                    zero(at[i]);
                    zero(at[i] + Integer.BYTES);
                }
                int count = Arguments.places(known, Role.FD, in.get(), in.get().limit(), at);
                for (int i = 0; i < count; i++) {
                    nameDescriptor(at[i]);
                }
            }
            data.filter(bytes -> Arguments.isDescriptor(known))
                    .flatMap(bytes -> files.of(raw.pid, bytes.getInt(0)))
                    .ifPresent(name -> names.put("data", name));
            made(Arguments.makes(known));
            // What the kernel left as it was is on the tape once.
            out.or(() -> in).ifPresent(after -> {
                @Nullable Field field = Arguments.made(known, after, after.limit(), raw.result);
                if (field != null) {
                    made = Optional.of(
                            files.created(raw.pid, after.getInt(field.offset()), Arguments.kind(field, after)));
                    out = Optional.of(zeroed(after, field.offset()));
                }
            });
        }

        private void nameDescriptor(int at) {
            Optional<String> name = files.of(raw.pid, in.orElseThrow().getInt(at));
            if (name.isPresent()) {
                names.put(String.valueOf(at), name.get());
                zero(at);
            }
        }

        private void zero(int at) {
            in = in.map(bytes -> zeroed(bytes, at));
            out = out.filter(bytes -> bytes.limit() >= at + Integer.BYTES)
                    .map(bytes -> zeroed(bytes, at))
                    .or(() -> out);
        }

        private static ByteBuffer zeroed(ByteBuffer bytes, int at) {
            ByteBuffer copy = ByteBuffer.allocate(bytes.limit()).order(ByteOrder.nativeOrder());
            copy.put(0, bytes, 0, bytes.limit()).putInt(at, 0);
            return copy.asReadOnlyBuffer().order(ByteOrder.nativeOrder());
        }
    }
}
