/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model of posting through AVIC. Not exported: it changes with any version.
 *
 * <p>A {@link io.kvmirq.arch.amd.model.GaUnit} sets the vector in the IRR of the vCPU's backing page. If IsRun of the
 * entry is set, the unit rings the doorbell of the CPU in Destination. Otherwise, if GALogIntr is set, it writes the
 * GATag into the GA log, and KVM wakes the {@link io.kvmirq.arch.amd.model.AvicVcpu} that the tag names. So KVM changes
 * the entries of a vCPU at each load, put and block. It finds them on the vCPU's list. An entry is on one list at most:
 * a list of another vCPU would write the wrong CPU into it.
 *
 * <p>Two orders keep interrupts. The vCPU clears IsRun and sets GALogIntr before it looks at its IRR a last time, and
 * the unit sets the IRR before it reads IsRun. An {@link io.kvmirq.arch.amd.model.AvicIrqfd} writes and links its entry
 * under the lock of its vCPU's list, so that a load comes before the write, which then sees the CPU, or after the link.
 *
 * <p>The state is in {@link io.kvmirq.arch.SharedWords}, so that tests can play any order of accesses. All are safe for
 * use by any number of threads, except that only its own thread calls the methods of a vCPU that need a CPU.
 *
 * <p>Source: arch/x86/kvm/svm/avic.c.
 */
@NullMarked
package io.kvmirq.arch.amd.model;

import org.jspecify.annotations.NullMarked;
