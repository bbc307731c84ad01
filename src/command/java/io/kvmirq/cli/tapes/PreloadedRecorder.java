/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.recording.Preload;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Records by {@code libkvmirqtape.so}, which is preloaded into the program. */
final class PreloadedRecorder implements ProgramRecorder {
    private static final String PRELOAD = "LD_PRELOAD";

    private final Path library = NativeLibrary.recorderOfThisMachine().file();

    PreloadedRecorder() {
        if (library.toString().matches(".*[ :].*")) {
            throw new BackendUnavailableException(
                    library + " cannot be preloaded: the path contains a space or a colon;"
                            + " set $XDG_CACHE_HOME or -Dkvmirq.cache to another directory");
        }
    }

    @Override
    public ProcessBuilder builder(List<String> command, Path tape, long limit) {
        ProcessBuilder builder = new ProcessBuilder(command);
        Map<String, String> environment = builder.environment();
        String others = environment.getOrDefault(PRELOAD, "");
        environment.put(PRELOAD, others.isEmpty() ? library.toString() : library + ":" + others);
        environment.putAll(Preload.environment(tape, limit));
        return builder;
    }

    @Override
    public void requireStarted(String program) {
        // The program is the started process itself, so a failed start is an exception of ProcessBuilder.
    }

    @Override
    public String whyNothing(String program) {
        return program + " did not load the recorder; is it set-user-id, or a script for a static program?";
    }

    @Override
    public String whyNoCall(String program) {
        return program + " made none, or started a program that did not load the recorder; does that run as a user who"
                + " cannot read " + library
                + ", or with fewer capabilities or in another PID namespace than kvmirq, or is it statically linked, or set-user-id?";
    }

    @Override
    public void close() {
        // Nothing is open.
    }
}
