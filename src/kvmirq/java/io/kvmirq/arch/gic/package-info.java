/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The ARM GIC with its virtualization extensions: register formats and ITS commands.
 *
 * <p>The formats are {@link io.kvmirq.arch.gic.ListRegister} (GICH_LR), {@link io.kvmirq.arch.gic.IchListRegister}
 * (ICH_LR), {@link io.kvmirq.arch.gic.HypervisorControl}, {@link io.kvmirq.arch.gic.MachineControl}, {@link
 * io.kvmirq.arch.gic.Maintenance} and {@link io.kvmirq.arch.gic.VgicType}. {@link io.kvmirq.arch.gic.ItsCommand}
 * encodes the commands that a guest writes to its ITS.
 *
 * <p>On a GICv4 host, debugfs shows which LPIs are mapped to vLPIs. The command's package {@code
 * io.kvmirq.arch.gic.debugfs} reads it.
 *
 * <p>Sources: GIC architecture specification, versions 2 and 3; arch/arm64/kvm/vgic of Linux.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.gic;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
