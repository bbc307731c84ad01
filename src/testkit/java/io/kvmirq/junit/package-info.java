/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A test kit for JUnit 5: tests of code that uses kvmirq run on the fake kernel, on real KVM, or on both.
 *
 * <p>A method with {@link io.kvmirq.junit.KvmTest} gets the objects that it needs as parameters, such as a {@link
 * io.kvmirq.junit.KvmHost}. The method runs once for each profile of the fake kernel, and on real KVM if {@link
 * io.kvmirq.junit.KvmTest#real} allows it. The kit closes its objects, and then checks that the test left no
 * descriptor, irqfd, route or thread. {@link io.kvmirq.junit.KvmAssertions} count interrupts. {@link
 * io.kvmirq.junit.Fault} and {@link io.kvmirq.junit.EveryCallInTurn} make calls of the kernel fail. A method with
 * {@link io.kvmirq.junit.Interleavings} runs the steps of its {@link io.kvmirq.junit.Actors} in every order.
 *
 * <p>This package needs {@code org.junit.jupiter:junit-jupiter-api}; declare it in your project.
 *
 * <p>Theory of operation. {@code RecordingBackend} is a proxy through which calls reach the kernel. The proxy applies
 * faults to the test's calls and records these calls, but ignores the kit's calls. On the fake kernel, interrupt counts
 * come from {@link io.kvmirq.fake.FakeKernel#received}. On real KVM, a bit of the IRR cannot count interrupts. So each
 * vCPU of the kit's VM runs the guest of {@code io.kvmirq.guest}, which counts the vectors that it takes.
 *
 * <p>{@code InterleavingsSearch} runs the method anew for each order, so the search restores no state. A run executes
 * the steps that its order names and then continues with the last actor. At each step, the search records other actors
 * that could have run: each of them makes another order. Orders with more preemptions run after all orders with fewer
 * passed.
 */
@NullMarked
package io.kvmirq.junit;

import org.jspecify.annotations.NullMarked;
