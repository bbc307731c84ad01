/* SPDX-License-Identifier: Apache-2.0 */
/** Rows that find flaws in the path of an interrupt, and checks of a host. Writes nothing. */
@NullMarked
package io.kvmirq.diag.rules;

import org.jspecify.annotations.NullMarked;
