/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Objects;

/**
 * A violation of the manual by a field: the field's value, and the expected value. Violations are returned in a list
 * and not thrown, because the registers of a machine may hold any value.
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
