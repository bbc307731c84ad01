/* SPDX-License-Identifier: Apache-2.0 */
/**
 * An interrupt's path: device → host irq → eventfd → guest irq. This page describes kvmirq's architecture; the package
 * has the value types that all other packages use.
 *
 * <p>Packages are named after kernel layers. VFIO knows device interrupts but no guest, KVM knows guest interrupts but
 * no device, and only {@code forward} joins the two. A package uses packages to its right and below:
 *
 * <pre>
 *  cli ── selftest ── forward ─┬─ kvm ──┬── kernel ──── backend ─┬─ jni ── native/  C owns the layouts
 *  prints  a guest    joins    │        │   handles,    the      ├─ libc            Java owns them: ffm, jna, jnr
 *  exits   answers    both     └─ vfio ─┘   errno →     seam     └─ fake            the same calls without a kernel
 *                                           sentence
 *
 *  path       the path of one interrupt: each fact with its source, or the reason why it is not known
 *  mirror     predicts how an interrupt is delivered; forward tells it what was set up
 *  arch       bits of IRTEs, descriptors and messages, and the rules of the hardware; asks no kernel
 *  uapi       numbers and structures of the kernel
 *  explain    request × errno → causes; exceptions, kvmirq errno and the fake read it
 *  host       sysfs and /proc of a machine, read only
 *  events     what a recording of JDK Flight Recorder gets; kernel, kvm, forward and run use it
 *  text, undo words of other people made printable; set-ups of many steps undone in one place
 *
 *  pci, irqchip, snapshot   above forward: a device as its guest sees it, an IOAPIC in Java, a VM as a document
 *  run        the threads of vCPUs: above kvm
 *  vmm        shared by these, not exported
 *  guest      code of a small guest, for selftest and junit
 *  junit      the kit for tests
 *  diag       sources of a running host, rules over them, screens; cli prints them
 * </pre>
 *
 * <p>Five rules hold everywhere:
 *
 * <ul>
 *   <li>Java makes every decision. C only makes the system call and returns a negative errno.
 *   <li>The code that makes a call translates its errno, once, into a {@link KernelException} with the call, its
 *       operands, the {@link Errno} and the likely cause.
 *   <li>A set-up that fails undoes its steps. Tear-down cannot fail, and works in any order because a registration
 *       keeps the objects open that it uses.
 *   <li>Predicted and observed facts have different types, see {@link io.kvmirq.path.Known}. Package {@code mirror}
 *       never reads a host's files, and package {@code host} never uses a prediction.
 *   <li>Call structures have two encoders, C and {@code Uapi}, whose bytes a test compares. Every result of the fake
 *       kernel has a source and a grade for the strength of its evidence.
 * </ul>
 *
 * <p>All values here are immutable and check their range. A {@link Route} is an entry of KVM's routing table, a {@link
 * Gsi} an index into it. A {@link MsiMessage} carries an {@link InterruptVector} to a {@link VcpuId}.
 */
@NullMarked
package io.kvmirq;

import org.jspecify.annotations.NullMarked;
