/* SPDX-License-Identifier: Apache-2.0 */
/** Replays the calls of a tape. Start at {@link io.kvmirq.recording.replay.Replay}. */
@NotPromised
@NullMarked
package io.kvmirq.recording.replay;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
