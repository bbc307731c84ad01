/* SPDX-License-Identifier: Apache-2.0 */
/** The decisions of the fake kernel: each rule with its errno, grade of evidence, and place in the kernel's source. */
@NullMarked
package io.kvmirq.fake.rules;

import org.jspecify.annotations.NullMarked;
