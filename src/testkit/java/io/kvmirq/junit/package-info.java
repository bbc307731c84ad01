/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A test kit for JUnit 5, which runs tests of code that uses kvmirq on the fake kernel, on real KVM, or on both.
 *
 * <p>A method with {@link io.kvmirq.junit.KvmTest} gets the objects that it needs as parameters, such as a {@link
 * io.kvmirq.junit.KvmHost}. The method runs once for each profile of the fake kernel, and on real KVM if {@link
 * io.kvmirq.junit.KvmTest#real} allows it. After the test, the kit closes these objects, and then checks that the test
 * left no descriptor, irqfd, route or thread. {@link io.kvmirq.junit.KvmAssertions} count interrupts. {@link
 * io.kvmirq.junit.Fault} and {@link io.kvmirq.junit.EveryCallInTurn} make kernel calls fail. A method with {@link
 * io.kvmirq.junit.Interleavings} runs the steps of its {@link io.kvmirq.junit.Actors} in every order that has a limited
 * number of preemptions.
 *
 * <p>This package needs {@code org.junit.jupiter:junit-jupiter-api}, which your project must declare.
 *
 * <p>Theory of operation. Calls of the test and of the kit reach the kernel through the proxy {@code RecordingBackend}.
 * The proxy records the test's calls and makes some of them fail, but only passes on the kit's own calls. On the fake
 * kernel, interrupt counts come from {@link io.kvmirq.fake.FakeKernel#received}. On real KVM, a vector's bit in the IRR
 * does not show how many interrupts came, so each vCPU of the kit's VM runs the guest of {@code io.kvmirq.guest}, which
 * counts its vectors.
 *
 * <p>{@code InterleavingsSearch} runs the method again for each order, so no state has to be restored between orders. A
 * run executes the steps that its order names, and then lets the actor of the last step continue. At each step, the
 * search records the other actors that could have run. For each of them, a later run repeats the earlier steps and then
 * runs this actor. An order runs only after all orders with fewer preemptions have passed.
 */
@NullMarked
package io.kvmirq.junit;

import org.jspecify.annotations.NullMarked;
