/* SPDX-License-Identifier: Apache-2.0 */
/** Helper classes that several packages of this module use. This package is not exported. */
@NullMarked
package io.kvmirq.vmm;

import org.jspecify.annotations.NullMarked;
