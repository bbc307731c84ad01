/* SPDX-License-Identifier: Apache-2.0 */
/** The kernel's answers, call by call, through every binding: the same verdicts from all of them. */
@NullMarked
package io.kvmirq.contract;

import org.jspecify.annotations.NullMarked;
