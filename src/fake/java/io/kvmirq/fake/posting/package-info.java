/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The interrupt hardware of an Intel or AMD host that posts interrupts: processors, a remapping unit, and the state of
 * each vCPU that the hardware and the vCPU's KVM thread change. {@code io.kvmirq.arch} models the state. In this
 * package a host has one unit, and all code runs under the kernel's lock.
 *
 * <p>{@code PostingMachine} is the host, {@code PostingGuest} a VM, {@code PostingVcpu} a vCPU. A device's message goes
 * to a {@code UnitEntry}. After each event the processors take all pending host interrupts. A vector that hardware
 * posts goes through the models to the vCPU's {@code VirtualLapic}, to which software adds its requests.
 *
 * <p>This package uses no file of the package {@code kvm}, whose files of a VM depend on no vendor.
 */
@NullMarked
package io.kvmirq.fake.posting;

import org.jspecify.annotations.NullMarked;
