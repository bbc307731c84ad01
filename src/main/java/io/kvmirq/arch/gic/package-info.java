/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The ARM GIC with its virtualization extensions: register formats, commands of an ITS, and what debugfs shows of a
 * VGIC.
 *
 * <p>Formats: {@link io.kvmirq.arch.gic.ListRegister} (GICH_LR), {@link io.kvmirq.arch.gic.IchListRegister} (ICH_LR),
 * {@link io.kvmirq.arch.gic.HypervisorControl}, {@link io.kvmirq.arch.gic.MachineControl}, {@link
 * io.kvmirq.arch.gic.Maintenance} and {@link io.kvmirq.arch.gic.VgicType}. {@link io.kvmirq.arch.gic.ItsCommand}
 * encodes what a guest writes to its ITS.
 *
 * <p>On a host with GICv4, debugfs shows which LPIs are vLPIs: {@link io.kvmirq.arch.gic.debugfs.VgicState} and {@link
 * io.kvmirq.arch.gic.debugfs.ItsState}.
 *
 * <p>Sources: GIC architecture specification, versions 2 and 3; arch/arm64/kvm/vgic of Linux.
 */
@NullMarked
package io.kvmirq.arch.gic;

import org.jspecify.annotations.NullMarked;
