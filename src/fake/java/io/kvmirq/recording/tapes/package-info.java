/* SPDX-License-Identifier: Apache-2.0 */
/** Tapes, line by line: read, and shown as sentences. {@link io.kvmirq.recording} has the format. */
@NotPromised
@NullMarked
package io.kvmirq.recording.tapes;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
