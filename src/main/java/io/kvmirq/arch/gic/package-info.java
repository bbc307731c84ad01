/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The ARM GIC with its virtualization extensions: register formats, a model of KVM's VGIC of 2012, the ITS, and what GICv4
 * delivers without KVM.
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
 * <p>Messages: an {@link io.kvmirq.arch.gic.Its} is what KVM emulates; {@code io.kvmirq.kvm.Its} is the handle of a real
 * one. It takes {@link io.kvmirq.arch.gic.ItsCommand commands} from a ring in {@link io.kvmirq.arch.gic.GuestRam} and makes
 * {@link io.kvmirq.arch.gic.Lpis} pending. The fake kernel's VGIC is made of these and of a distributor.
 *
 * <p>GICv4: a {@link io.kvmirq.arch.gic.VlpiMapping} says whether an irqfd's LPI is a vLPI, which a {@link
 * io.kvmirq.arch.gic.Vpe} takes without KVM. On a host, debugfs shows it: {@link io.kvmirq.arch.gic.VgicState} and {@link
 * io.kvmirq.arch.gic.ItsState}.
 *
 * <p>Sources: GIC architecture specification, versions 2 and 3; arch/arm64/kvm/vgic of Linux; "[PATCH v4 07/13] ARM: KVM:
 * VGIC virtual CPU interface management" of December 2012.
 */
@NullMarked
package io.kvmirq.arch.gic;

import org.jspecify.annotations.NullMarked;
