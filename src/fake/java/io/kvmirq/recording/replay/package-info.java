/* SPDX-License-Identifier: Apache-2.0 */
/** The calls of a tape, made again. */
@NullMarked
package io.kvmirq.recording.replay;

import org.jspecify.annotations.NullMarked;
