/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Objects;

/**
 * A field value that violates the manual, and the value that the manual requires. Violations are returned in a list,
 * not thrown, because a machine's registers can contain any value.
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
