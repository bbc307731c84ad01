/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.function.Function;

/**
 * Who acts. An enum lists the scenarios of a model.
 *
 * @param <V> the variants of the model
 */
public interface Scenario<V> {
    /** A scenario in a few words, and the space that is searched for a variant. */
    record Story<V>(String text, Function<V, Space> space) {}

    Story<V> story();

    default String text() {
        return story().text();
    }

    default Space space(V variant) {
        return story().space().apply(variant);
    }

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
