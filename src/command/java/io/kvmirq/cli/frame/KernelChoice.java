/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.Profile;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.TypeConversionException;

/** The values of {@code --backend} and {@code --profile}, checked when they are parsed. */
public final class KernelChoice {
    private KernelChoice() {}

    public static OptionSpec.Builder backendOption(Backends backends) {
        return Command.option("--backend", "BACKEND", String.class)
                .converters(text -> {
                    if (backends.names().contains(text)) {
                        return text;
                    }
                    throw new TypeConversionException(notOneOf(text, backends.names()));
                })
                .completionCandidates(backends.names());
    }

    public static OptionSpec.Builder profileOption() {
        return Command.option("--profile", "PROFILE", String.class)
                .converters(text -> {
                    try {
                        return Profile.parse(text).label();
                    } catch (IllegalArgumentException e) {
                        throw new TypeConversionException(e.getMessage());
                    }
                })
                .completionCandidates(Profile.names());
    }

    /** The error for an unknown value of an option. */
    public static String notOneOf(String text, List<String> known) {
        return Foreign.quoted(text) + " is not one of " + String.join(", ", known);
    }

    /**
     * The reason why the environment's backend is refused; empty for a real one. Only {@code option} selects the fake.
     */
    public static Optional<String> refused(Backends backends, String option) {
        String backend = Backends.selection();
        List<String> real = new ArrayList<>(backends.names());
        real.remove(Backends.FAKE);
        return real.contains(backend)
                ? Optional.empty()
                : Optional.of("-D" + Backends.PROPERTY + " or $" + Backends.ENVIRONMENT + ": " + notOneOf(backend, real)
                        + "; " + option + " selects the fake kernel");
    }
}
