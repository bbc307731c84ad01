/* SPDX-License-Identifier: Apache-2.0 */
/** Open files of the fake kernel: descriptors, user memory, time, eventfds, and request tables. Not for users. */
@NullMarked
package io.kvmirq.fake.file;

import org.jspecify.annotations.NullMarked;
