/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.math.BigInteger;
import java.util.List;
import java.util.Set;

/**
 * What was found.
 *
 * @param states different ones
 * @param orders of steps, from the start to an end
 * @param losing those of them that end badly or break an invariant on the way
 * @param why what was wrong at the end of the shortest losing order; empty if there is none
 * @param order the steps of the shortest losing order
 * @param ends what memory can hold at the end
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
