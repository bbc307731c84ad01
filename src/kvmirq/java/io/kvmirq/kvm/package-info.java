/* SPDX-License-Identifier: Apache-2.0 */
/**
 * VMs, vCPUs, irqfds that inject guest interrupts, and ioeventfds that signal the VMM when the guest writes.
 *
 * <p>A {@link io.kvmirq.kvm.Vm} with an in-kernel irqchip has a {@link io.kvmirq.kvm.RouteTable}, which routes each GSI
 * to a message or a pin. An {@link io.kvmirq.kvm.Irqfd} raises a GSI when its eventfd is signalled, without a thread in
 * this process. {@link io.kvmirq.kvm.Vm#signal} and {@link io.kvmirq.kvm.X86Vm#setLine} inject an interrupt by a system
 * call. In the other direction, a guest write to the address of an {@link io.kvmirq.kvm.IoEventFd} signals an eventfd.
 * A {@link io.kvmirq.kvm.Vcpu} runs the guest, whose memory is {@link io.kvmirq.kvm.GuestMemory}.
 *
 * <p>On arm64 the irqchip is a {@link io.kvmirq.kvm.VgicV3} (or {@link io.kvmirq.kvm.VgicV2}) with an {@link
 * io.kvmirq.kvm.Its} for MSI messages. Create the VGIC, set its number of interrupts and addresses, and initialize it
 * after all vCPUs exist. From then on, GSI n raises SPI n + 32. {@link io.kvmirq.kvm.Arm64Vm#setSpi} and {@link
 * io.kvmirq.kvm.Arm64Vm#setPpi} drive SPI and PPI lines without a GSI. {@link io.kvmirq.kernel.Kernel#facts} returns
 * the architecture, and methods for one architecture throw UnsupportedOperationException on the other. On arm64, KVM
 * accepts a route to any MSI message, but loses signals to a wrong one without an error.
 *
 * <p>Add the route before the irqfd, because a signal on an irqfd whose GSI has no route is consumed and lost. To mask,
 * keep the route and deassign the irqfd, as {@link io.kvmirq.kvm.Irqfd#mask} does. Signals then stay in the eventfd and
 * arrive as one interrupt at {@link io.kvmirq.kvm.Irqfd#unmask}. Each change replaces the whole route table, so make
 * related changes in one {@code RouteTable.change}, which makes no system call if no route changes. An eventfd can
 * raise only one GSI. Irqfds, ioeventfds and memory keep their VM open. Only the thread that created a vCPU, or the
 * last one that called {@link io.kvmirq.kvm.Vcpu#moveHere}, may use it, except for kick and close.
 *
 * <p>{@link io.kvmirq.kvm.RouteTable}, {@link io.kvmirq.kvm.Irqfd} and {@link io.kvmirq.kvm.Vgic} have one lock each.
 * An irqfd's or VGIC's lock is taken before the route table's. No lock is held while user code runs, such as a route
 * change or a logger, so user code may wait for threads that use the same VM.
 *
 * <p>{@code VmCalls}, {@code VcpuCalls} and {@code VgicCalls} make the package's system calls, except for the ioctls of
 * {@code Irqfd}. A {@link io.kvmirq.kvm.Vm} records its creator, which irqchip it has, and whether it has vCPUs, so
 * that a KernelException can name the cause. On a VM with a split irqchip, for example, {@link
 * io.kvmirq.kvm.Vm#assignLevelIrqfd} reports that resampling needs the full irqchip.
 *
 * <p>A {@link io.kvmirq.kvm.WatchedVcpu} reports to other threads whether a vCPU is in KVM_RUN, at the cost of two
 * opaque stores per run. This package does not use VFIO, so it cannot report which device sent a signal.
 *
 * <h2>Public packages</h2>
 *
 * <p>{@code module-info} exports the packages below. Only their types are public, even on the class path. Other
 * packages, such as the models in {@code io.kvmirq.arch.gic.model}, may change with any version.
 *
 * <ul>
 *   <li>{@link io.kvmirq}: values such as GSIs, addresses and errnos.
 *   <li>{@link io.kvmirq.kernel}, {@link io.kvmirq.kvm}, {@link io.kvmirq.vfio} and {@link io.kvmirq.forward}, for VMM
 *       authors: the kernel, its VMs and devices, and forwarded interrupts. {@code io.kvmirq.pci} presents a device to
 *       its guest, {@code io.kvmirq.run} runs vCPU threads, {@code io.kvmirq.irqchip} emulates an IOAPIC for KVM's
 *       LAPICs, and {@code io.kvmirq.snapshot} stores VM state in a document.
 *   <li>{@link io.kvmirq.mirror} and {@link io.kvmirq.host}: the predicted interrupt state, and the state observed in
 *       host files. {@link io.kvmirq.path} contains facts with their sources.
 *   <li>{@code io.kvmirq.fake}: the fake kernel and its faults, for test authors. {@code io.kvmirq.junit} provides both
 *       to JUnit tests.
 *   <li>{@link io.kvmirq.arch}, {@link io.kvmirq.arch.apic}, {@link io.kvmirq.arch.amd}, {@link io.kvmirq.arch.vtd} and
 *       {@link io.kvmirq.arch.gic}: bit formats. {@link io.kvmirq.arch.intx} is the policy for direct EOI, and {@code
 *       io.kvmirq.arch.vtd.posting} and {@code io.kvmirq.arch.vcpu} model posting to vCPUs on host CPUs.
 *   <li>{@link io.kvmirq.backend}: the interface of a kernel binding, for authors of bindings.
 *   <li>{@link io.kvmirq.uapi}: kernel numbers and structures, for calls without a method. This package may change in
 *       any version.
 * </ul>
 *
 * <h2>Words with one meaning</h2>
 *
 * <ul>
 *   <li><b>forwarded</b>: {@link io.kvmirq.forward} has joined this device interrupt to a guest interrupt. The ABI of
 *       2014, which Linux never merged, forwards a line inside the kernel. A GICv4 LPI is <i>mapped to a vLPI</i>, and
 *       a device interrupt has <i>direct EOI</i> if the guest's EOI also ends it on the host.
 *   <li><b>mapped</b> alone refers only to memory that this process has mapped. Every other use names its object: a DMA
 *       mapping, an ITS event mapped to an LPI, an LPI mapped to a vLPI. A guest interrupt that is tied to a physical
 *       interrupt (LR.HW) is a <i>HW interrupt</i>.
 *   <li><b>attached</b>: a device uses the address space of a container or an IOAS. An irqfd is <i>assigned</i>, a VFIO
 *       eventfd is <i>wired</i> to an interrupt, a file is <i>added</i> to KVM-VFIO.
 * </ul>
 */
@NullMarked
package io.kvmirq.kvm;

import org.jspecify.annotations.NullMarked;
