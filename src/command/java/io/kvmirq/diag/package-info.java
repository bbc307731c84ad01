/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The path of a device interrupt on a running host: its hops, flaws, claims about posting, and the verdict over them.
 *
 * <p>{@code sources} reads hosts and guests, {@code rules} adds flaws, {@code screens} puts together what a command shows: {@code DeviceChains} the links of a path.
 * Each join keeps its evidence: observed, inferred or predicted.
 */
@NullMarked
package io.kvmirq.diag;

import org.jspecify.annotations.NullMarked;
