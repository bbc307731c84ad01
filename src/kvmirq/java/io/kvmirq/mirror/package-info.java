/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Predicts how a VM's device interrupts are delivered, from the steps that set the interrupts up.
 *
 * <p>A {@link io.kvmirq.mirror.Mirror} gets one {@link io.kvmirq.mirror.Event} for each step of a VMM's control plane.
 * Steps of the control plane are a new vCPU, a commit of routes, a new irqfd, and an eventfd for a vector of a device.
 * The mirror applies each event to a {@link io.kvmirq.mirror.Snapshot}, which is immutable. An eventfd joins the two
 * ends of an interrupt, as in the kernel's irqbypass: the {@link io.kvmirq.mirror.Producer} is a vector of a device,
 * the {@link io.kvmirq.mirror.Consumer} is an irqfd. For each eventfd the snapshot has a {@link
 * io.kvmirq.mirror.PredictedIrq}. The classes {@code X86Rules} and {@code ArmRules} compute this prediction.
 *
 * <p>A {@code Forwarding} also reports each message that it holds back from the guest or releases, and whether the
 * message is known to exist: {@link io.kvmirq.mirror.Snapshot#held}. No event reports a device's signal.
 *
 * <p>Predictions and observations have separate types. The mirror reads no file, calls no kernel and reads no state of
 * a hardware model. The mirror decides by the rules of {@link io.kvmirq.arch}, for the hardware that its {@link
 * io.kvmirq.mirror.MirrorHost} describes. A prediction leaves out facts that a VMM cannot know: the address of a
 * descriptor, and the id that KVM gave the VM.
 *
 * <p>Some predicted fields depend on a vCPU's schedule: IsRun and Destination of an entry, PID.SN, PID.NV and PID.NDST.
 * A tracer reports the schedule by events. For a vCPU that this process runs, the mirror reads a {@link
 * io.kvmirq.mirror.VcpuPhase} at each query and before each event. Fields that the schedule decides are unknown while
 * the vCPU is in KVM_RUN, and known after its return. The logical ids that a guest gives its LAPICs are known from a
 * {@link io.kvmirq.mirror.LapicSample}, which may be old: {@link io.kvmirq.mirror.LapicSample#taken} is its time.
 *
 * <p>The cost of an event is proportional to the predictions that it changes; other predictions are shared with the
 * former snapshot. The first {@link io.kvmirq.mirror.Mirror#now} after an event copies one reference to each
 * interrupt's prediction. {@link io.kvmirq.mirror.Mirror#irq} copies nothing.
 */
@NullMarked
package io.kvmirq.mirror;

import org.jspecify.annotations.NullMarked;
