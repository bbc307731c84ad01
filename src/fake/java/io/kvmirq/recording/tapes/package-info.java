/* SPDX-License-Identifier: Apache-2.0 */
/** Reads tapes line by line and prints them as text. {@link io.kvmirq.recording} describes the format. */
@NotPromised
@NullMarked
package io.kvmirq.recording.tapes;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
