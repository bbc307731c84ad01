/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.NotPromised;
import io.kvmirq.recording.tapes.TapeException;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Role;
import io.kvmirq.uapi.UapiTable.Struct;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Records another program through {@code libkvmirqtape.so} or {@code kvmirqtrace}. It makes their settings, and turns
 * their lines into a tape. These lines hold the bytes as seen, including addresses of the program.
 */
@NotPromised
public final class Preload {
    private Preload() {}

    /** The environment of the program or the tracer. {@code limit}: most bytes of unread calls of a tape in memory. */
    public static Map<String, String> environment(Path tape, long limit) {
        return Map.of(
                "KVMIRQ_TAPE",
                tape.toString(),
                "KVMIRQ_TAPE_LIMIT",
                Long.toString(limit),
                "KVMIRQ_TAPE_LENGTHS",
                lengths());
    }

    /** Argument lengths that {@code native/observe/tape_argument.c} cannot take from the request number. */
    static String lengths() {
        Map<Long, String> words = new TreeMap<>();
        Stream.of(UapiTable.REQUESTS, UapiTable.ARM64).flatMap(List::stream).forEach(request -> word(request)
                .ifPresent(
                        word -> words.putIfAbsent(request.number(), Long.toHexString(request.number()) + ":" + word)));
        return String.join(" ", words.values());
    }

    private static Optional<String> word(Request request) {
        if (request.text()) {
            return Optional.of("0");
        }
        if (request.argument().isEmpty()) {
            return Optional.empty();
        }
        Struct struct = request.argument().get();
        Optional<Field> count = struct.field(Role.COUNT);
        Optional<Field> pointee =
                struct.field(Role.ADDRESS).filter(address -> address.target().bytes() > 0);
        boolean sized = (request.number() >>> 16 & 0x3fff) != 0
                || struct.field(Role.LENGTH).isPresent();
        if (sized && count.isEmpty() && pointee.isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(hex(struct.size())
                + count.map(field ->
                                "+" + hex(field.element()) + (field.offset() == 0 ? "" : "@" + hex(field.offset())))
                        .orElse("")
                + pointee.map(field -> "," + hex(field.offset()) + "*"
                                + hex(field.target().bytes()))
                        .orElse(""));
    }

    private static String hex(int number) {
        return Integer.toHexString(number);
    }

    /** The lines that the library appends. */
    @FunctionalInterface
    public interface Raw {
        /** @param beforeWaiting flushes the tape; the stream must call it before it waits for more lines */
        InputStream open(Runnable beforeWaiting) throws IOException;
    }

    /**
     * Writes a tape from the appended lines: names descriptors, removes addresses and adds the end line. Closes {@code
     * to}. Returns the number of calls. TapeException if a line is cut or malformed; earlier lines are written.
     */
    public static long finish(Raw raw, OutputStream to) throws IOException {
        Objects.requireNonNull(raw, "raw is null");
        Objects.requireNonNull(to, "to is null");
        long calls = 0;
        TapeWriter writer = new TapeWriter(to);
        try (to;
                TapeReader reader = TapeReader.of(new BufferedInputStream(raw.open(() -> flush(writer))))) {
            try {
                for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                    writer.write(line.get());
                    calls += line.get() instanceof TapeLine.Call ? 1 : 0;
                }
            } catch (TapeException e) {
                writer.flush();
                throw e;
            }
            writer.close();
        }
        return calls;
    }

    /** Flushes the writer; {@link TapeWriter#close} throws an error again. */
    private static void flush(TapeWriter writer) {
        try {
            writer.flush();
        } catch (IOException e) {
            // From now on the writer drops lines; its close() throws this error again.
        }
    }

    /** The ids of other processes that have a file open, or the target of a /proc link; of all users for root. */
    public static List<Long> writers(Path file) {
        Objects.requireNonNull(file, "file is null");
        Path shown = Files.isSymbolicLink(file) ? target(file) : file;
        return ProcessHandle.allProcesses()
                .map(ProcessHandle::pid)
                .filter(pid -> pid != ProcessHandle.current().pid() && hasOpen(pid, shown))
                .toList();
    }

    private static Path target(Path link) {
        try {
            return Files.readSymbolicLink(link);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean hasOpen(long pid, Path file) {
        try (Stream<Path> open = Files.list(Path.of("/proc/" + pid + "/fd"))) {
            for (Path descriptor : open.toList()) {
                if (Files.readSymbolicLink(descriptor).equals(file)) {
                    return true;
                }
            }
            return false;
        } catch (IOException e) {
            // The process has ended, or belongs to another user.
            return false;
        }
    }
}
