/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.function.Function;

/**
 * A search of a model in any package, and its expected verdict.
 *
 * @param variant what differs from the model that must not lose
 * @param scenario the actors
 * @param losesInOrder whether an interrupt is lost if every store is seen at once
 * @param losesBuffered whether an interrupt is lost with store buffers
 */
public record Race(
        String variant,
        String scenario,
        boolean losesInOrder,
        boolean losesBuffered,
        Function<Memory, Exploration> search) {
    public boolean loses(Memory memory) {
        return memory == Memory.SEQUENTIAL ? losesInOrder : losesBuffered;
    }

    public Exploration explore(Memory memory) {
        return search.apply(memory);
    }
}
