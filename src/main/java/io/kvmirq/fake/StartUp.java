/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.recording.Replay;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Map;

/** Brings a kernel to where the calls on a tape left another; only what uses it needs a reader of JSON. */
final class StartUp {
    private StartUp() {}

    /** @return the descriptors of what is open, by the names of the tape */
    @SuppressWarnings("resource") // what it made is to stay
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
