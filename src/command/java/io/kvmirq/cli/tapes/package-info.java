/* SPDX-License-Identifier: Apache-2.0 */
/** The commands of tapes: {@code tape} and {@code replay}. Also records the self-test. */
@NullMarked
package io.kvmirq.cli.tapes;

import org.jspecify.annotations.NullMarked;
