/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

/** A historic race that {@code kvmirq races} plays. */
interface Race {
    /** The name by which a user asks for it. */
    String name();

    /** What went wrong, in one sentence of at most 110 characters. */
    String summary();

    /** Plays the losing order on a model, without and with the repair, and says what else was found. */
    void play(RacePrinter printer);
}
