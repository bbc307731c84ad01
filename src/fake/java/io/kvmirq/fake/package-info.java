/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A simulated kernel in Java, with the calls, errnos, order of checks and lifetimes of a real Linux kernel.
 *
 * <p>{@code SystemCalls}, through which programs call a {@link io.kvmirq.fake.FakeKernel}, is a {@link
 * io.kvmirq.backend.Libc}. The fake receives file descriptors, request numbers and bytes, as the kernel does, so code
 * that calls the fake also runs on real KVM. {@code FakeKernel} maps paths to files, and {@code SystemCalls} passes a
 * call on a descriptor to its file.
 *
 * <p>Each decision about a call's result is an {@link io.kvmirq.explain.Answer}, with errno, grade and source. A method
 * that returns an optional answer returns the refusal, or empty. Each area is a package, and uses only packages that
 * precede it in this list: {@code file} (descriptors, memory, time, eventfds, and {@code KernelOfFile}, through which a
 * file uses its kernel), {@code posting} (processors, remapping units and vCPUs of x86 hosts that post), {@code kvm}
 * (the requests common to all architectures), {@code x86} (chips, vCPUs, and real-mode instructions) and {@code arm64}
 * (VGIC and ITS; no guest code runs). A vCPU of either architecture can return exits that a test defines ({@link
 * io.kvmirq.fake.ScriptedVcpu}). {@code x86} and {@code arm64} do not use each other. {@code vfio} (devices, groups,
 * containers and iommufds) uses only {@code file}, and {@code kvm} does not use {@code posting}. Each kind of open file
 * is a {@code FakeFile} with a table of its requests.
 *
 * <p>The fake has one lock, and neither a thread nor a clock of its own. The real kernel does some work asynchronously,
 * such as detaching an irqfd when its eventfd is closed, or injecting through a worker. The fake does this work before
 * the call returns, as the real kernel may. A call that the fake does not model throws {@link
 * io.kvmirq.NotModelledException} with its name, because the fake never guesses.
 *
 * <p>The {@code Ledger} in package {@code file} follows each device message, and each eventfd signal, from its source
 * to the vCPU that takes it. Code that moves a message notifies the ledger. After each call, the ledger checks that
 * each message is still where it was last recorded. If not, the ledger reports that this call lost it, with its source
 * and last place. {@link io.kvmirq.fake.FakeMessages} shows the counts.
 *
 * <p>The contract suite runs on the fake and on the real kernel. If the results differ, the fake is wrong.
 */
@NullMarked
package io.kvmirq.fake;

import org.jspecify.annotations.NullMarked;
