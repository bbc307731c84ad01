/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

/**
 * A host process's id, in the pid namespace of {@code /proc}. Immutable.
 *
 * @param number the id, 0 or more
 */
public record ProcessId(int number) {
    public ProcessId {
        if (number < 0) {
            throw new IllegalArgumentException("process id " + number + " is out of range: expected 0 or more");
        }
    }

    @Override
    public String toString() {
        return "process " + number;
    }
}
