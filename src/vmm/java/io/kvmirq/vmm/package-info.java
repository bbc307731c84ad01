/* SPDX-License-Identifier: Apache-2.0 */
/** Classes that packages of this module share. This package is not exported. */
@NullMarked
package io.kvmirq.vmm;

import org.jspecify.annotations.NullMarked;
