/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.Errno;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Masking;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A call as {@code libkvmirqtape.so} appends it, with descriptor numbers. The fields are those of {@link
 * TapeLine.Call}, and {@code file} is the file behind {@code fd}, or the opened file.
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

    /** Converts a call: replaces descriptor numbers by names. Calls must come in the order of the tape. */
    static TapeLine.Call named(RawCall raw, long number, Identities files) {
        return new Naming(raw, files).call(number);
    }

    private static final class Naming implements Masking.Holder {
        private static final ByteBuffer NONE = ByteBuffer.allocate(0);

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
            boolean polls = raw.call.equals("poll") || raw.call.equals("ppoll");
            boolean onNothing = opens || polls || raw.call.equals("eventfd");
            String on = onNothing ? "" : files.of(raw.pid, raw.fd, raw.file);
            switch (raw.call) {
                case "ioctl" -> ioctl(on);
                case "open", "openat" -> made(raw.file.map(FileKind::ofLink).orElse(FileKind.NONE));
                case "eventfd" -> made(FileKind.EVENTFD);
                case "fcntl", "dup", "dup2", "dup3" -> duplicate();
                case "close" -> files.closed(raw.pid, raw.fd);
                case "poll", "ppoll" -> masked(this::poll);
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
                    readOnly(in),
                    readOnly(out),
                    readOnly(data),
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

        private void masked(Function<Masking, String> call) {
            in = in.map(Naming::copy);
            out = out.map(Naming::copy);
            data = data.map(Naming::copy);
            Masking masking = new Masking(this);
            masking.over(in.orElse(NONE), length(in), out.orElse(NONE), length(out));
            made = Optional.of(call.apply(masking)).filter(name -> !name.isEmpty());
        }

        private static ByteBuffer copy(ByteBuffer bytes) {
            return ByteBuffer.allocate(bytes.limit())
                    .order(ByteOrder.nativeOrder())
                    .put(0, bytes, 0, bytes.limit());
        }

        private static Optional<ByteBuffer> readOnly(Optional<ByteBuffer> bytes) {
            return bytes.map(all -> all.asReadOnlyBuffer().order(ByteOrder.nativeOrder()));
        }

        private static int length(Optional<ByteBuffer> bytes) {
            return bytes.map(ByteBuffer::limit).orElse(-1);
        }

        private String poll(Masking masking) {
            masking.poll();
            return "";
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
            masked(masking -> masking.ioctl(known, raw.request, kind, data.orElse(NONE), length(data), raw.result));
        }

        @Override
        public @Nullable String file(int fd) {
            return files.of(raw.pid, fd).orElse(null);
        }

        @Override
        public String made(int fd, FileKind kind) {
            return files.created(raw.pid, fd, kind);
        }

        /** Returns no name, because a tape of another program has no mappings. */
        @Override
        public String guestMemory(long address) {
            return "";
        }

        @Override
        public void named(int place, String name) {
            names.put(place == Masking.IN_DATA ? "data" : String.valueOf(place), name);
        }
    }
}
