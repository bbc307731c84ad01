/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model of posting through AVIC. Not exported: the package changes with any version.
 *
 * <p>A {@link io.kvmirq.arch.amd.model.GaUnit} sets the vector in the IRR of the vCPU's backing page. If IsRun of the
 * entry is set, the unit rings the doorbell of the CPU in Destination. Otherwise, if GALogIntr is set, the unit writes
 * the GATag into the GA log, and KVM wakes the {@link io.kvmirq.arch.amd.model.AvicVcpu} that the tag names. KVM
 * changes a vCPU's entries at each load, put and block of the vCPU. KVM finds these entries on the vCPU's list. An
 * entry is on one list at most: through a second list, another vCPU would write the wrong CPU into the entry.
 *
 * <p>Two orders prevent lost interrupts. The vCPU clears IsRun and sets GALogIntr before its last read of the IRR, and
 * the unit sets the IRR before it reads IsRun. An {@link io.kvmirq.arch.amd.model.AvicIrqfd} writes and links its entry
 * under the lock of its vCPU's list. The write sees the CPU of an earlier load, and a later load finds the entry.
 *
 * <p>The state is in {@link io.kvmirq.arch.SharedWords}, so that tests can run any order of accesses. All classes are
 * safe for use by any number of threads, except that a vCPU's methods that need a CPU are called only by its own
 * thread.
 *
 * <p>Source: arch/x86/kvm/svm/avic.c.
 */
@NullMarked
package io.kvmirq.arch.amd.model;

import org.jspecify.annotations.NullMarked;
