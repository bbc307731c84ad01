/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A kernel in Java: the same calls, errnos, order of checks and lifetimes as the real one.
 *
 * <p>{@link io.kvmirq.fake.FakeKernel} is a {@link io.kvmirq.backend.Libc}: it sees file descriptors, request numbers and
 * bytes, as the kernel does, so everything above it is the code that runs on real KVM. It has a table from path to what
 * opens there; {@code SystemCalls} finds the file of a descriptor and asks it.
 *
 * <p>The areas, each a package that uses only those before it: {@code rules} (each decision, with errno, grade and
 * source), {@code file} (descriptors, memory, time, eventfds, and {@code Host}, all that a file sees of its kernel),
 * {@code kvm} (the requests that are the same on every architecture), and side by side {@code x86} (chips, vCPUs, and the
 * little real-mode code a self-test's guest consists of) and {@code arm64} (VGIC and ITS; no guest runs there). Each kind
 * of open file is a {@code FakeFile} and has a table of the requests it answers.
 *
 * <p>One lock over everything, no thread and no clock of its own: what happens asynchronously in the kernel (an irqfd
 * detached when its eventfd is closed, an injection through a worker) has happened here when the call returns, which is
 * one of the orders the real kernel allows. What is not modelled is refused by name with
 * {@link io.kvmirq.fake.rules.NotModelledException}, never answered by guessing.
 *
 * <p>The contract suite runs on this and on the real kernel; where they differ, this is wrong.
 */
@NullMarked
package io.kvmirq.fake;

import org.jspecify.annotations.NullMarked;
