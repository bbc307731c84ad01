/* SPDX-License-Identifier: Apache-2.0 */
/** Open files of the fake kernel: descriptors, the caller's memory, time, eventfds, and the tables of requests. Not for users. */
@NullMarked
package io.kvmirq.fake.file;

import org.jspecify.annotations.NullMarked;
