/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.List;

/**
 * One who acts.
 *
 * @param operations done in order
 * @param repeats whether they begin again after the last; such an actor may be found waiting at the end
 */
public record Actor(String name, List<Operation> operations, boolean repeats) {
    public static Actor of(String name, Operation... operations) {
        return new Actor(name, List.of(operations), false);
    }

    /** One that answers whenever {@code operation} is enabled. */
    public static Actor answering(String name, Operation operation) {
        return new Actor(name, List.of(operation), true);
    }
}
