/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The interrupt hardware of an Intel or AMD host that posts interrupts: processors, a remapping unit, and the part of
 * each vCPU that hardware and its KVM thread change. {@code io.kvmirq.arch} models the state. In this package a host
 * has one unit, and all code runs under the kernel's lock.
 *
 * <p>{@code PostingMachine} is the host, {@code PostingGuest} a VM, {@code PostingVcpu} a vCPU. A device's message goes
 * to a {@code UnitEntry}. After each event the processors take all pending host interrupts. Requests of hardware pass
 * through the models to the vCPU's {@code VirtualLapic}, to which software adds its own requests.
 *
 * <p>The package {@code kvm} is separate, so that a VM's files depend on no vendor; this package uses no file of KVM.
 */
@NullMarked
package io.kvmirq.fake.posting;

import org.jspecify.annotations.NullMarked;
