/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.function.Consumer;
import java.util.function.Predicate;

/**
 * An operation of an actor.
 *
 * @param name for the listing of an order
 * @param enabled whether it can begin, by memory as the actor sees it
 * @param atomic whether the whole operation is one step without a store buffer, as for a device
 */
public record Operation(String name, Predicate<long[]> enabled, boolean atomic, Consumer<Cpu> code) {
    public static Operation of(String name, Consumer<Cpu> code) {
        return new Operation(name, memory -> true, false, code);
    }

    public static Operation atomic(String name, Consumer<Cpu> code) {
        return new Operation(name, memory -> true, true, code);
    }

    public Operation when(Predicate<long[]> condition) {
        return new Operation(name, condition, atomic, code);
    }
}
