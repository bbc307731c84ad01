/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.List;

/**
 * A thread, a CPU or a device of a model.
 *
 * @param operations in order
 * @param repeats whether the first operation follows the last; such an actor may wait at the end of an order
 */
public record Actor(String name, List<Operation> operations, boolean repeats) {
    public static Actor of(String name, Operation... operations) {
        return new Actor(name, List.of(operations), false);
    }

    /** An actor that does {@code operation} each time it is enabled. */
    public static Actor answering(String name, Operation operation) {
        return new Actor(name, List.of(operation), true);
    }
}
