/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The ARM GIC with its virtualization extensions: register formats.
 *
 * <p>Formats: {@link io.kvmirq.arch.gic.ListRegister} (GICH_LR), {@link io.kvmirq.arch.gic.IchListRegister} (ICH_LR), {@link
 * io.kvmirq.arch.gic.HypervisorControl}, {@link io.kvmirq.arch.gic.MachineControl}, {@link
 * io.kvmirq.arch.gic.Maintenance} and {@link io.kvmirq.arch.gic.VgicType}.
 *
 * <p>Sources: GIC architecture specification, versions 2 and 3; arch/arm64/kvm/vgic of Linux; "[PATCH v4 07/13] ARM: KVM:
 * VGIC virtual CPU interface management" of December 2012.
 */
@NullMarked
package io.kvmirq.arch.gic;

import org.jspecify.annotations.NullMarked;
