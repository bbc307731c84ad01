/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.recording.Replay;
import io.kvmirq.recording.TapeLine;
import io.kvmirq.recording.TapeReader;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * Reads a tape's profile and replays the tape on a new kernel. A class of its own, so that only its users load the JSON
 * reader.
 */
final class StartUp {
    private StartUp() {}

    /** The profile of the kernel that answered on the tape, as its first line has it. */
    static Profile profile(Path tape) throws IOException {
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(Files.newInputStream(tape)))) {
            return reader.next()
                    .filter(TapeLine.Header.class::isInstance)
                    .map(TapeLine.Header.class::cast)
                    .map(StartUp::profile)
                    .orElse(Profile.V6_18);
        }
    }

    private static Profile profile(TapeLine.Header header) {
        if (!header.backend().equals(Backends.FAKE)) {
            return Profile.nearest(header.kernel(), header.architecture());
        }
        try {
            return Profile.of(header.kernel().replaceFirst("^fake kernel ", ""));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("the tape was recorded on a fake kernel: " + e.getMessage(), e);
        }
    }

    /** @return the open descriptors by their names on the tape */
    @SuppressWarnings("resource") // the replayed objects stay open
    static Map<String, Integer> replayed(Path tape, FakeKernel kernel) {
        try {
            Replay replay = new Replay(kernel);
            Replay.Outcome outcome = replay.run(tape);
            if (outcome instanceof Replay.Same) {
                return replay.descriptors();
            }
            throw new IllegalArgumentException(tape + " on " + kernel + ": " + outcome);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
