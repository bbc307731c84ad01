/* SPDX-License-Identifier: Apache-2.0 */
/** The calls of a tape, made again. */
@NotPromised
@NullMarked
package io.kvmirq.recording.replay;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
