/* SPDX-License-Identifier: Apache-2.0 */
/** Text that other people wrote, as sentences and reports of kvmirq show it. Every package may use this package. */
@NullMarked
package io.kvmirq.text;

import org.jspecify.annotations.NullMarked;
