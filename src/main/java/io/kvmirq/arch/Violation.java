/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

/**
 * Something the hardware's manual forbids, found in bits that came from elsewhere. Listed, never thrown: what was read
 * from a machine is data.
 *
 * @param name of the field
 * @param text what it is and what was expected
 */
public record Violation(String name, String text) {
    @Override
    public String toString() {
        return name + ": " + text;
    }
}
