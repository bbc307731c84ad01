/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A kit for JUnit 5 tests of code that is written on kvmirq: on the fake kernel, on the real KVM, or on both.
 *
 * <p>A method with {@link io.kvmirq.junit.KvmTest} takes what it needs as parameters, such as a {@link
 * io.kvmirq.junit.KvmHost}, and runs once for each profile of the fake kernel, and on real KVM where {@link
 * io.kvmirq.junit.KvmTest#real} says so. The kit closes what it gave. Then it looks for what the test left:
 * descriptors, irqfds, routes and threads. {@link io.kvmirq.junit.KvmAssertions} count interrupts. {@link
 * io.kvmirq.junit.Fault} and {@link io.kvmirq.junit.EveryCallInTurn} make calls of the kernel fail. A method with
 * {@link io.kvmirq.junit.Interleavings} runs the steps of its {@link io.kvmirq.junit.Actors} in every order.
 *
 * <p>Only this package needs {@code org.junit.jupiter:junit-jupiter-api}, which the user brings.
 *
 * <p>How it works. {@code Seam} is a proxy between the kernel that the test has and the binding: calls of the test
 * pass through the faults and are noted, those of the kit are neither. On the fake, counts are those of {@link
 * io.kvmirq.fake.FakeKernel#received}. On real KVM an IRR has a bit, which counts nothing, so each vCPU of the kit's VM
 * runs the guest of {@code io.kvmirq.guest}, which counts each vector that it takes.
 *
 * <p>{@code InterleavingsSearch} keeps no state of the test: it runs the method anew for each order. A run takes the
 * steps that its order names and then goes on with the same actor. It notes which other actors could have taken each
 * step, and so which orders are left. Orders with one preemption more wait until all others have passed.
 */
@NullMarked
package io.kvmirq.junit;

import org.jspecify.annotations.NullMarked;
