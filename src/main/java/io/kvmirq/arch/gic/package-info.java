/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The ARM GIC with its virtualization extensions: register formats, commands of an ITS, and what debugfs shows of a
 * VGIC.
 *
 * <p>Formats: {@link ListRegister} (GICH_LR), {@link IchListRegister} (ICH_LR), {@link HypervisorControl}, {@link
 * MachineControl}, {@link Maintenance} and {@link VgicType}. {@link ItsCommand} encodes what a guest writes to its ITS.
 *
 * <p>On a host with GICv4, debugfs shows which LPIs are vLPIs: {@link io.kvmirq.arch.gic.debugfs.VgicState} and {@link
 * io.kvmirq.arch.gic.debugfs.ItsState}.
 *
 * <p>Sources: GIC architecture specification, versions 2 and 3; arch/arm64/kvm/vgic of Linux.
 */
@NullMarked
package io.kvmirq.arch.gic;

import org.jspecify.annotations.NullMarked;
