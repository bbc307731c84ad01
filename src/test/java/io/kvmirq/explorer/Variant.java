/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

/**
 * Ours, a historic form of it, or ours with something dropped. An enum lists the variants of a model.
 *
 * @param <S> the scenarios of the model
 */
public interface Variant<S> {
    /** The variant in a few words. */
    String text();

    /** Whether the variant differs from ours in a scenario. */
    default boolean concerns(S scenario) {
        return true;
    }
}
