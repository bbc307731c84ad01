/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Models of a VGIC, an ITS and GICv4, with the tables of their registers. Not exported: any version may change them.
 *
 * <p>The model of Linux's first VGIC, of 2012, has a {@link io.kvmirq.arch.gic.model.Distributor}, and for each vCPU
 * the list registers from which hardware delivers to the guest ({@link io.kvmirq.arch.gic.model.VirtualInterface}). KVM
 * changes the distributor, and fills and reads back list registers, under one lock. Only the guest and its hardware
 * change a list register without this lock. KVM does not access a list register while the guest runs. {@code make
 * races} runs tests of these models with guests and vCPU threads that the tests define.
 *
 * <p>MSI messages: an {@link io.kvmirq.arch.gic.model.EmulatedIts} models the ITS that KVM emulates; {@code io.kvmirq.kvm.Its}
 * is the handle of an ITS in KVM. The model of the ITS reads {@link io.kvmirq.arch.gic.ItsCommand commands} from a ring
 * in {@link io.kvmirq.arch.gic.model.GuestRam} and makes {@link io.kvmirq.arch.gic.model.Lpis} pending. The fake
 * kernel's VGIC consists of these classes and a distributor.
 *
 * <p>GICv4: a {@link io.kvmirq.arch.gic.model.VlpiMapping} decides whether an irqfd's LPI is mapped to a vLPI, which
 * hardware delivers to a {@link io.kvmirq.arch.gic.model.Vpe} without KVM.
 *
 * <p>Sources: GIC architecture specification, versions 2 and 3; arch/arm64/kvm/vgic of Linux; "[PATCH v4 07/13] ARM:
 * KVM: VGIC virtual CPU interface management" of December 2012.
 */
@NullMarked
package io.kvmirq.arch.gic.model;

import org.jspecify.annotations.NullMarked;
