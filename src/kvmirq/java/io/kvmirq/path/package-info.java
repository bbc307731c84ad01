/* SPDX-License-Identifier: Apache-2.0 */
/** Facts about an interrupt's path from a device to a vCPU, each with its source, or the reason why it is unknown. */
@NullMarked
package io.kvmirq.path;

import org.jspecify.annotations.NullMarked;
