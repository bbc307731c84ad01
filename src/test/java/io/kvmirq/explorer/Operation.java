/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.function.Consumer;
import java.util.function.Predicate;

/**
 * Something an actor does.
 *
 * @param name for a listing of the order
 * @param enabled whether it can begin, by memory as the actor sees it
 * @param atomic whether all of it is one step, past any store buffer, as a device does
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
