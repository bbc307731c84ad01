/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The ARM GIC with its virtualization extensions: register formats, and a model of KVM's VGIC of 2012.
 *
 * <p>Formats: {@link io.kvmirq.arch.gic.ListRegister} (GICH_LR), {@link io.kvmirq.arch.gic.IchListRegister} (ICH_LR), {@link
 * io.kvmirq.arch.gic.HypervisorControl}, {@link io.kvmirq.arch.gic.MachineControl}, {@link
 * io.kvmirq.arch.gic.Maintenance} and {@link io.kvmirq.arch.gic.VgicType}.
 *
 * <p>Model: a {@link io.kvmirq.arch.gic.VgicVm} has a {@link io.kvmirq.arch.gic.Distributor}, and for each vCPU the list
 * registers that its hardware shows the guest ({@link io.kvmirq.arch.gic.VirtualInterface}) and what the guest does with
 * them ({@link io.kvmirq.arch.gic.GuestCpuInterface}). One lock guards the distributor and the filling and reading back of
 * list registers. Only the guest and its hardware change a list register without it, and KVM does not touch one while the
 * guest runs.
 *
 * <p>Sources: GIC architecture specification, versions 2 and 3; arch/arm64/kvm/vgic of Linux; "[PATCH v4 07/13] ARM: KVM:
 * VGIC virtual CPU interface management" of December 2012.
 */
@NullMarked
package io.kvmirq.arch.gic;

import org.jspecify.annotations.NullMarked;
