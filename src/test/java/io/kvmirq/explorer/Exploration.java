/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.math.BigInteger;
import java.util.List;
import java.util.Set;

/**
 * The result of a search.
 *
 * @param states the number of different states
 * @param orders the number of orders of steps from the start to an end
 * @param losing the number of orders that lose an interrupt or break an invariant
 * @param why what is wrong at the end of the shortest losing order; empty if no order loses
 * @param order the steps of the shortest losing order
 * @param ends the contents of memory at the ends
 */
public record Exploration(
        long states, BigInteger orders, BigInteger losing, String why, List<Step> order, Set<List<Long>> ends) {
    /**
     * One step of an order.
     *
     * @param what the access, as the model names it
     */
    public record Step(String actor, String operation, String what) {}

    public boolean loses() {
        return losing.signum() > 0;
    }
}
