/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.recording.tapes.TapeText;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Journal;
import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.selftest.Selftest;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/** Recordings that tests make. */
public final class Recordings {
    private Recordings() {}

    public static KernelBackend fake(Profile profile) {
        return new FakeKernel(profile).backend();
    }

    /** Records the calls of {@code program} through {@code backend}. */
    public static Path of(Path file, KernelBackend backend, Consumer<Kernel> program) {
        try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(file));
                Kernel kernel = Kernel.over(recorder.backend())) {
            program.accept(kernel);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return file;
    }

    public static Path ofSelftest(Path file, KernelBackend backend, Scenario scenario) {
        return ofSelftest(file, backend, scenario, Irqchip.FULL, Irqchip.SPLIT);
    }

    public static Path ofSelftest(Path file, KernelBackend backend, Scenario scenario, Irqchip... irqchips) {
        return of(file, backend, kernel -> {
            for (Irqchip irqchip : irqchips) {
                List<Result> results = new Selftest(kernel, irqchip, 5, new Journal() {}).run(List.of(scenario));
                assertThat(results).allSatisfy(result -> assertThat(result.failure())
                        .as(scenario.label())
                        .isEmpty());
            }
        });
    }

    public static List<TapeLine> lines(Path file) {
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(Files.newInputStream(file)))) {
            List<TapeLine> lines = new ArrayList<>();
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                lines.add(line.get());
            }
            return lines;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    public static List<String> text(Path file) {
        TapeText text = new TapeText();
        return lines(file).stream().map(text::render).toList();
    }
}
