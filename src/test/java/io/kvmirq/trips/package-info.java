/* SPDX-License-Identifier: Apache-2.0 */
/** The length of the ways of an interrupt, in methods that are entered. */
@NullMarked
package io.kvmirq.trips;

import org.jspecify.annotations.NullMarked;
