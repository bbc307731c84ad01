/* SPDX-License-Identifier: Apache-2.0 */
/** What tests need of their machine, and the record of what ran on what. */
@NullMarked
package io.kvmirq.testing;

import org.jspecify.annotations.NullMarked;
