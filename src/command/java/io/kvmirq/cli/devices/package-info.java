/* SPDX-License-Identifier: Apache-2.0 */
/** The commands of PCI devices: {@code vfio} and {@code forward}. */
@NullMarked
package io.kvmirq.cli.devices;

import org.jspecify.annotations.NullMarked;
