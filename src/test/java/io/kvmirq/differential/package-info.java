/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A search for calls that the fake kernel answers otherwise than the real one.
 *
 * <p>A {@code Generator} draws a sequence of calls: valid, invalid, with stale descriptors and descriptors of the wrong
 * kind, on two VMs and several eventfds, and at its end calls that show what can be observed. Two {@code Side}s make the
 * same calls, one on this machine's kernel, one on a fresh fake; {@code Differential} compares result and bytes written
 * call by call. A difference is made small by {@link io.kvmirq.testing.Search} and printed as a test.
 *
 * <p>Where the lab's devices are bound to vfio-pci, containers, groups and devices of VFIO are among the calls, with
 * eventfds that feed GSIs too. The devices send nothing: a loopback signals what they would.
 *
 * <p>Guests run too ({@code GuestRun}): what they take, in which order, what it ends and whom it signals is compared.
 *
 * <p>Half of the sequences are about a processor: they read and write a vCPU's registers, raise lines of the PICs, inject
 * interrupts and NMIs, and run random programs in real mode ({@code ProgramRun}), from one exit to the next, whose {@code
 * struct kvm_run} is compared.
 *
 * <p>On arm64 there are vCPUs with their registers, states and attributes, VGICs and ITSs in every order, with each group
 * of their attributes, and commands of an ITS in memory. No guest runs there.
 *
 * <p>The fake answers each call first. A call that it does not model is not made on the real kernel either, and counted;
 * one that is many calls, such as a guest's run, ends the sequence.
 *
 * <p>Descriptors are the same numbers on both sides: each creating call names a number never used before in its
 * sequence, from 1000 on, and the new descriptor is moved there with F_DUPFD. So a stale number stays stale, and none
 * of the JVM's own is ever hit.
 *
 * <p>What the real kernel does in a worker is awaited by calls of the sequence itself, never by asking again. A step is
 * a call with its barrier. A signal to an eventfd that may feed a GSI, and assigning one that may be signalled, are
 * followed by deassigning it, which waits for its injection; closing is followed by deassigning a pair nobody uses,
 * which waits for all detaching. Where steps are left out, the others are drawn again with the barriers that they need.
 */
@NullMarked
package io.kvmirq.differential;

import org.jspecify.annotations.NullMarked;
