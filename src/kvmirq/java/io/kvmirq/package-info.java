/* SPDX-License-Identifier: Apache-2.0 */
/**
 * An interrupt's path: device → host irq → eventfd → guest irq. This page describes kvmirq's architecture. The package
 * contains the value types that all other packages use.
 *
 * <p>Packages are named after kernel layers. VFIO handles only device interrupts, KVM handles only guest interrupts,
 * and only {@code forward} joins the two. A package uses only packages to its right and below:
 *
 * <pre>
 *  cli ── selftest ── forward ─┬─ kvm ──┬── kernel ──── backend ─┬─ jni ── native/  C owns the layouts
 *  prints  a guest    joins    │        │   handles,    the      ├─ libc            Java owns them: ffm, jna, jnr
 *  exits   answers    both     └─ vfio ─┘   errno →     seam     └─ fake            the same calls without a kernel
 *                                           sentence
 *
 *  path       the path of one interrupt: each fact with its source, or the reason why the fact is not known
 *  mirror     predicts how an interrupt is delivered; forward reports to it what was set up
 *  arch       bit layouts of IRTEs, descriptors and messages, and hardware rules; makes no system calls
 *  uapi       kernel numbers and structures
 *  explain    request × errno → causes; used by exceptions, kvmirq errno and the fake
 *  host       a machine's sysfs and /proc, read-only
 *  events     JDK Flight Recorder events; used by kernel, kvm, forward and run
 *  text, undo foreign text made printable; multi-step set-ups undone in one place
 *
 *  pci, irqchip, snapshot   above forward: a device as its guest sees it, an IOAPIC, VM state as a document
 *  run        vCPU threads, above kvm
 *  vmm        shared by these, not exported
 *  guest      a small guest's code, for selftest and junit
 *  junit      the kit for tests
 *  diag       facts from a running host, rules that check them, and screens that cli prints
 * </pre>
 *
 * <p>Five rules hold everywhere:
 *
 * <ul>
 *   <li>Java makes all decisions. C only makes the system call and returns its result or a negative errno.
 *   <li>An errno is translated once, where the call is made, into a {@link KernelException} with the call, its
 *       operands, the {@link Errno} and the likely cause.
 *   <li>If a set-up fails, its steps are undone. Tear-down cannot fail and works in any order, because a registration
 *       keeps the objects that it uses open.
 *   <li>Predicted and observed facts have different types (see {@link io.kvmirq.path.Known}). Package {@code mirror}
 *       never reads a host's files, and package {@code host} never uses a prediction.
 *   <li>Call structures are encoded in C and {@code Uapi}, and a test compares the bytes. Every fake kernel result
 *       cites its source and grades the strength of the evidence.
 * </ul>
 *
 * <p>All values here are immutable and check their range. A {@link Route} is an entry in KVM's routing table, and a
 * {@link Gsi} is an index into the table. A {@link MsiMessage} carries an {@link InterruptVector} to a {@link VcpuId}.
 */
@NullMarked
package io.kvmirq;

import org.jspecify.annotations.NullMarked;
