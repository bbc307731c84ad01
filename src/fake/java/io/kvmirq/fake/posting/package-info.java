/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The interrupt hardware of an x86 host that posts, of Intel and of AMD: the processors, the remapping unit, and the
 * part of each vCPU that hardware and KVM's thread of it change. The state is that of {@code io.kvmirq.arch}; here a
 * host has one of each, and everything runs under the kernel's lock.
 *
 * <p>{@code PostingMachine} is the host, {@code PostingGuest} a VM, {@code PostingVcpu} a vCPU. A device's message goes
 * to a {@code UnitEntry}. After each event the processors take their interrupts until none is on its way. The requests
 * of hardware pass through the models to the vCPU's {@code VirtualLapic}, where software puts its own.
 *
 * <p>An area of its own, because it knows nothing of KVM's files, and the files of a VM know nothing of a vendor.
 */
@NullMarked
package io.kvmirq.fake.posting;

import org.jspecify.annotations.NullMarked;
