/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

/**
 * A rule of the hardware's manual that bits from elsewhere break. Violations are listed and never thrown: what was read
 * from a machine is data.
 *
 * @param text the value and what was expected
 */
public record Violation(String name, String text) {
    @Override
    public String toString() {
        return name + ": " + text;
    }
}
