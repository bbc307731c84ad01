/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

/**
 * Who acts. An enum lists the scenarios of a model.
 *
 * @param <V> the variants of the model
 */
public interface Scenario<V> {
    /** The scenario in a few words. */
    String text();

    /** The space that is searched for a variant. */
    Space space(V variant);

    /** Counts all orders. */
    default Exploration explore(V variant, Memory memory) {
        Space found = space(variant);
        return found.explorer(memory).explore(found.start());
    }

    /** Looks for the worst end only. */
    default Explorer.Ending worst(V variant, Memory memory) {
        Space found = space(variant);
        return found.explorer(memory).worst(found.start());
    }
}
