/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model of VT-d posting, with a unit, its remapping table, and Linux's changes of entries, descriptors and vCPUs.
 *
 * <p>A sender sets the bit of the vector in PIR and then sets ON in the {@link
 * io.kvmirq.arch.vtd.posting.PiDescriptor}. The sender that changes ON from 0 to 1 must notify the vCPU. A receiver
 * clears ON and then moves PIR to the IRR. So each request is moved to the IRR, or ON is set again. But while SN is
 * set, a remapping unit sets PIR without ON. The vCPU that clears SN therefore sets ON for the requests that it finds
 * in PIR.
 *
 * <p>The model leaves out parts of Linux 7.1:
 *
 * <ul>
 * <li>The model has no nested guests, which have their own notification vector and descriptors.
 * <li>The model has no LAPIC without APICv, for which Linux injects from the IRR on {@code KVM_REQ_EVENT}. Its CPU
 * always uses RVI.
 * <li>The model has no priorities and no EOI. Its guest takes all vectors of its IRR at once.
 * <li>A kick sends no IPI. In the model the guest exits when its thread calls {@code exit}.
 * <li>If a blocking vCPU is preempted, Linux before 6.17 puts it on a wake-up list and sets SN, but the model does not.
 * <li>The model has no halt polling and no other wake-ups. A woken vCPU checks for requests, and may sleep again.
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
