/* SPDX-License-Identifier: Apache-2.0 */
/** Tapes, line by line: read, and shown as sentences. {@link io.kvmirq.recording} has the format. */
@NullMarked
package io.kvmirq.recording.tapes;

import org.jspecify.annotations.NullMarked;
