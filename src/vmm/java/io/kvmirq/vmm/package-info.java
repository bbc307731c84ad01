/* SPDX-License-Identifier: Apache-2.0 */
/** Parts that packages of this module share. Not exported. */
@NullMarked
package io.kvmirq.vmm;

import org.jspecify.annotations.NullMarked;
