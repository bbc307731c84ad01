/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model of VT-d posting: a remapping unit with its table, and Linux's updates of entries, descriptors and vCPUs.
 *
 * <p>A sender sets the bit of the vector in PIR and then sets ON in the {@link
 * io.kvmirq.arch.vtd.posting.PiDescriptor}. The sender that changes ON from 0 to 1 must notify the vCPU. A receiver
 * clears ON and then moves PIR to the IRR. So each request is moved to the IRR, or ON is set again. But while SN is
 * set, a remapping unit sets PIR without ON. The vCPU that clears SN therefore sets ON for the requests that it finds
 * in PIR.
 *
 * <p>The model leaves out these parts of Linux 7.1:
 *
 * <ul>
 * <li>Nested guests, which have their own notification vector and descriptors.
 * <li>LAPICs without APICv, for which Linux injects from the IRR on {@code KVM_REQ_EVENT}. The CPU always uses RVI.
 * <li>Priorities and EOIs. The guest takes all vectors in its IRR at once.
 * <li>IPIs of kicks. The guest exits when its thread calls {@code exit}.
 * <li>The wake-up list entry that a preempted blocking vCPU gets before Linux 6.17, besides SN.
 * <li>Halt polling and other wake-ups. A woken vCPU checks for requests, and may sleep again.
 * </ul>
 *
 * <p>A vCPU whose thread is in user space takes its requests when {@code KVM_RUN} loads it. {@link
 * io.kvmirq.arch.vcpu.VcpuThread#reenter} is KVM's fast path, in which the mode stays guest mode, and {@code sync} runs
 * again.
 *
 * <p>{@link io.kvmirq.arch.vtd.posting.PiDescriptor}, {@link io.kvmirq.arch.vtd.posting.PostedVcpu} and {@link
 * io.kvmirq.arch.vtd.posting.PostedVm} are thread-safe. Tables and units are not thread-safe.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
