/* SPDX-License-Identifier: Apache-2.0 */
/** What the kernel answers, call by call, asked through every binding: the same verdicts from all of them. */
@NullMarked
package io.kvmirq.contract;

import org.jspecify.annotations.NullMarked;
