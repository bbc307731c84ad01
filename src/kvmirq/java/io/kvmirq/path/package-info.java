/* SPDX-License-Identifier: Apache-2.0 */
/** Facts about the path of an interrupt from a device to a vCPU, each with its source or the reason why it is not known. */
@NullMarked
package io.kvmirq.path;

import org.jspecify.annotations.NullMarked;
