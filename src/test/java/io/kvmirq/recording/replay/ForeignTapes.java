/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.recording.tapes.TapeException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;

/** Replays tapes of other people's programs on the fake and prints a line for each: {@code make foreign}. */
public final class ForeignTapes {
    private static final String LINE = "%-32s %7s %7s %12s %8s %9s";

    private ForeignTapes() {}

    /**
     * How the replay of a tape ended.
     *
     * @param end empty for the tape's end, else the call that ended it and why
     */
    record Row(String name, long same, long passedOver, long unknown, boolean diverged, String end) {
        long calls() {
            return same + passedOver + unknown + (diverged ? 1 : 0);
        }

        @Override
        public String toString() {
            String row = String.format(LINE, name, calls(), same, passedOver, unknown, diverged ? 1 : 0);
            return end.isEmpty() ? row : row + System.lineSeparator() + "  " + end;
        }
    }

    /** The tapes of the tree. */
    public static List<Path> all() {
        try {
            Path recorded =
                    Path.of(Objects.requireNonNull(ForeignTapes.class.getResource("/io/kvmirq/recording/foreign"))
                            .toURI());
            try (Stream<Path> tapes = Files.list(recorded)) {
                List<Path> all =
                        new ArrayList<>(tapes.filter(file -> file.toString().endsWith(".tape.gz"))
                                .sorted()
                                .toList());
                all.add(recorded.resolveSibling("qemu-7.2-vfio.tape.gz"));
                return all;
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    private static InputStream open(Path tape) throws IOException {
        InputStream in = Files.newInputStream(tape);
        return tape.toString().endsWith(".gz") ? new GZIPInputStream(in) : in;
    }

    public static List<String> lines(Path tape) throws IOException {
        try (InputStream text = open(tape)) {
            return new String(text.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList();
        }
    }

    /** @param tape as text, or compressed */
    static Row replay(Path tape) throws IOException {
        String name = tape.getFileName().toString().replaceFirst("[.]gz$", "");
        Path plain = Files.createTempFile("foreign", ".tape");
        try (InputStream text = open(tape)) {
            Files.copy(text, plain, StandardCopyOption.REPLACE_EXISTING);
            FakeKernel kernel = new FakeKernel(FakeKernel.profileOf(plain));
            kernel.addDevicesOf(plain);
            try (Replay replay = new Replay(kernel.backend().libc())) {
                Replay.Outcome outcome = replay.run(plain);
                boolean diverged = outcome instanceof Replay.Diverged;
                String end =
                        outcome instanceof Replay.Same ? "" : (diverged ? "diverged at " : "stopped at ") + outcome;
                return new Row(name, outcome.calls(), replay.passedOver(), replay.unknown(), diverged, end);
            }
        } finally {
            Files.delete(plain);
        }
    }

    /** @param arguments tapes, or none for those of the tree */
    public static void main(String[] arguments) {
        List<Path> tapes = arguments.length == 0
                ? all()
                : Stream.of(arguments).map(Path::of).toList();
        System.out.printf(LINE + "%n", "tape", "calls", "same", "passed over", "unknown", "diverged");
        boolean whole = true;
        for (Path tape : tapes) {
            try {
                Row row = replay(tape);
                System.out.println(row);
                whole &= row.end.isEmpty();
            } catch (TapeException | IOException e) {
                boolean missing = e instanceof NoSuchFileException;
                System.out.println(tape + ": " + (missing ? "no such file" : e.getMessage()));
                whole = false;
            }
        }
        System.exit(whole ? 0 : 1);
    }
}
