/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.Profile;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** The values of {@code --backend} and {@code --profile}, checked when they are parsed. */
public final class KernelChoice {
    private KernelChoice() {}

    /** The name of a binding. */
    public static ITypeConverter<String> backend(Backends backends) {
        return text -> {
            if (backends.names().contains(text)) {
                return text;
            }
            throw new TypeConversionException("'" + text + "' is not one of " + String.join(", ", backends.names()));
        };
    }

    /** The label of a profile of the fake kernel. */
    public static ITypeConverter<String> profile() {
        return text -> {
            try {
                return Profile.of(text).label();
            } catch (IllegalArgumentException e) {
                throw new TypeConversionException(e.getMessage());
            }
        };
    }
}
