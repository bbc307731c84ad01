/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Objects;

/**
 * A rule of the hardware's manual that bits from elsewhere break. Violations are listed and never thrown, because words
 * read from a machine may hold any value.
 *
 * @param text the value and the expectation
 */
public record Violation(String name, String text) {
    public Violation {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(text, "text is null");
    }

    @Override
    public String toString() {
        return name + ": " + text;
    }
}
