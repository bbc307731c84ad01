/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

/**
 * A rule of the hardware's manual that bits from elsewhere break. Violations are listed and never thrown, because words
 * read from a machine may hold any value.
 *
 * @param text the value and the expectation
 */
public record Violation(String name, String text) {
    @Override
    public String toString() {
        return name + ": " + text;
    }
}
