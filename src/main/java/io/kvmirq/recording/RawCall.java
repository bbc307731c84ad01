/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

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
        private Optional<String> made = Optional.empty();

        Naming(RawCall raw, Identities files) {
            this.raw = raw;
            this.files = files;
            this.in = raw.in;
            this.out = raw.out;
        }

        TapeLine.Call call(long number) {
            boolean opens = raw.call.equals("open") || raw.call.equals("openat");
            boolean onNothing = opens || raw.call.equals("eventfd") || raw.call.equals("ppoll");
            String on = onNothing ? "" : files.of(raw.pid, raw.fd, raw.file);
            switch (raw.call) {
                case "ioctl" -> ioctl();
                case "open", "openat" -> made(raw.file.flatMap(FileType::of));
                case "eventfd" -> made(Optional.of(FileType.EVENTFD));
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
                    raw.value,
                    raw.flags,
                    in,
                    out,
                    raw.data,
                    Map.copyOf(names),
                    made,
                    false,
                    raw.cut,
                    made.isPresent() ? 0 : raw.result,
                    raw.errno);
        }

        private void made(Optional<FileType> type) {
            if (raw.result >= 0) {
                made = type.map(known -> files.created(raw.pid, (int) raw.result, known));
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

        private void ioctl() {
            if (in.isPresent()) {
                int[] at = new int[Arguments.MOST_FDS];
                int count =
                        Arguments.descriptors(raw.request, in.get(), in.get().limit(), at);
                for (int i = 0; i < count; i++) {
                    nameDescriptor(at[i]);
                }
            }
            raw.data
                    .filter(data -> data.limit() == Integer.BYTES)
                    .flatMap(data -> files.of(raw.pid, data.getInt(0)))
                    .ifPresent(name -> names.put("data", name));
            made(Optional.ofNullable(FileType.madeBy(raw.request)));
            if (raw.request == Uapi.KVM_CREATE_DEVICE && raw.result == 0) {
                createDevice();
            }
        }

        /** What the kernel left as it was is on the tape once. */
        private void createDevice() {
            Optional<ByteBuffer> after = out.or(() -> in).filter(bytes -> bytes.limit() >= Uapi.KvmCreateDevice.SIZE);
            if (after.isPresent()
                    && (after.get().getInt(Uapi.KvmCreateDevice.FLAGS) & Uapi.KVM_CREATE_DEVICE_TEST) == 0) {
                int fd = after.get().getInt(Uapi.KvmCreateDevice.FD);
                made = Optional.of(files.created(raw.pid, fd, FileType.KVM_DEVICE));
                out = Optional.of(zeroed(after.get(), Uapi.KvmCreateDevice.FD));
            }
        }

        private void nameDescriptor(int at) {
            Optional<String> name = files.of(raw.pid, in.orElseThrow().getInt(at));
            if (name.isPresent()) {
                names.put(String.valueOf(at), name.get());
                in = in.map(bytes -> zeroed(bytes, at));
                out = out.filter(bytes -> bytes.limit() >= at + Integer.BYTES)
                        .map(bytes -> zeroed(bytes, at))
                        .or(() -> out);
            }
        }

        private static ByteBuffer zeroed(ByteBuffer bytes, int at) {
            ByteBuffer copy = ByteBuffer.allocate(bytes.limit()).order(ByteOrder.nativeOrder());
            copy.put(0, bytes, 0, bytes.limit()).putInt(at, 0);
            return copy.asReadOnlyBuffer().order(ByteOrder.nativeOrder());
        }
    }
}
