/* SPDX-License-Identifier: Apache-2.0 */
/** The command {@code races}: historic races, played step by step on a model. */
@NullMarked
package io.kvmirq.cli.races;

import org.jspecify.annotations.NullMarked;
