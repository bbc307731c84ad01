/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A kernel in Java: the same calls, errnos, order of checks and lifetimes as the real one.
 *
 * <p>{@link io.kvmirq.fake.FakeKernel} is a {@link io.kvmirq.backend.Libc}: it sees file descriptors, request numbers and
 * bytes, as the kernel does, so everything above it is the code that runs on real KVM. Each kind of open file is a
 * {@code FakeFile}; a {@code FakeVm} holds irqchip, routes, irqfds and ioeventfds; the chips are models of the hardware
 * the kernel emulates. {@code FakeCpu} executes the little real-mode code a self-test's guest consists of.
 *
 * <p>What an architecture decides is apart: {@code KvmFile}, {@code VmFile} and {@code FakeVm} with their chips are x86;
 * {@code ArmKvmFile}, {@code ArmVmFile} and {@code ArmVm} with VGIC and ITS are arm64, where no guest runs. What a VM
 * registers is the same on both ({@code VmInterrupts}, {@code RegistrationCalls}).
 *
 * <p>One lock over everything, no thread and no clock of its own: what happens asynchronously in the kernel (an irqfd
 * detached when its eventfd is closed, an injection through a worker) has happened here when the call returns, which is
 * one of the orders the real kernel allows. What is not modelled is refused by name with
 * {@link io.kvmirq.fake.NotModelledException}, never answered by guessing.
 *
 * <p>The contract suite runs on this and on the real kernel; where they differ, this is wrong.
 */
@NullMarked
package io.kvmirq.fake;

import org.jspecify.annotations.NullMarked;
