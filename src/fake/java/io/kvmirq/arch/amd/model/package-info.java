/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model of interrupts that an AMD IOMMU posts through AVIC. Not exported: any version may change it.
 *
 * <p>A {@link io.kvmirq.arch.amd.model.GaUnit} sets the vector in the IRR of the vCPU's backing page. If IsRun of the
 * remapping entry is set, the unit rings the doorbell of the CPU in Destination. Otherwise, if GALogIntr is set, the
 * unit writes the GATag into the GA log, and KVM wakes the {@link io.kvmirq.arch.amd.model.AvicVcpu} that the tag
 * names. When a vCPU is loaded, put or blocks, KVM changes the entries that post to it: the vCPU's list of irqfds names
 * them. An entry is on one list at most: by a second list, another vCPU would write its CPU into the entry.
 *
 * <p>Two orders of accesses prevent lost interrupts. The vCPU clears IsRun and sets GALogIntr before its last read of
 * the IRR, and the unit sets the IRR before it reads IsRun. An {@link io.kvmirq.arch.amd.model.AvicIrqfd} writes its
 * entry and adds it to its vCPU's list under the list's lock, which a load takes too: the entry gets the CPU of an
 * earlier load, or a later load finds the entry and writes its CPU.
 *
 * <p>The model keeps its state in {@link io.kvmirq.arch.SharedWords}, so that tests can run accesses in any order. All
 * classes are thread-safe, but only a vCPU's own thread calls methods that need a CPU.
 *
 * <p>Source: arch/x86/kvm/svm/avic.c.
 */
@NullMarked
package io.kvmirq.arch.amd.model;

import org.jspecify.annotations.NullMarked;
