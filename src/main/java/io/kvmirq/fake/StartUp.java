/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.recording.Replay;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Map;

/** Replays a tape on a new kernel. A class of its own, so that only its users load the JSON reader. */
final class StartUp {
    private StartUp() {}

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
